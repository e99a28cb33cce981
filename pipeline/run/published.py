"""What lies in a run, held against what its ledgers say was published.

Asked before a command says that there is nothing to do, and before one reads what another has published. Cheap: sizes
of everything; hashes of the decoder and of what was changed since its ledger entry; of shards, which may be large, the
headers in place of hashes. ``rodin-pipe inspect --verify`` hashes everything.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.contracts.errors import DataError
from pipeline.contracts.naming import format_avatar, format_shard
from pipeline.contracts.planes import OwnFitReport
from pipeline.contracts.stage import StageReport
from pipeline.io.files import proven_at, version, versions, why_changed
from pipeline.io.plane_store import PlaneStore
from pipeline.io.publish import sha256_file
from pipeline.io.shard_index import SHARD_REMEDY, index_shard
from pipeline.run.run import DECODER_FILES, Run, decoder_sha256

HASHED_BYTES: Final = 2**30
"""Of planes changed since their ledger entries, at most so many are hashed: a whole run may have been copied."""


@dataclass(frozen=True)
class Damage:
    """A file that is not what was published."""

    stage: str
    path: Path
    reason: str
    """Such as ``is empty``."""
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}: {self.remedy}"


def find_damage(run: Run, stage: str) -> Damage | None:
    """The first file of a stage that is not what its ledger says; ``None`` where all are, or where nothing is done.

    Raises ``DataError`` for a ledger entry that cannot be read.
    """
    found = {"render": _of_renders, "decoder": _of_decoder, "fit": _of_planes, "own": _of_own}.get(stage, _of_outputs)
    return next(found(run, stage), None)


def _of_renders(run: Run, stage: str) -> Iterator[Damage]:
    there, proven = versions(run.rendered.renders), proven_at(run.rendered.ledgers("render"))
    for shard, report in run.render_reports().items():
        tar = run.rendered.shard(shard)
        if not report.done:
            continue
        found = there.get(tar.name) or version(tar)  # of a network folder, a listing can be older than the file
        reason = ""
        if found is None:
            reason = "is missing"
        elif found[1] == 0:
            reason = "is empty"
        elif found[1] != report.tar_bytes or found[0] > proven[format_shard(shard)]:
            reason = _of_tar(tar, set(report.done))
            wanted = set(run.config.render.avatars_of(shard))
            # It may rightly hold more than the ledger says: a driver that extends a run can be killed between the two.
            if not reason and found[1] != report.tar_bytes and wanted <= set(report.done):
                reason = f"has {found[1]} bytes instead of {report.tar_bytes}, it was changed"
        if reason:
            yield Damage(stage, tar, reason, _remedy_for_shard(run, shard))


def _of_tar(tar: Path, done: set[int]) -> str:
    try:
        lacking = done - set(index_shard(tar).avatars)
    except DataError as error:
        return str(error).removesuffix(f": {SHARD_REMEDY}").removeprefix(str(tar)).lstrip(": ")
    return f"lacks {format_avatar(min(lacking))}, which its ledger lists" if lacking else ""


def _remedy_for_shard(run: Run, shard: int) -> str:
    if run.config.renders_from:
        return f"it is of the run {run.config.renders_from}: copy it again, or render it there again"
    if run.config.is_ingested:
        captures = " ".join(run.config.ingest.captures)
        return f"rodin-pipe ingest {captures} --out {run.layout.root} puts it right"
    ledger = run.layout.ledger("render", format_shard(shard))
    return (
        f"copy it again from where it is whole, or delete it and {ledger}, and rodin-pipe render renders this shard "
        "again; --redo render does all"
    )


def _of_decoder(run: Run, stage: str) -> Iterator[Damage]:
    report = run.decoder_report()
    if report is None:
        return
    remedy = "copy it again from where it is whole, or fit it again with --redo decoder"
    for name in DECODER_FILES:
        found = version(run.layout.decoder / name)
        if found is None or found[1] == 0:
            yield Damage(stage, run.layout.decoder / name, "is missing" if found is None else "is empty", remedy)
    if decoder_sha256(run.layout.decoder) != report.decoder_sha256:
        yield Damage(stage, run.layout.decoder, "is not what was published, it was damaged or changed", remedy)


def _of_planes(run: Run, stage: str) -> Iterator[Damage]:
    reports = run.fit_reports()
    if not reports:
        return
    try:
        store = PlaneStore.open(run.layout.planes, run.config.plane_spec())
    except DataError as error:
        yield Damage(stage, run.layout.planes, "cannot be opened", str(error))
        return
    # Three files an avatar, asked about before each visit: nothing is made of names that are as they should be.
    with ThreadPoolExecutor(len(store.arrays)) as pool:  # it is the file system that is waited for
        listed = pool.map(versions, [run.layout.planes / name for name in store.arrays])
        arrays = [
            (name, there, store.chunk_bytes(name), store.chunk_name(name))
            for name, there in zip(store.arrays, listed, strict=True)
        ]
    hashed, proven = 0, proven_at(run.layout.ledgers("fit"))
    for shard, report in reports.items():
        since = proven[format_shard(shard)]
        ledger = run.layout.ledger("fit", format_shard(shard))
        remedy = (
            f"copy it again from where it is whole, or delete {ledger}, and rodin-pipe fit fits this shard again; "
            "--redo fit does all"
        )
        for fit in report.fits:
            for name, there, size, named in arrays:
                found = there.get(named(fit.avatar))
                if found is not None and found[1] == size and found[0] <= since and size:
                    continue
                chunk = store.chunk(name, fit.avatar)
                found = found or version(chunk)
                if found is None:
                    yield Damage(stage, chunk, "is missing", remedy)
                elif found[1] == 0:
                    yield Damage(stage, chunk, "is empty", remedy)
                elif size is not None and found[1] != size:
                    yield Damage(stage, chunk, f"has {found[1]} bytes instead of {size}, it was cut off", remedy)
                elif name == "planes" and size and found[0] > since and hashed < HASHED_BYTES:
                    hashed += size
                    if sha256_file(chunk) != fit.planes_sha256:
                        yield Damage(stage, chunk, "is not what was published, it was damaged or changed", remedy)


def _of_own(run: Run, stage: str) -> Iterator[Damage]:
    for avatar, report in run.own_reports().items():
        ledger = run.layout.ledger("own", format_avatar(avatar))
        remedy = (
            f"delete {ledger}, and rodin-pipe fit --own-decoder fits this avatar again; --redo own fits all of them"
        )
        yield from _of_files(run, stage, format_avatar(avatar), report, remedy)


def _of_outputs(run: Run, stage: str) -> Iterator[Damage]:
    report = run.stage_report(stage)
    if report is None:
        return
    remedy = f"copy it again from where it is whole, or do stage {stage} again with --redo {stage}"
    yield from _of_files(run, stage, stage, report, remedy)


def _of_files(run: Run, stage: str, entry: str, report: StageReport | OwnFitReport, remedy: str) -> Iterator[Damage]:
    since = proven_at(run.layout.ledgers(stage))[entry]
    for name, sha256 in report.outputs.items():
        path = run.layout.root / name
        reason = why_changed(path, sha256, since=since, size=report.sizes.get(name))
        if reason:
            yield Damage(stage, path, reason, remedy)
