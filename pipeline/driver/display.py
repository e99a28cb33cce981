"""Progress of stages: live bars on a terminal, a line now and then elsewhere; always with rate and time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.contracts.units import rate_text, seconds_text

if TYPE_CHECKING:
    from cluster.progress import StageProgress

LINE_EVERY_S = 10.0
"""Seconds between two lines of one stage where there is no terminal."""


@contextmanager
def stage_display() -> "Iterator[Callable[[StageProgress], None]]":
    """A display of all stages at once; gives the function that takes each stage's progress."""
    if sys.stderr.isatty():
        with _bars() as show:
            yield show
    else:
        yield _lines()


def show_line(line: str) -> None:
    """A line beside the progress; above the bars where there are some, which take what is printed meanwhile."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def simple_progress(stage: str, unit: str) -> Iterator[Callable[[float, float], None]]:
    """Progress of one piece of work that runs in this process; gives a function of (done, total)."""
    from cluster.progress import StageProgress

    start = time.monotonic()
    with stage_display() as show:

        def progress(done: float, total: float) -> None:
            elapsed = time.monotonic() - start
            rate = done / elapsed if elapsed > 0 and done > 0 else None
            show(
                StageProgress(
                    stage=stage,
                    done=done,
                    total=total,
                    unit=unit,
                    running=(stage,) if done < total else (),
                    tasks_done=int(done >= total),
                    tasks_failed=0,
                    num_tasks=1,
                    elapsed_s=elapsed,
                    rate_per_s=rate,
                    eta_s=(total - done) / rate if rate else None,
                )
            )

        yield progress


@contextmanager
def _bars() -> "Iterator[Callable[[StageProgress], None]]":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=28),
        TextColumn("{task.fields[count]:>14} {task.fields[speed]:>18}  left {task.fields[left]:>8}{task.fields[said]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        rows: dict[str, Any] = {}

        def show(state: "StageProgress") -> None:
            texts: dict[str, Any] = {
                "count": f"{state.done:.0f}/{state.total:.0f}",
                "speed": rate_text(state.rate_per_s, state.unit),
                "left": seconds_text(state.eta_s),
                "said": _said(state),
            }
            if state.stage not in rows:
                rows[state.stage] = bars.add_task(state.stage, total=state.total, **texts)
            bars.update(rows[state.stage], completed=state.done, total=state.total, **texts)

        yield show


def _lines() -> "Callable[[StageProgress], None]":
    shown: dict[str, tuple[float, float]] = {}

    def show(state: "StageProgress") -> None:
        now = time.monotonic()
        last, done = shown.get(state.stage, (float("-inf"), -1.0))
        finished = state.done >= state.total
        if (
            state.done == done
            or (now - last < LINE_EVERY_S and not finished)
            or (state.done == 0 and not state.running)
        ):
            return
        shown[state.stage] = (now, state.done)
        print(  # noqa: T201
            f"{time.strftime('%H:%M:%S')} {state.stage:<10} {state.done:.0f}/{state.total:.0f} {state.unit}s, "
            f"{rate_text(state.rate_per_s, state.unit)}, {seconds_text(state.eta_s)} left{_said(state)}",
            file=sys.stderr,
            flush=True,
        )

    return show


def _said(state: "StageProgress") -> str:
    return "".join(f", {name} {value:.4g}" for name, value in state.metrics.items())
