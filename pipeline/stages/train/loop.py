"""The one training loop of every model: batches, loss, optimiser, EMA, checkpoints, loss curve.

What differs between models (data, network, loss) is a :class:`Recipe` of :mod:`pipeline.stages.train.recipe`. The loop
runs on each worker of a group and knows it only through its context. All randomness of a step comes from (run seed,
step, rank), and checkpoints hold weights, EMA and optimiser, so a restarted training goes on to the same bytes.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from pipeline.config.models import TrainingConfig
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.stage import StageReport
from pipeline.io.files import names
from pipeline.io.publish import empty_folder, publish_folder, publish_text
from pipeline.stages.context import Context
from pipeline.stages.device import seeded, use_threads, uses_bfloat16
from pipeline.stages.train.averages import Averages
from pipeline.stages.train.held_out import HeldOut
from pipeline.stages.train.optimiser import Optimiser, clip_gradients
from pipeline.stages.train.recipe import Batch, Objective, Recipe
from pipeline.stages.train.recipes import make_recipe
from pipeline.stages.train.start import take_up
from pipeline.stages.train.trace import Checkpoints, Events, LossCurve
from pipeline.stages.work import Stopwatch, WorkItem, publish_entry
from rodin_models.checkpoint import Ema, load_state, save_state

PREFETCHED_BATCHES = 4
CPU = torch.device("cpu")


def train_loop(item: WorkItem, context: Context) -> StageReport | None:
    """Train one model to its last step and publish it; rank 0 returns the ledger entry.

    Raises ``DataError`` when there is too little data or the loss is no longer finite.
    """
    startup_s = max(0.0, time.time() - item.requested_at)  # of two nodes, whose clocks can differ
    run, config, layout = item.run, item.config, item.layout
    settings: TrainingConfig = getattr(config, item.stage)
    if settings.batch % context.world_size:
        raise ConfigError(f"{item.stage}.batch {settings.batch} is no multiple of train.workers {context.world_size}")
    use_threads(config.train.cpus_per_worker)
    stopwatch = Stopwatch()
    recipe = make_recipe(item.stage, run, context.device)
    if settings.held_out_every and recipe.trains and not recipe.held_out:
        raise DataError(
            f"{item.stage}.held_out_every is {settings.held_out_every}, but there are too few held-out avatars to "
            f"measure a loss on: render more of them (render.held_out_every), or set {item.stage}.held_out_every to 0"
        )
    avatars = (*recipe.avatars, *recipe.held_out)
    inputs = run.inputs_of(item.stage, avatars)
    model = recipe.build(seeded(config, 0, f"{item.stage} weights", CPU))
    if recipe.trains:
        take_up(config, item.stage, model)
    model.to(context.device)
    steps = settings.steps if recipe.trains else 0
    ema = Ema(model, settings.ema_decay)
    optimiser = Optimiser(settings, model)
    checkpoints = Checkpoints(
        layout.model(item.stage) / "checkpoints", {"fingerprint": item.fingerprint, "inputs": inputs}
    )
    curve = LossCurve()
    held_out = HeldOut(item, recipe, model, context.device) if recipe.held_out and context.rank == 0 else None
    averages = Averages(model, settings, checkpoints) if settings.ema_lengths and held_out is not None else None
    early_share: float = getattr(settings, "early_share", 0.0)
    early_step = max(1, round(early_share * settings.steps)) if early_share else 0
    early: dict[str, torch.Tensor] = {}
    first_step, in_bfloat16 = 0, uses_bfloat16(config, context.device)
    saved = checkpoints.latest()
    if saved is not None:
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        optimiser.load_state_dict(saved["optimiser"])
        first_step, curve = saved["step"], LossCurve(saved["curve_names"], saved["curve_rows"])
        stopwatch = Stopwatch(saved["started_at"], saved["seconds"])
        early = saved.get("early", {})
        if held_out is not None:
            held_out.load_state_dict(saved["held_out"])
        if averages is not None:
            averages.load_state_dict(saved["averages"])
        context.goes_on_from(first_step, steps)
    objective = context.prepare(Objective(model, recipe)) if steps else model
    model.train()
    events = Events(layout, item.stage, first_step) if context.rank == 0 and steps else None

    def measure(steps_done: int) -> bool:
        """Whether the training is over by it, as all workers are told."""
        over = False
        if held_out is not None:
            values = held_out.follow(steps_done, stopwatch.seconds, ema.average)
            over = held_out.is_over
            context.report({"held_out": values["held_out"]})
            if events is not None:
                events.add(steps_done, values)
        return bool(context.all_reduce_mean(torch.tensor(float(over), device=context.device)) > 0)

    if recipe.held_out and first_step == 0:
        measure(0)
    for step, batches in _batches(item, recipe, context, first_step, steps):
        generator = seeded(config, step, f"{item.stage} rank {context.rank}", CPU)
        optimiser.zero_grad()
        losses = []
        for batch in batches:
            with torch.autocast(context.device.type, torch.bfloat16, enabled=in_bfloat16):
                losses.append(objective(batch, generator))
            (losses[-1]["loss"] / len(batches)).backward()
        if not clip_gradients(model):
            raise DataError(
                f"stage {item.stage}: the gradient of step {step} is not finite; lower {item.stage}.learning_rate "
                f"{settings.learning_rate} and go on from the last checkpoint"
            )
        optimiser.step(step)
        ema.update(model)
        if averages is not None:
            averages.follow(step + 1)
        if step + 1 == early_step:
            early = {name: weight.detach().to("cpu", copy=True) for name, weight in ema.average.items()}
        context.progress(step + 1, steps)
        last = step + 1 == steps
        if recipe.held_out and ((step + 1) % settings.held_out_every == 0 or last):
            last = measure(step + 1) or last
        if step % settings.log_every == 0 or last:
            values = {name: sum(float(of[name].detach()) for of in losses) / len(losses) for name in losses[0]}
            curve.add(step, stopwatch.seconds, values)
            context.report(values)
            if events is not None:
                events.add(step, values)
        if (step + 1) % settings.checkpoint_every == 0 and not last and context.rank == 0:
            state = {
                "seconds": stopwatch.seconds,
                "started_at": stopwatch.started_at,
                "model": dict(model.state_dict()),
                "ema": ema.state_dict(),
                "optimiser": optimiser.state_dict(),
                "curve_names": curve.names,
                "curve_rows": curve.rows,
            }
            if held_out is not None:
                state["held_out"] = held_out.state_dict()
            if averages is not None:
                state["averages"] = averages.state_dict()
            if early:
                state["early"] = early
            checkpoints.save(step + 1, state)
        if last:
            if step + 1 < steps:
                context.progress(steps, steps)
            steps = step + 1
            break
    if events is not None:
        events.close()
    context.barrier()
    if context.rank != 0:
        return None
    weights, measured = (ema.average, {}) if held_out is None else held_out.chosen(ema.average)
    if averages is not None and held_out is not None:
        weights, measured = averages.lower(held_out, weights, measured, steps)
    model.load_state_dict(weights)
    folder = layout.model(item.stage)
    staged = empty_folder(layout.work / "models" / item.stage)
    notes = recipe.save(model.eval(), staged)
    if early:
        save_state(staged, {**load_state(staged), "early": early})
    publish_folder(staged, folder / "weights")
    publish_text(folder / "loss.csv", curve.to_csv())
    if held_out is not None:
        publish_text(folder / "held_out.csv", held_out.curve.to_csv())
    report = publish_entry(
        item,
        stopwatch,
        avatars=avatars,
        # The loss curve holds seconds, so it is no part of what the next stage depends on.
        outputs=names(folder / "weights"),
        packages=("torch", "diffusers", "transformers"),
        inputs=inputs,
        metrics={
            **curve.last(),
            **measured,
            "steps": float(steps),
            "startup_s": round(startup_s, 2),
            "parameters": float(sum(parameter.numel() for parameter in model.parameters())),
        },
        notes=notes,
    )
    checkpoints.forget()
    return report


def _batches(
    item: WorkItem, recipe: Recipe, context: Context, first_step: int, steps: int
) -> Iterator[tuple[int, list[Batch]]]:
    """The batches of each step from ``first_step`` on, read ahead by threads.

    Which items a step sees depends on the step alone, and not on how many batches share them.
    """
    settings: TrainingConfig = getattr(item.config, item.stage)
    share = settings.batch // context.world_size

    def load(step: int) -> list[Batch]:
        generator = generator_for(item.config.seed, step, f"{item.stage} batch")
        places = recipe.draw(generator, settings.batch * settings.accumulate)
        firsts = range(context.rank * share, len(places), settings.batch)
        return [recipe.load(places[first : first + share]) for first in firsts]

    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = [pool.submit(load, step) for step in range(first_step, min(first_step + PREFETCHED_BATCHES, steps))]
        for step in range(first_step, steps):
            ready = waiting.pop(0).result()
            if step + PREFETCHED_BATCHES < steps:
                waiting.append(pool.submit(load, step + PREFETCHED_BATCHES))
            yield (
                step,
                [{name: value.to(context.device, non_blocking=True) for name, value in b.items()} for b in ready],
            )
