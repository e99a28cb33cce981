"""What a command says before (``--dry-run``) and after it: plain text."""

from pipeline.contracts.naming import format_avatar, next_command
from pipeline.contracts.units import bytes_text, seconds_text
from pipeline.driver.estimate import disk_bytes, estimated_cpu_hours, num_tasks
from pipeline.driver.request import Visit
from pipeline.driver.survey import StageState
from pipeline.driver.visit import VisitResult
from pipeline.io.files import exists
from pipeline.run.memory_check import memory_terms
from pipeline.run.run import Run
from pipeline.run.stage_table import stages_of, wanted_of

OWN_LINES = 12
"""Most avatars whose quality is told one by one."""


def describe_plan(visit: Visit, states: dict[str, StageState]) -> str:
    """What would be done: the state of each stage, tasks, disk and estimated CPU hours."""
    config = visit.config
    disk = disk_bytes(config, visit.stages, states)
    hours = estimated_cpu_hours(config)
    lines = [f"{'stage':<10} {'state':<11} {'done':>13} {'tasks':>6} {'memory':>10} {'disk':>10} {'CPU hours':>10}"]
    for stage in visit.stages:
        state = states[stage]
        terms = memory_terms(stage, config)
        memory = bytes_text(sum(terms.values())) if terms else ""
        left = 1 - (state.done + state.failed) / max(state.total, 1)
        lines.append(
            f"{stage:<10} {state.word:<11} {f'{state.done}/{state.total}':>13} {num_tasks(config, [stage]):>6} "
            f"{memory:>10} {bytes_text(disk.get(stage, 0)):>10} {hours.get(stage, 0.0) * left:>10.2f}"
        )
    lines.append(
        f"in all {num_tasks(config, visit.stages)} tasks, {bytes_text(sum(disk.values()))}; memory is of one process; "
        "hours are of one CPU core, estimated from the configuration; a GPU changes them by orders of magnitude"
    )
    return "\n".join(lines)


def describe_result(visit: Visit, result: VisitResult) -> str:
    """What was done: seconds of every stage, Ray's own among them, failures, and what to try next."""
    report, out = result.report, visit.layout.root
    lines = ["", f"{'stage':<12} {'seconds':>8}   done"]
    lines.append(f"{'ray start':<12} {report.ray_start_s:>8.1f}")
    for stage in visit.stages:
        state = result.states[stage]
        failed = f", {state.failed} failed" if state.failed else ""
        behind = f", {state.behind} avatars added since; --redo train learns from them" if state.behind else ""
        lines.append(f"{stage:<12} {report.stages.get(stage, 0.0):>8.1f}   {state.done}/{state.total}{failed}{behind}")
    lines.append(f"{'ray stop':<12} {report.ray_stop_s:>8.1f}")
    whole = report.finished_at - report.started_at
    lines.append(f"{'in all':<12} {whole:>8.1f}   {seconds_text(whole)} on {report.cpus:g} CPUs, {report.gpus:g} GPUs")
    for name, reason in report.failed_tasks.items():
        lines.append(f"failed: {name}: {reason}")
    lines.append("")
    if report.failed_tasks or any(result.states[stage].failed for stage in visit.stages):
        lines.append(f"what failed, with logs:   rodin-pipe inspect --out {out}")
    if "own" in visit.stages:
        lines += _own_lines(result.run)
    page = visit.layout.report / "index.html"
    if exists(page):
        lines.append(f"report:                   {page}")
        lines.append(f"a new avatar from noise:  rodin-pipe generate --out {out} --num 2")
        lines.append(f"from a sentence:          rodin-pipe generate --out {out} --text 'an old woman with grey hair'")
        lines.append(f"what is in the run:       rodin-pipe inspect --out {out}")
    else:
        following = {"render": "fit", "fit": "train", "train": "generate", "evaluate": "inspect"}.get(visit.command)
        if visit.command == "train" and any(
            result.states[model].word != "done" for model in wanted_of(stages_of("train"), visit.config)
        ):
            following = "train"
        if visit.config.is_ingested:
            following = "view" if "fit" in visit.stages else None
        if following and "own" not in visit.stages and not report.failed_tasks:
            lines.append(next_command(following, "--out", out))
    return "\n".join(lines)


def _own_lines(run: Run) -> list[str]:
    """Quality and folder of each avatar that has a decoder of its own; the first ones, where there are many."""
    fits = [report.fit for report in run.own_reports().values() if report.fit is not None]
    lines = [
        f"{format_avatar(fit.avatar)}: held-out PSNR {fit.psnr_db:.2f} dB over white, {fit.psnr_foreground_db:.2f} dB "
        f"on the object, SSIM {fit.ssim:.4f}: {run.layout.own / format_avatar(fit.avatar)}"
        for fit in fits[:OWN_LINES]
    ]
    return lines + ([f"and {len(fits) - OWN_LINES} more in {run.layout.own}"] if len(fits) > OWN_LINES else [])
