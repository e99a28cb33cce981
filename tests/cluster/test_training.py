import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.context import TrainingContext
from cluster.dag import Task, TaskFailed, run_tasks
from cluster.progress import StageProgress
from cluster.session import SessionInfo
from cluster.training import run_training
from pipeline.contracts.errors import DataError
from pipeline.contracts.stage import Progress

pytestmark = pytest.mark.ray


def train(item: dict[str, Any], inputs: tuple[Any, ...], progress: Progress) -> dict[str, Any]:
    return run_training(
        item["loop"],
        item,
        num_workers=item["workers"],
        cpus_per_worker=1,
        gpus_per_worker=1,  # there is none, so the CPU it is
        storage=Path(item["storage"]),
        name="model",
        progress=progress,
        max_failures=item.get("max_failures", 1),
    )


def gradient(item: dict[str, Any], context: TrainingContext) -> dict[str, Any]:
    """One step of y = w x with x = rank + 1, so that the gradient of w is rank + 1."""
    import torch

    linear = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(linear.weight, 3.0)
    model = context.prepare(linear)
    model(torch.full((1, 1), context.rank + 1.0)).sum().backward()
    assert linear.weight.grad is not None
    context.report({"loss": 0.25})
    context.progress(1, 1)
    context.barrier()
    return {
        "gradient": linear.weight.grad.item(),
        "mean": context.all_reduce_mean(torch.tensor(10.0 * context.rank)).item(),
        "place": (context.rank, context.world_size, str(context.device)),
        "threads": torch.get_num_threads(),
        # What the controller passes on is what it has been given.
        "start_timeout": os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"],
    }


def resuming(item: dict[str, Any], context: TrainingContext) -> dict[str, Any]:
    """Counts six steps in a file. In step 3 of the first attempt the worker of the highest rank is killed."""
    checkpoint, killed = Path(item["storage"]) / "step", Path(item["storage"]) / "killed"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(first, 6):
        if step == 3 and context.rank == context.world_size - 1 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        context.barrier()
        if context.rank == 0:
            checkpoint.write_text(str(step + 1))
        context.barrier()
    return {"first": first, "last": int(checkpoint.read_text())}


def refuse(item: dict[str, Any], context: TrainingContext) -> dict[str, Any]:
    """One worker finds something wrong while the other waits for it."""
    if context.rank == 1:
        raise DataError("latents/ is empty: encode first")
    context.barrier()
    return {}


def run(item: dict[str, Any], told: list[StageProgress] | None = None) -> Any:
    task = Task("train/model", "train", train, item, total=1.0, unit="step", num_cpus=0.0)
    return run_tasks([task], on_progress=None if told is None else told.append)["train/model"]


@pytest.mark.parametrize(
    ("workers", "mean_gradient", "mean_rank"),
    [pytest.param(1, 1.0, 0.0, marks=pytest.mark.slow), (2, (1 + 2) / 2, 10 * (0 + 1) / 2)],
)
def test_gradients_are_averaged_over_the_workers(
    session: SessionInfo, tmp_path: Path, workers: int, mean_gradient: float, mean_rank: float
) -> None:
    told: list[StageProgress] = []
    # A driver that was killed while it trained has left the note of a cluster that is gone with it.
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "placement_group").write_text("0123456789abcdef0123456789abcdef0123")
    result = run({"loop": gradient, "workers": workers, "storage": str(tmp_path)}, told)
    assert result == {
        "gradient": mean_gradient,
        "mean": mean_rank,
        "place": (0, workers, "cpu"),
        "threads": 1,
        "start_timeout": "600",
    }
    assert any(stage.metrics == {"loss": 0.25} for stage in told)
    # What Ray Train leaves is small, and in its folder.
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(tmp_path / "model") for path in left)
    assert sum(path.stat().st_size for path in left) < 1000
    assert not (tmp_path / "model" / "placement_group").exists()


@pytest.mark.slow
def test_workers_that_are_killed_start_again_and_go_on(session: SessionInfo, tmp_path: Path) -> None:
    result = run({"loop": resuming, "workers": 1, "storage": str(tmp_path)})
    assert (tmp_path / "killed").exists()
    assert result == {"first": 3, "last": 6}


def test_what_one_worker_raised_is_the_reason_and_ends_the_others(session: SessionInfo, tmp_path: Path) -> None:
    result = run({"loop": refuse, "workers": 2, "storage": str(tmp_path), "max_failures": 0})
    assert isinstance(result, TaskFailed)
    assert result.reason == "latents/ is empty: encode first"


@pytest.mark.slow
def test_a_killed_trainer_frees_its_cpus_and_starts_again(session: SessionInfo, tmp_path: Path) -> None:
    # Both CPUs are held by the group of workers of the first attempt; the second needs both.
    result = run({"loop": orphaned, "workers": 2, "storage": str(tmp_path), "caller": None})
    assert result == {"attempt": 2}


def orphaned(item: dict[str, Any], context: TrainingContext) -> dict[str, Any]:
    """In the first attempt, kills the task that waits for this training."""
    import psutil  # Ray's own copy

    log = Path(item["storage"]) / f"log-{context.rank}"
    with log.open("a") as file:
        file.write("x")
    attempt = len(log.read_text())
    context.barrier()
    if attempt == 1 and context.rank == 0:
        for process in psutil.process_iter(["cmdline"]):
            if (process.info["cmdline"] or [""])[0] == "ray::train/model":
                process.kill()
    if attempt == 1:
        time.sleep(60)  # until this worker goes with the one that asked for it
    return {"attempt": attempt}


def test_more_workers_than_the_cluster_has_room_for_are_refused(session: SessionInfo, tmp_path: Path) -> None:
    result = run({"loop": gradient, "workers": 3, "storage": str(tmp_path)})
    assert result.reason.startswith("training model needs 3 workers with 1 CPUs each, and the cluster has room for 2")
