"""The model card of exported weights: what a run's configuration and ledgers say of them, as Markdown."""

from collections.abc import Iterable, Mapping
from typing import Final

from pipeline.contracts.planes import FitShardReport
from pipeline.contracts.rendering import RenderedShard
from pipeline.contracts.report.page import ReportData
from pipeline.contracts.units import bytes_text
from pipeline.io.files import exists, read_bytes
from pipeline.io.ledger import parse_record
from pipeline.run.run import Run
from pipeline.run.stage_table import trained_models

LICENCE: Final = """## Licence

The weights are under Apache-2.0, as the program is. What they make, pictures, planes and meshes, is free to use for
anything. The people that they learned from are synthetic: drawn at random, built from MakeHuman's CC0 data and rendered
with Cycles. No photograph of a person was used.
"""

LIMITS: Final = """## Limits

- The people are those of the generator: its hair styles, garments, glasses and hats, one neutral studio, head and
  shoulders. What it cannot draw, these models cannot either; a photograph of a real face gives somebody like it.
- They were seen from {low:g} to {high:g} degrees of elevation, all around. Other views are guessed.
- Text is understood in English, of age, hair, skin, garment, glasses, beard, hat: what the generator's people
  differ in.
- Hair lines, glasses and patterns are softer than in the renders; {scale} refinement sharpens one view at a time.
"""


def model_card(run: Run, sizes: Mapping[str, int]) -> str:
    """The text; ``sizes`` are bytes by part."""
    parts = (_head(run), made_from(run), _bytes(sizes), _figures(run), _limits(run), LICENCE)
    return "\n".join(part for part in parts if part)


def made_from(run: Run) -> str:
    """The card's sections on the people that models were made from, and on steps, hours and processors."""
    return f"{_data(run)}\n{_training(run)}"


def _head(run: Run) -> str:
    return (
        f"# Weights of preset {run.config.preset}\n\n"
        "Made by `rodin-pipe export models`. `rodin-pipe generate --model FOLDER` uses them; a run with\n"
        '`train.start_from = "FOLDER"` goes on from them.\n'
    )


def _data(run: Run) -> str:
    render, planes = run.config.render, run.config.planes
    rendered = sorted(run.render_sources())
    held_out = sum(run.config.is_held_out(avatar) for avatar in rendered)
    fits = [fit.psnr_db for report in run.fit_reports().values() for fit in report.fits if fit.psnr_db is not None]
    fitted = f", fitted to {sum(fits) / len(fits):.1f} dB on views that no fit has read" if fits else ""
    return (
        "## Data\n\n"
        f"{len(rendered) - held_out} synthetic people of seed {run.config.seed} to learn from, and {held_out} more "
        f"held out. Each was rendered at {render.resolution} pixels, {render.samples} samples a pixel:\n"
        f"{render.train_views} views to fit, {render.held_out_views} to measure, the front. Planes of "
        f"{planes.resolution}² x {planes.channels} channels (base planes {planes.base_resolution}²){fitted}.\n"
    )


def _training(run: Run) -> str:
    """Steps, hours and processors, from the ledgers."""
    renders, fits = tuple(run.render_reports().values()), tuple(run.fit_reports().values())
    processors = {report.processor for report in renders} | {report.processor for report in fits}
    rows = [("render", f"{sum(len(report.done) for report in renders)} avatars", _span(renders))]
    decoder = run.decoder_report()
    if decoder is not None:
        rows.append(("decoder", f"{decoder.steps} steps on {len(decoder.avatars)} avatars", decoder.seconds))
        processors.add(decoder.processor)
    rows.append(("fit", f"{sum(len(report.fits) for report in fits)} avatars", _span(fits)))
    for name in trained_models():
        report = run.stage_report(name)
        if report is None:
            continue
        section = getattr(run.config, name)
        steps, parameters = report.metrics.get("steps") or 0.0, report.metrics.get("parameters") or 0.0
        what = (
            f"{parameters / 1e6:.2f} M parameters, {steps:.0f} steps of {section.batch}, rate {section.learning_rate:g}"
        )
        rows.append((name, what, report.seconds))
        processors.add(report.processor)
    lines = [f"| {name} | {what} | {seconds / 3600:.2f} |" for name, what, seconds in rows]
    return (
        "## Training\n\n| stage | what | hours |\n|---|---|---|\n"
        + "\n".join(lines)
        + f"\n\nProcessor: {'; '.join(sorted(processors)) or 'unknown'}. Hours are of work, on as many cores as a "
        "stage had.\n"
    )


def _span(reports: Iterable[RenderedShard | FitShardReport]) -> float:
    """Seconds from begin to end of each shard, added up."""
    return sum(report.finished_at - report.started_at for report in reports)


def _bytes(sizes: Mapping[str, int]) -> str:
    lines = [f"| {name} | {bytes_text(size)} |" for name, size in (*sizes.items(), ("all", sum(sizes.values())))]
    return "## Bytes\n\n| part | bytes |\n|---|---|\n" + "\n".join(lines) + "\n"


def _figures(run: Run) -> str:
    """What the run's report measured, if it was made after the models."""
    path = run.layout.report / "metrics.json"
    evaluated = run.stage_report("evaluate")
    if evaluated is None or not exists(path):
        return ""
    data = parse_record(read_bytes(path), ReportData, where=str(path), remedy="run rodin-pipe evaluate again")
    lines = [
        f"| {row.name} | {row.num_generated} / {row.num_real} | {_number(row.fid)} | {_number(row.kid)} |"
        for row in data.distances
    ]
    return (
        "## Figures\n\nGenerated pictures against renders, on features of these models' own CLIP:\n\n"
        "| | pictures / renders | FID | KID |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"
    )


def _limits(run: Run) -> str:
    low, high = run.config.render.elevation_deg
    return LIMITS.format(low=low, high=high, scale=f"{run.config.refiner.scale}x")


def _number(value: float | None) -> str:
    return "withheld" if value is None else f"{value:.4g}"
