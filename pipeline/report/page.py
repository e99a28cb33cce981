"""The report: one static HTML page that opens from a file, loads nothing from the network and runs no script.

Avatars that are shown live have pages of their own (:mod:`pipeline.report.web`), which it frames once they are opened.

:func:`render_page` is a pure function of :class:`~pipeline.contracts.report.page.ReportData`. The loss curves are drawn
by :mod:`pipeline.report.plot`; how the page looks is said in :mod:`pipeline.report.style`.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import PurePosixPath
from statistics import fmean
from urllib.parse import quote

from pipeline.contracts.report.page import (
    VIDEO_SUFFIXES,
    DistanceRow,
    FitPair,
    GeneratedAvatar,
    Picture,
    ReportData,
    StageTime,
    TrainedModel,
)
from pipeline.report.plot import loss_plot
from pipeline.report.style import LIVE_STYLE, STYLE

_SOURCES = {"noise": "from noise", "portrait": "from a portrait", "text": "from a text", "edit": "an edit"}
_SOON = 3600.0
"""Seconds of training from nothing below which generated avatars are said to be noise."""


def render_page(data: ReportData) -> str:
    """The whole page."""
    sections = (
        ("stages", "Stages", _stages(data)),
        ("people", "Renders", _renders(data)),
        ("fits", "Fits", _fits(data)),
        ("models", "Training", _models(data)),
        ("generated", "Generated avatars", _generated(data)),
        ("distances", "Distances to the renders", _distances(data)),
        ("config", "Configuration", _details("run.toml", f"<pre>{escape(data.config_toml)}</pre>")),
        ("versions", "Versions", _details("packages", _versions(data))),
    )
    navigation = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    body = "".join(f'<section id="{name}"><h2>{title}</h2>{content}</section>\n' for name, title, content in sections)
    title = f"{escape(data.run_name)} · rodin-pipe"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>{_header(data)}<nav>{navigation}</nav></header>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def referenced_files(data: ReportData) -> tuple[str, ...]:
    """Every file that the page shows, relative to its folder, each once, in order of appearance."""
    paths = [picture.path for picture in data.renders]
    for pair in data.fit_pairs:
        paths += [pair.truth.path, pair.fit.path, pair.error.path, *((pair.live,) if pair.live else ())]
    for avatar in data.generated:
        paths += [path for path in (avatar.turntable, avatar.refined_turntable) if path is not None]
        paths += [picture.path for picture in (avatar.strip, avatar.refined_strip) if picture is not None]
        paths += [path for path in (avatar.live, avatar.live_poster) if path is not None]
    return tuple(dict.fromkeys(paths))


def _header(data: ReportData) -> str:
    made = datetime.fromtimestamp(data.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    whole, foreground = (_mean(getattr(f, name) for f in data.fits) for name in ("psnr_db", "psnr_foreground_db"))
    failed = len({failure.avatar_id for failure in data.failures})
    facts = [
        (str(data.num_avatars), "avatars asked for", f"{data.num_held_out} held out, {failed} failed"),
        (str(data.views_per_avatar), "views each", f"{data.resolution} × {data.resolution} pixels"),
        (_number(whole, 1, " dB"), "mean held-out PSNR", f"foreground alone {_number(foreground, 1, ' dB')}"),
        (_duration(sum(m.seconds for m in data.models)), "of training", f"{len(data.models)} models"),
        (_duration(data.wall_seconds), "in all", f"{escape(data.processor)}; Cycles on {escape(data.device)}"),
    ]
    tiles = "".join(
        f'<div class="fact"><b>{value}</b><span>{name}</span><small>{detail}</small></div>'
        for value, name, detail in facts
    )
    return (
        f"<h1>{escape(data.run_name)}</h1>"
        f'<p class="sub">rodin-pipe run with preset <b>{escape(data.preset)}</b>, report of {made}</p>'
        f'<div class="facts">{tiles}</div>'
    )


def _stages(data: ReportData) -> str:
    rows = list(data.stages)
    if data.ray_start_s is not None:
        rows.insert(0, StageTime(name="Ray starts", seconds=data.ray_start_s, starts_at_s=0.0))
    end = max([(row.starts_at_s or 0.0) + row.seconds for row in rows], default=0.0)
    if data.ray_stop_s is not None:
        rows.append(StageTime(name="Ray stops", seconds=data.ray_stop_s, starts_at_s=end))
        end += data.ray_stop_s
    if not rows:
        return _nothing("No stage has run yet.")
    body = "".join(_stage_row(row, max(end, data.wall_seconds or 0.0, 1e-9)) for row in rows)
    failures = "".join(
        f"<tr><td>{escape(f.avatar_id)}</td><td>{escape(f.stage)}</td><td>{escape(f.reason)}</td></tr>"
        for f in data.failures
    )
    table = _table(("Stage", "Seconds", "When", "Done", "Failed", ""), body, "stages")
    note = '<p class="note">Seconds from a stage\'s first task to its last. Stages overlap, so they add up to more.</p>'
    if not failures:
        return table + note + _nothing("No avatar failed.")
    return table + note + "<h3>What failed</h3>" + _table(("Avatar", "Stage", "Reason"), failures)


def _stage_row(row: StageTime, end: float) -> str:
    left, width = 100 * (row.starts_at_s or 0.0) / end, 100 * row.seconds / end
    bar = f'<div class="bar"><i style="margin-left:{left:.2f}%;width:{max(width, 0.3):.2f}%"></i></div>'
    done = "" if row.done is None else str(row.done)
    failed = f'<b class="bad">{row.failed}</b>' if row.failed else ""
    return (
        f'<tr><td>{escape(row.name)}</td><td class="n">{row.seconds:.1f}</td><td class="wide">{bar}</td>'
        f'<td class="n">{done}</td><td class="n">{failed}</td><td class="soft">{escape(row.note)}</td></tr>'
    )


def _renders(data: ReportData) -> str:
    if not data.renders:
        return _nothing("There are no renders.")
    return (
        '<p class="note">What the models learn from. Hover a picture to read its caption.</p>'
        f'<div class="grid">{"".join(_figure(p) for p in data.renders)}</div>'
    )


def _fits(data: ReportData) -> str:
    if not data.fits:
        return _nothing("Nothing has been fitted.")
    names = ("psnr_db", "psnr_foreground_db", "ssim", "coverage", "seconds")
    digits = (1, 1, 3, 2, 1)
    rows = "".join(
        f"<tr><td>{escape(fit.avatar_id)}{' <small>held out</small>' if fit.held_out else ''}</td>"
        + "".join(f'<td class="n">{_number(getattr(fit, n), d)}</td>' for n, d in zip(names, digits, strict=True))
        + "</tr>"
        for fit in data.fits
    )
    means = "".join(
        f'<td class="n">{_number(_mean(getattr(f, n) for f in data.fits), d)}</td>'
        for n, d in zip(names, digits, strict=True)
    )
    heads = ("Avatar", "PSNR, dB", "Foreground, dB", "SSIM", "Covered", "Seconds")
    table = _table(heads, rows + f'<tr class="mean"><td>mean</td>{means}</tr>')
    note = (
        '<p class="note">On held-out views, which no fit reads, over white. The white around the avatar flatters the '
        "whole image; Covered is the share of the image that the avatar takes.</p>"
    )
    pairs = "".join(_fit_pair(pair) for pair in data.fit_pairs)
    withheld = _nothing(f"No fit is shown live: {data.live_withheld}.") if data.live_withheld else ""
    return f'<div class="pairs">{pairs}</div>{note}{withheld}' + _details(f"all {len(data.fits)} fits", table)


def _fit_pair(pair: FitPair) -> str:
    title = f"{escape(pair.avatar_id)}, view {pair.view} <b>{_number(pair.psnr_db, 1, ' dB')}</b>"
    named = ((pair.truth, "render"), (pair.fit, "fit"), (pair.error, "error"))
    pictures = "".join(_figure(p.model_copy(update={"label": p.label or name})) for p, name in named)
    live = live_frame(pair.live, pair.avatar_id, pair.fit.path)
    return f'<div class="pair"><h4>{title}</h4><div class="three">{pictures}</div>{live}</div>'


def _models(data: ReportData) -> str:
    if not data.models:
        return _nothing("No model has been trained.")
    switch = '<label class="switch"><input type="checkbox" id="log" checked> logarithmic loss</label>'
    return switch + f'<div class="models">{"".join(_model(m) for m in data.models)}</div>'


def _model(model: TrainedModel) -> str:
    facts = [f"trained for <b>{_duration(model.seconds)}</b>, <b>{model.steps:,}</b> steps"]
    if not model.steps:
        facts = ["taken as it was"]
    if model.batch is not None:
        facts.append(f"batch {model.batch}")
    if model.parameters is not None:
        facts.append(f"{_count(model.parameters)} parameters")
    if model.held_out_before is not None and model.held_out_after is not None:
        facts.append(f"held-out loss <b>{model.held_out_after:.4f}</b>, {model.held_out_before:.4f} before")
    note = f'<p class="note">{escape(model.note)}</p>' if model.note else ""
    plots = "".join(
        f'<div class="{"log" if log else "linear"}">{loss_plot(model.curves, log=log)}</div>' for log in (True, False)
    )
    levels = _levels(model) if model.levels else ""
    return f'<article><h3>{escape(model.name)}</h3><p class="sub">{", ".join(facts)}</p>{plots}{levels}{note}</article>'


def _levels(model: TrainedModel) -> str:
    """The held-out loss by noise: at the first measurement, at its lowest, at the last."""
    rows = ""
    for level in model.levels:
        values = [value for _, value in level.points]
        step, lowest = min(level.points, key=lambda point: point[1])
        rows += (
            f'<tr><td>{escape(level.name.removeprefix("held_out_"))}</td><td class="n">{values[0]:.4g}</td>'
            f'<td class="n">{lowest:.4g}</td><td class="n">{step:,}</td><td class="n">{values[-1]:.4g}</td></tr>'
        )
    heads = ("Time of the noise", "First", "Lowest", "at step", "Last")
    return _details("held-out loss by noise", _table(heads, rows))


def _generated(data: ReportData) -> str:
    if not data.generated:
        return _nothing("Nothing has been generated.")
    return _verdict(data) + f'<div class="avatars">{"".join(_avatar(a) for a in data.generated)}</div>'


def _verdict(data: ReportData) -> str:
    """What to expect of models that were trained for so long."""
    seconds = {model.name: model.seconds for model in data.models if model.steps}
    if not seconds:
        return ""
    trained = ", ".join(f"{escape(name)} {_duration(s)}" for name, s in seconds.items())
    if data.started_from:
        return f'<p class="note">By {escape(data.started_from)}, continued here: {trained}.</p>'
    if max(seconds.values()) < _SOON and not data.linear:
        return f'<p class="warn">Trained for {trained}: <b>expect noise, not people</b>.</p>'
    return f'<p class="note">Trained for {trained}.</p>'


def _avatar(avatar: GeneratedAvatar) -> str:
    prompt = f" <q>{escape(avatar.prompt)}</q>" if avatar.prompt else ""
    turntables = [(avatar.turntable, "as rendered"), (avatar.refined_turntable, "refined")]
    shown = [(path, name) for path, name in turntables if path is not None]
    videos = "".join(f"<figure>{_turntable(p, avatar.name)}<figcaption>{n}</figcaption></figure>" for p, n in shown)
    strips = [(avatar.strip, "as rendered"), (avatar.refined_strip, "refined")]
    rows = "".join(
        _figure(picture.model_copy(update={"label": picture.label or name}), "strip")
        for picture, name in strips
        if picture is not None
    )
    live = live_frame(avatar.live, avatar.name, avatar.live_poster or "")
    return (
        f'<article><h3>{escape(avatar.name)}</h3><p class="sub">{_SOURCES[avatar.source]}{prompt}</p>'
        f'<div class="turn">{videos}</div>{rows}{live}</article>'
    )


def live_frame(path: str | None, name: str, poster: str) -> str:
    """A picture that becomes an avatar's own page once it is clicked; until then that page, as large as a hundred
    pictures, is not loaded. A frame's ``loading="lazy"`` does not do that for files.
    """
    if path is None:
        return ""
    picture = f'<img src="{_link(poster)}" alt="{escape(name)}">'
    inner = f'<style>{LIVE_STYLE}</style><a href="{_link(path)}">{picture}<b>turn it</b></a>'
    return f'<iframe class="live" srcdoc="{escape(inner)}" title="{escape(name)}, live"></iframe>'


def _turntable(path: str, name: str) -> str:
    if PurePosixPath(path).suffix in VIDEO_SUFFIXES:
        return f'<video src="{_link(path)}" autoplay loop muted playsinline></video>'
    return f'<img src="{_link(path)}" alt="turntable of {escape(name)}" loading="lazy">'


def _distances(data: ReportData) -> str:
    if not data.distances:
        return _nothing("No distance has been measured.")
    heads = ("Generated images", "FID", "KID × 1000", "Generated", "Renders", "Features")
    table = _table(heads, "".join(_distance_row(row) for row in data.distances))
    return (
        f'{table}<p class="note">Features: {escape(data.encoder)}. Encoder <code>{escape(data.encoder_sha256)}</code>. '
        "Figures compare only where the encoder and the numbers of images are the same. KID is unbiased: it may be "
        "below zero.</p>"
    )


def _distance_row(row: DistanceRow) -> str:
    fid = (
        _number(row.fid, 2)
        if row.fid is not None
        else f'<span class="soft">withheld: {escape(row.fid_withheld)}</span>'
    )
    if row.kid is None:
        kid = f'<span class="soft">withheld: {escape(row.kid_withheld)}</span>'
    else:
        spread = "" if row.kid_deviation is None else f" ± {1000 * row.kid_deviation:.2f}"
        kid = f"{1000 * row.kid:.2f}{spread}"
    counts = "".join(f'<td class="n">{n}</td>' for n in (row.num_generated, row.num_real, row.num_features))
    return f'<tr><td>{escape(row.name)}</td><td class="n">{fid}</td><td class="n">{kid}</td>{counts}</tr>'


def _versions(data: ReportData) -> str:
    rows = "".join(f"<tr><td>{escape(n)}</td><td>{escape(v)}</td></tr>" for n, v in sorted(data.versions.items()))
    return _table(("Package", "Version"), rows)


def _figure(picture: Picture, kind: str = "") -> str:
    caption = f"<figcaption>{escape(picture.label)}</figcaption>" if picture.label else ""
    described = escape(picture.caption or picture.label)
    return (
        f'<figure class="{kind}"><img src="{_link(picture.path)}" alt="{described}" title="{described}" loading="lazy">'
        f"{caption}</figure>"
    )


def _link(path: str) -> str:
    return escape(quote(path))


def _table(heads: Sequence[str], body: str, kind: str = "") -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _nothing(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def _count(value: int) -> str:
    for size, letter in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return str(value)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return fmean(known) if known else None
