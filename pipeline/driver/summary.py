"""What a command says before (``--dry-run``) and after it: plain text."""

from pipeline.config.run import RunConfig
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.units import bytes_text, seconds_text
from pipeline.driver.survey import StageState, disk_bytes, num_tasks
from pipeline.driver.visit import Visit, VisitResult
from pipeline.run.fingerprint import MODELS, STAGE_SECTIONS
from pipeline.run.memory import TERMS
from pipeline.run.provenance import own_reports

# CPU seconds measured on one core of a 2.6 GHz server, in the units that each stage is counted in.
RENDER_S_PER_AVATAR = 5.0
RENDER_S_PER_MEGASAMPLE = 2.2
FIT_S_PER_MEGASAMPLE = 2.0
TRAIN_S_PER_GIGATEXEL_CHANNEL = 3.0
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
        memory = bytes_text(sum(TERMS[stage](config).values())) if stage in TERMS else ""
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


def estimated_cpu_hours(config: RunConfig) -> dict[str, float]:
    """Hours of one CPU core for each stage done from the start, to within a factor of about two."""
    render, fit = config.render, config.fit
    views = render.train_views + render.held_out_views + 1
    megasamples = views * render.resolution**2 * render.samples / 1e6
    fit_megasamples = fit.steps * fit.rays * fit.samples / 1e6
    seconds = {
        "render": render.num_avatars * (RENDER_S_PER_AVATAR + RENDER_S_PER_MEGASAMPLE * megasamples),
        "decoder": config.decoder.avatars
        * config.decoder.steps_per_avatar
        * fit.rays
        * fit.samples
        / 1e6
        * FIT_S_PER_MEGASAMPLE,
        "fit": render.num_avatars * FIT_S_PER_MEGASAMPLE * fit_megasamples,
        "own": render.num_avatars * FIT_S_PER_MEGASAMPLE * config.own.steps * fit.rays * fit.samples / 1e6,
    }
    for stage, side in (("base", config.planes.base_resolution), ("upsampler", config.planes.resolution)):
        section = config.base if stage == "base" else config.upsampler
        work = section.steps * section.batch * 3 * side**2 * section.unet.width**2 * section.unet.blocks / 1e9
        seconds[stage] = work * TRAIN_S_PER_GIGATEXEL_CHANNEL
    return {stage: seconds.get(stage, 60.0) / 3600 for stage in STAGE_SECTIONS}


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
        lines += _own_lines(visit)
    page = visit.layout.report / "index.html"
    if page.exists():
        lines.append(f"report:                   {page}")
        lines.append(f"a new avatar from noise:  rodin-pipe generate --out {out} --num 2")
        lines.append(f"from a sentence:          rodin-pipe generate --out {out} --text 'an old woman with grey hair'")
        lines.append(f"what is in the run:       rodin-pipe inspect --out {out}")
    else:
        following = {"render": "fit", "fit": "train", "train": "generate", "evaluate": "inspect"}.get(visit.command)
        if visit.command == "train" and any(result.states[model].word != "done" for model in MODELS):
            following = "train"
        if visit.config.is_ingested:
            following = "view" if "fit" in visit.stages else None
        if following and "own" not in visit.stages and not report.failed_tasks:
            lines.append(f"next: rodin-pipe {following} --out {out}")
    return "\n".join(lines)


def _own_lines(visit: Visit) -> list[str]:
    """Quality and folder of each avatar that has a decoder of its own; the first ones, where there are many."""
    fits = [report.fit for report in own_reports(visit.config, visit.layout).values() if report.fit is not None]
    lines = [
        f"{format_avatar(fit.avatar)}: held-out PSNR {fit.psnr_db:.2f} dB over white, {fit.psnr_foreground_db:.2f} dB "
        f"on the object, SSIM {fit.ssim:.4f}: {visit.layout.own / format_avatar(fit.avatar)}"
        for fit in fits[:OWN_LINES]
    ]
    return lines + ([f"and {len(fits) - OWN_LINES} more in {visit.layout.own}"] if len(fits) > OWN_LINES else [])
