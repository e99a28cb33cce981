"""``results.json`` as a page of Markdown: every figure of the page is one of the file."""

import time
from collections.abc import Sequence

from pipeline.contracts.report.results import Bar, Figure, Results, Section, Table


def results_page(results: Results, *, pictures: str = "") -> str:
    """The page; ``pictures`` is put before the paths of pictures, which are relative to the report's folder."""
    samples = " or ".join(sorted({str(section.samples) for section in results.sections}))
    lines = [
        "# Results",
        "",
        f"Measured on the {results.num_held_out} held-out people of preset `{results.preset}`, whom no decoder, CLIP, "
        f"statistic, eigen-plane or model has seen, beside {results.num_training} training people. "
        "In brackets: the interval of 95 % by bootstrap over avatars; *n* is how many avatars a figure rests on. "
        f"`rodin-pipe evaluate --out RUN --samples {samples}` measures, `python docs/results.py RUN` writes this page.",
        "",
        f"{results.processor}; {', '.join(f'{name} {version}' for name, version in results.versions.items())}.",
    ]
    bars = [bar for section in results.sections for bar in section.bars]
    if bars:
        reached = sum(bar.reached is True for bar in bars)
        lines += ["", "## What should be reached", "", f"{reached} of {len(bars)} are.", "", *_bar_lines(bars)]
    for section in results.sections:
        lines += _section_lines(section, pictures)
    return "\n".join(lines) + "\n"


def _section_lines(section: Section, pictures: str) -> list[str]:
    day = time.strftime("%Y-%m-%d", time.gmtime(section.finished_at))
    lines = ["", f"## {section.title}", "", *section.notes]
    lines.append(f"Measured on {day} in {section.seconds / 60:.0f} minutes; models {section.models_sha256[:12]}.")
    for table in section.tables:
        lines += ["", f"**{table.title}**", "", *_table_lines(table)]
        lines += ["", table.note] if table.note else []
    for picture in section.pictures:
        lines += ["", f"![{picture.caption}]({pictures}{picture.path})"]
        lines += ["", picture.caption] if picture.caption else []
    return lines


def _bar_lines(bars: Sequence[Bar]) -> list[str]:
    words = {True: "reached", False: "**not reached**", None: "no figure"}
    return [
        "| | figure | n | asked for | |",
        "|---|---|---|---|---|",
        *(
            f"| {bar.text} | {figure_text(bar.figure)} | {bar.figure.n} | "
            f"{'at least' if bar.at_least else 'at most'} {bar.bound:g} | {words[bar.reached]} |"
            for bar in bars
        ),
    ]


def _table_lines(table: Table) -> list[str]:
    columns = list(dict.fromkeys(figure.name for row in table.rows for figure in row.figures))
    lines = [f"| | {' | '.join(columns)} | n |", "|---" * (len(columns) + 2) + "|"]
    for row in table.rows:
        found = {figure.name: figure for figure in row.figures}
        cells = [figure_text(found[column]) if column in found else "" for column in columns]
        counts = sorted({figure.n for figure in row.figures if figure.n})
        lines.append(f"| {row.name} | {' | '.join(cells)} | {', '.join(map(str, counts))} |")
    return lines


def figure_text(figure: Figure) -> str:
    """A figure with its interval, or why there is none."""
    if figure.value is None:
        return figure.withheld or "none"
    value = f"{figure.value:.{figure.digits}f}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} [{figure.low:.{figure.digits}f}, {figure.high:.{figure.digits}f}]"
