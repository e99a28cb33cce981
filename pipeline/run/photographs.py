"""Where an avatar's photographs lie, by what the ledger of its shard says."""

from pipeline.contracts.naming import format_avatar
from pipeline.io.shard_index import ShardIndex, avatar_index
from pipeline.run.run import Run


def photographs_of(run: Run, avatar: int) -> ShardIndex:
    """An index that holds an avatar, for :mod:`pipeline.io.shards`; raises ``DataError`` for a damaged tar."""

    def part() -> tuple[tuple[int, int], str] | None:
        report = run.render_report(run.config.render.shard_of(avatar))
        span = report.spans.get(format_avatar(avatar)) if report is not None else None
        return None if report is None or span is None else (span, report.tar_sha256)

    return avatar_index(run.tar_of(avatar), part)
