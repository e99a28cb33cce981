"""The one training loop of every model: batches, loss, optimiser, EMA, checkpoints, loss curve.

What differs between models (data, network, loss) is a :class:`Recipe` of :mod:`pipeline.stages.train.recipe`. The loop
runs on each worker of a group and knows it only through its context. All randomness of a step comes from (run seed,
step, rank), and checkpoints hold weights, EMA and optimiser, so a restarted training goes on to the same bytes.
"""

import csv
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.models import TrainingConfig
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.naming import RunLayout
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.stage import StageReport
from pipeline.io.files import names
from pipeline.io.publish import empty_folder, publish_folder, publish_text
from pipeline.stages.context import Context
from pipeline.stages.device import seeded, use_threads
from pipeline.stages.train.checkpoints import Checkpoints
from pipeline.stages.train.optimiser import clip_gradients, learning_rate, make_optimiser
from pipeline.stages.train.recipe import Batch, Recipe
from pipeline.stages.train.recipes import make_recipe
from pipeline.stages.work import Stopwatch, WorkItem, publish_entry
from rodin_models.checkpoint import Ema

PREFETCHED_BATCHES = 4
CPU = torch.device("cpu")


@dataclass
class LossCurve:
    """What is written to ``loss.csv``: step, seconds of training, and every number of the loss."""

    names: list[str] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)

    def add(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Another point."""
        self.names = ["step", "seconds", *values]
        self.rows.append([float(step), round(seconds, 2), *values.values()])

    def last(self) -> dict[str, float]:
        """The numbers of the last point; empty when nothing was trained."""
        return dict(zip(self.names[2:], self.rows[-1][2:], strict=True)) if self.rows else {}

    def to_csv(self) -> str:
        """The whole curve."""
        text = io.StringIO()
        csv.writer(text).writerows([self.names, *self.rows])
        return text.getvalue()


class Objective(nn.Module):
    """A model with its loss as ``forward``, so that distributed training sees every use of the parameters."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The recipe's loss."""
        return self.recipe.loss(self.model, batch, generator)


def train_loop(item: WorkItem, context: Context) -> StageReport | None:
    """Train one model to its last step and publish it; rank 0 returns the ledger entry.

    Raises ``DataError`` when there is too little data or the loss is no longer finite.
    """
    startup_s = time.time() - item.requested_at
    run, config, layout = item.run, item.config, item.layout
    settings: TrainingConfig = getattr(config, item.stage)
    if settings.batch % context.world_size:
        raise ConfigError(f"{item.stage}.batch {settings.batch} is no multiple of train.workers {context.world_size}")
    use_threads(config.train.cpus_per_worker)
    stopwatch = Stopwatch()
    recipe = make_recipe(item.stage, run, context.device)
    inputs = run.inputs_of(item.stage, recipe.avatars)
    model = recipe.build(seeded(config, 0, f"{item.stage} weights", CPU)).to(context.device)
    steps = settings.steps if recipe.trains else 0
    ema = Ema(model, settings.ema_decay)
    optimiser = make_optimiser(settings, model)
    checkpoints = Checkpoints(
        layout.model(item.stage) / "checkpoints", {"fingerprint": item.fingerprint, "inputs": inputs}
    )
    curve = LossCurve()
    first_step = 0
    saved = checkpoints.latest()
    if saved is not None:
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        optimiser.load_state_dict(saved["optimiser"])
        first_step, curve = saved["step"], LossCurve(saved["curve_names"], saved["curve_rows"])
        stopwatch = Stopwatch(saved["started_at"], saved["seconds"])
    objective = context.prepare(Objective(model, recipe)) if steps else model
    model.train()
    writer = _event_writer(layout, item.stage, first_step) if context.rank == 0 and steps else None

    for step, batch in _batches(item, recipe, context, first_step, steps):
        generator = seeded(config, step, f"{item.stage} rank {context.rank}", CPU)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, step)
        with torch.autocast(context.device.type, torch.bfloat16, enabled=config.train.precision == "bfloat16"):
            losses = objective(batch, generator)
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        if not clip_gradients(model):
            raise DataError(
                f"stage {item.stage}: the gradient of step {step} is not finite; lower {item.stage}.learning_rate "
                f"{settings.learning_rate} and go on from the last checkpoint"
            )
        optimiser.step()
        ema.update(model)
        context.progress(step + 1, steps)
        last = step + 1 == steps
        if step % settings.log_every == 0 or last:
            values = {name: float(value.detach()) for name, value in losses.items()}
            curve.add(step, stopwatch.seconds, values)
            context.report(values)
            if writer is not None:
                for name, value in values.items():
                    writer.add_scalar(f"{item.stage}/{name}", value, step)
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
            checkpoints.save(step + 1, state)
    if writer is not None:
        writer.close()
    context.barrier()
    if context.rank != 0:
        return None
    ema.copy_to(model)
    folder = layout.model(item.stage)
    staged = empty_folder(layout.work / "models" / item.stage)
    notes = recipe.save(model.eval(), staged)
    publish_folder(staged, folder / "weights")
    publish_text(folder / "loss.csv", curve.to_csv())
    report = publish_entry(
        item,
        stopwatch,
        avatars=recipe.avatars,
        # The loss curve holds seconds, so it is no part of what the next stage depends on.
        outputs=names(folder / "weights"),
        packages=("torch", "diffusers", "transformers"),
        inputs=inputs,
        metrics={
            **curve.last(),
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
) -> Iterator[tuple[int, Batch]]:
    """Batches from ``first_step`` on, read ahead by threads. Which items a step sees depends on the step alone."""
    batch: int = getattr(item.config, item.stage).batch
    share = batch // context.world_size

    def load(step: int) -> Batch:
        generator = generator_for(item.config.seed, step, f"{item.stage} batch")
        places = recipe.draw(generator, batch)
        return recipe.load(places[context.rank * share : (context.rank + 1) * share])

    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = [pool.submit(load, step) for step in range(first_step, min(first_step + PREFETCHED_BATCHES, steps))]
        for step in range(first_step, steps):
            ready = waiting.pop(0).result()
            if step + PREFETCHED_BATCHES < steps:
                waiting.append(pool.submit(load, step + PREFETCHED_BATCHES))
            yield step, {name: value.to(context.device, non_blocking=True) for name, value in ready.items()}


def _event_writer(layout: RunLayout, name: str, first_step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(layout.model(name) / "tensorboard"), purge_step=first_step)
