"""Whether a published work item is what this configuration would make of what there is now, or why not.

Asked by the stages, which skip what is current, and by the survey, which tells it.
"""

from typing import TypeAlias

from pipeline.contracts.conventions import PEOPLE_VERSION
from pipeline.contracts.naming import format_avatar
from pipeline.contracts.planes import DecoderReport, FitShardReport, OwnFitReport
from pipeline.contracts.rendering import RenderedShard
from pipeline.contracts.stage import StageReport
from pipeline.run.run import Run

Entry: TypeAlias = RenderedShard | DecoderReport | FitShardReport | OwnFitReport | StageReport
"""What a stage's ledger holds of a work item."""

OTHER_CONFIGURATION = "made with another configuration"
OTHER_DECODER = "made with another decoder"
OTHER_RENDERS = "its renders changed"


def why_stale(run: Run, entry: Entry, fingerprint: str) -> str:
    """Why a published entry is not what would be made now; empty when it is.

    What it read and is not there at the moment, such as a shard that was deleted to be rendered anew, makes it not
    stale: made again, it has the same bytes.
    """
    if entry.fingerprint != fingerprint:
        return _other_people(entry) or OTHER_CONFIGURATION
    if isinstance(entry, RenderedShard):
        return ""
    if isinstance(entry, StageReport):
        return _other_inputs(run, entry)
    if isinstance(entry, DecoderReport):
        rendered = [a for a in entry.avatars if run.render_report(run.config.render.shard_of(a)) is not None]
        changed = any(entry.sources[format_avatar(a)] != run.render_source(a) for a in rendered)
        return OTHER_RENDERS if changed else ""
    if isinstance(entry, OwnFitReport):
        fitted = entry.fit or entry.failure
        there = run.render_source(fitted.avatar) if fitted is not None else None
        return OTHER_RENDERS if there not in (None, entry.source_sha256) else ""
    decoder = run.decoder_report()
    if decoder is not None and entry.decoder_sha256 != decoder.decoder_sha256:
        return OTHER_DECODER
    renders = run.render_report(entry.shard)
    if renders is None:
        return ""
    sources = renders.avatar_sha256
    changed = any(sources.get(format_avatar(fit.avatar)) != fit.source_sha256 for fit in entry.fits)
    return OTHER_RENDERS if changed else ""


def is_done(run: Run, entry: Entry, fingerprint: str, *, retry_failed: bool = False) -> bool:
    """Whether there is nothing to do: the entry is current, has all that its work item should have, and nothing that
    failed is to be tried again.
    """
    if why_stale(run, entry, fingerprint):
        return False
    if isinstance(entry, OwnFitReport):
        return not (retry_failed and entry.failure is not None)
    if isinstance(entry, DecoderReport | StageReport):
        return True
    if retry_failed and entry.failures:
        return False
    failed = {failure.avatar for failure in entry.failures}
    if isinstance(entry, RenderedShard):
        return set(run.config.render.avatars_of(entry.shard)) <= {*entry.done, *failed}
    renders = run.render_report(entry.shard)
    return renders is not None and set(renders.done) <= {fit.avatar for fit in entry.fits} | failed


def _other_people(entry: Entry) -> str:
    if not isinstance(entry, RenderedShard) or entry.captures or entry.people_version == PEOPLE_VERSION:
        return ""
    return (
        f"its people are of version {entry.people_version}, and this program makes version {PEOPLE_VERSION}: "
        "render in a new folder, or go on with the version of rodin-pipe that made it"
    )


def _other_inputs(run: Run, entry: StageReport) -> str:
    now = run.inputs_of(entry.stage, entry.avatars)
    shards = {run.config.render.shard_of(avatar) for avatar in entry.avatars}
    there = {name for name, sha256 in now.items() if sha256} - {
        name
        for name, published in (("renders", run.render_reports), ("planes", run.fit_reports))
        if name in now and not shards <= set(published())
    }
    changed = sorted(name for name in there if entry.inputs.get(name) != now[name])
    return f"{' and '.join(changed)} changed" if changed else ""
