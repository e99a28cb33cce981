"""The one training loop of every model: batches, loss, optimiser, EMA, checkpoints, loss curve.

What differs between models (data, network, loss) is a :class:`Recipe` of :mod:`pipeline.stages.recipes`. The loop
runs on each worker of a group and knows it only through its context. All randomness of a step comes from (run seed,
step, rank), and checkpoints hold weights, EMA and optimiser, so a restarted training goes on to the same bytes.
"""

import csv
import io
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pipeline.config import RunConfig, TrainingConfig
from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.errors import ConfigError, DataError
from pipeline.contracts.naming import RunLayout
from pipeline.contracts.randomness import generator_for
from pipeline.contracts.stage import StageReport
from pipeline.io.ledger import package_versions, processor_name, write_ledger
from pipeline.io.publish import empty_folder, publish_folder, publish_text, sha256_file
from pipeline.provenance import current_report, stage_inputs
from pipeline.stages.recipes import Batch, Recipe, make_recipe
from pipeline.stages.views import seeded, use_threads
from rodin_models.checkpoint import Ema, load_state, save_state

GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm."""
PREFETCHED_BATCHES = 4
KEPT_CHECKPOINTS = 2
CPU = torch.device("cpu")


class Context(Protocol):
    """What a worker of a training group offers."""

    @property
    def rank(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def device(self) -> torch.device: ...

    def prepare(self, model: nn.Module) -> nn.Module: ...
    def report(self, metrics: dict[str, float]) -> None: ...
    def progress(self, done: float, total: float) -> None: ...
    def barrier(self) -> None: ...


@dataclass(frozen=True)
class TrainItem:
    """One model to train: clip, base, upsampler, latent or refiner."""

    layout: RunLayout
    config: RunConfig
    name: str
    fingerprint: str
    requested_at: float = 0.0
    """Unix time at which a worker was asked for: what passes until it is there is reported as start-up."""


class Objective(nn.Module):
    """A model with its loss as ``forward``, so that distributed training sees every use of the parameters."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The recipe's loss."""
        return self.recipe.loss(self.model, batch, generator)


def published_report(item: TrainItem) -> StageReport | None:
    """The model's ledger when it is current."""
    return current_report(item.name, item.fingerprint, item.config, item.layout)


def train_loop(item: TrainItem, context: Context) -> StageReport | None:
    """Train one model to its last step and publish it; rank 0 returns the ledger entry.

    Raises ``DataError`` when there is too little data or the loss is no longer finite.
    """
    begun = time.monotonic()
    startup_s = time.time() - item.requested_at
    config, layout = item.config, item.layout
    settings: TrainingConfig = getattr(config, item.name)
    if settings.batch % context.world_size:
        raise ConfigError(f"{item.name}.batch {settings.batch} is no multiple of train.workers {context.world_size}")
    use_threads(config.train.cpus_per_worker)
    recipe = make_recipe(item.name, config, layout, context.device)
    inputs = stage_inputs(item.name, config, layout, recipe.avatars)
    model = recipe.build(seeded(config, 0, f"{item.name} weights", CPU)).to(context.device)
    steps = settings.steps if recipe.trains else 0
    ema = Ema(model, settings.ema_decay)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.99)
    )
    checkpoints = layout.model(item.name) / "checkpoints"
    identity = {"fingerprint": item.fingerprint, "inputs": inputs}
    curve: list[list[float]] = []
    names: list[str] = []
    first_step, seconds_before = 0, 0.0
    started_at = time.time()
    saved = _latest_checkpoint(checkpoints, identity)
    if saved is not None:
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        optimiser.load_state_dict(saved["optimiser"])
        first_step, seconds_before, started_at = saved["step"], saved["seconds"], saved["started_at"]
        curve, names = saved["curve"], saved["names"]
    objective = context.prepare(Objective(model, recipe)) if steps else model
    model.train()
    writer = _event_writer(layout, item.name, first_step) if context.rank == 0 and steps else None

    for step, batch in _batches(item, recipe, context, first_step, steps):
        generator = seeded(config, step, f"{item.name} rank {context.rank}", CPU)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (step + 1) / max(1, settings.warmup_steps))
        with torch.autocast(context.device.type, torch.bfloat16, enabled=config.train.precision == "bfloat16"):
            losses = objective(batch, generator)
        optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
        if not bool(torch.isfinite(norm)):
            raise DataError(
                f"stage {item.name}: the gradient of step {step} is not finite; lower {item.name}.learning_rate "
                f"{settings.learning_rate} and go on from the last checkpoint"
            )
        optimiser.step()
        ema.update(model)
        context.progress(step + 1, steps)
        last = step + 1 == steps
        if step % settings.log_every == 0 or last:
            names = ["step", "seconds", *losses]
            seconds = seconds_before + time.monotonic() - begun
            curve.append([float(step), round(seconds, 2), *(float(value.detach()) for value in losses.values())])
            context.report(dict(zip(names, curve[-1], strict=True)))
            if writer is not None:
                for name, value in zip(names[2:], curve[-1][2:], strict=True):
                    writer.add_scalar(f"{item.name}/{name}", value, step)
        if (step + 1) % settings.checkpoint_every == 0 and not last and context.rank == 0:
            tree = {
                "identity": identity,
                "step": step + 1,
                "seconds": seconds_before + time.monotonic() - begun,
                "started_at": started_at,
                "model": dict(model.state_dict()),
                "ema": ema.state_dict(),
                "optimiser": optimiser.state_dict(),
                "curve": curve,
                "names": names,
            }
            _save_checkpoint(checkpoints, step + 1, tree)
    if writer is not None:
        writer.close()
    context.barrier()
    if context.rank != 0:
        return None
    ema.copy_to(model)
    seconds = seconds_before + time.monotonic() - begun
    losses_last = dict(zip(names[2:], curve[-1][2:], strict=True)) if curve else {}
    report = _publish(item, recipe, model, inputs, curve, names)
    report = report.model_copy(
        update={
            "metrics": {**losses_last, "steps": float(steps), "startup_s": round(startup_s, 2)},
            "started_at": started_at,
            "finished_at": time.time(),
            "seconds": round(seconds, 2),
        }
    )
    write_ledger(layout.ledger(item.name, item.name), report)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return report


def _batches(
    item: TrainItem, recipe: Recipe, context: Context, first_step: int, steps: int
) -> Iterator[tuple[int, Batch]]:
    """Batches from ``first_step`` on, read ahead by threads. Which items a step sees depends on the step alone."""
    batch: int = getattr(item.config, item.name).batch
    share = batch // context.world_size

    def load(step: int) -> Batch:
        generator = generator_for(item.config.seed, step, f"{item.name} batch")
        places = recipe.draw(generator, batch)
        return recipe.load(places[context.rank * share : (context.rank + 1) * share])

    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting = [pool.submit(load, step) for step in range(first_step, min(first_step + PREFETCHED_BATCHES, steps))]
        for step in range(first_step, steps):
            ready = waiting.pop(0).result()
            if step + PREFETCHED_BATCHES < steps:
                waiting.append(pool.submit(load, step + PREFETCHED_BATCHES))
            yield step, {name: value.to(context.device, non_blocking=True) for name, value in ready.items()}


def _publish(
    item: TrainItem,
    recipe: Recipe,
    model: nn.Module,
    inputs: dict[str, str],
    curve: list[list[float]],
    names: list[str],
) -> StageReport:
    layout, folder = item.layout, item.layout.model(item.name)
    staged = empty_folder(layout.work / "models" / item.name)
    notes = recipe.save(model.eval(), staged)
    publish_folder(staged, folder / "weights")
    text = io.StringIO()
    csv.writer(text).writerows([names, *curve])
    publish_text(folder / "loss.csv", text.getvalue())
    published = [*sorted((folder / "weights").iterdir()), folder / "loss.csv"]
    return StageReport(
        schema_version=SCHEMA_VERSION,
        stage=item.name,
        fingerprint=item.fingerprint,
        avatars=recipe.avatars,
        inputs=inputs,
        # The loss curve holds seconds, so it is no part of what the next stage depends on.
        outputs={str(path.relative_to(layout.root)): sha256_file(path) for path in published[:-1]},
        notes=notes,
        started_at=0.0,
        finished_at=0.0,
        seconds=0.0,
        versions=package_versions(("torch", "diffusers", "transformers")),
        processor=processor_name(),
    )


def _save_checkpoint(folder: Path, step: int, tree: dict[str, Any]) -> None:
    staged = empty_folder(folder / f"step-{step:08d}.partial")
    save_state(staged, tree)
    publish_folder(staged, folder / f"step-{step:08d}")
    for old in sorted(folder.glob("step-????????"))[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old, ignore_errors=True)


def _latest_checkpoint(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The newest checkpoint of the same configuration and data, if there is one."""
    for path in sorted(folder.glob("step-????????"), reverse=True):
        tree: dict[str, Any] = load_state(path)
        if tree["identity"] == identity:
            return tree
    return None


def _event_writer(layout: RunLayout, name: str, first_step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(layout.model(name) / "tensorboard"), purge_step=first_step)
