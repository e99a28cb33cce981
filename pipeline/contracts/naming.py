"""Names of avatars, views, samples and shards, and the layout of a run folder.

Every ``format`` here has a ``parse`` that is its exact inverse and refuses anything else. Keys hold no dot
but the one before the extension, as WebDataset splits a file's name at its first dot.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.errors import DataError

_AVATAR = re.compile(r"a(\d{6})", re.ASCII)
_SAMPLE = re.compile(r"a(\d{6})_v(\d{3})", re.ASCII)
_SHARD = re.compile(r"shard-(\d{5})", re.ASCII)


def next_command(*words: object) -> str:
    """What to try next, as every command ends: ``next: rodin-pipe`` and its words, quoted for a shell."""
    return f"next: {shlex.join(('rodin-pipe', *map(str, words)))}"


def format_avatar(index: int) -> str:
    """Avatar 12 is ``a000012``."""
    return f"a{_bounded(index, 10**6):06d}"


def parse_avatar(name: str) -> int:
    """The inverse of :func:`format_avatar`; raises ``DataError``."""
    return int(_match(_AVATAR, name, "an avatar id such as a000012").group(1))


def format_sample(avatar: int, view: int) -> str:
    """View 3 of avatar 12 is ``a000012_v003``."""
    return f"{format_avatar(avatar)}_v{_bounded(view, 1000):03d}"


def parse_sample(key: str) -> tuple[int, int]:
    """The inverse of :func:`format_sample`: (avatar, view); raises ``DataError``."""
    match = _match(_SAMPLE, key, "a sample key such as a000012_v003")
    return int(match.group(1)), int(match.group(2))


def format_shard(index: int) -> str:
    """Shard 4 is ``shard-00004``."""
    return f"shard-{_bounded(index, 10**5):05d}"


def parse_shard(name: str) -> int:
    """The inverse of :func:`format_shard`; raises ``DataError``."""
    return int(_match(_SHARD, name, "a shard name such as shard-00004").group(1))


def shard_avatars(shard: int, shard_size: int, num_avatars: int) -> tuple[int, ...]:
    """Indices of the avatars of one shard: consecutive, the last shard may be short."""
    return tuple(range(shard * shard_size, min((shard + 1) * shard_size, num_avatars)))


def num_shards(num_avatars: int, shard_size: int) -> int:
    """How many shards hold ``num_avatars`` avatars."""
    return -(-num_avatars // shard_size)


@dataclass(frozen=True)
class RunLayout:
    """Where everything of a run lies. Pure names: nothing is created or opened here."""

    root: Path

    @property
    def config(self) -> Path:
        """The whole configuration of the run, as it last ran."""
        return self.root / "run.toml"

    @property
    def lock(self) -> Path:
        """Held by the one driver of the run."""
        return self.root / ".lock"

    @property
    def renders(self) -> Path:
        """WebDataset shards."""
        return self.root / "renders"

    def shard(self, shard: int) -> Path:
        """The tar of one shard."""
        return self.renders / f"{format_shard(shard)}.tar"

    @property
    def work(self) -> Path:
        """Unpublished work. Nothing reads it but the stage that wrote it."""
        return self.root / ".work"

    @property
    def scratch(self) -> Path:
        """Unpublished work that no other machine reads: what is too large for a bucket before it is finished.

        Of a run in a folder, the same as :attr:`work`.
        """
        return self.work.on_this_machine() if isinstance(self.work, BucketPath) else self.work

    def parts(self, stage: str, shard: int) -> Path:
        """What is finished of a shard that is not published yet; gone once it is.

        Of renders, whole avatars, on the machine that made them; of other stages, small records.
        """
        return self.all_parts(stage) / format_shard(shard)

    def all_parts(self, stage: str) -> Path:
        """The folder of a stage's :meth:`parts`."""
        return (self.scratch if stage == "render" else self.work) / "parts" / stage

    def attempts(self, stage: str, name: str) -> Path:
        """Folder of the attempts at one work item, each under a name of its own."""
        return self.scratch / "attempts" / stage / name

    @property
    def decoder(self) -> Path:
        """The shared decoder and its mean planes."""
        return self.root / "decoder"

    @property
    def planes(self) -> Path:
        """Zarr group of the fitted planes."""
        return self.root / "planes.zarr"

    @property
    def own(self) -> Path:
        """Fits with a decoder of their own, a folder an avatar."""
        return self.root / "own"

    @property
    def latents(self) -> Path:
        """Image and caption latents of every avatar."""
        return self.root / "latents"

    def model(self, name: str) -> Path:
        """Weights, checkpoints and TensorBoard events of one model."""
        return self.root / "models" / name

    @property
    def samples(self) -> Path:
        """Generated avatars."""
        return self.root / "samples"

    @property
    def report(self) -> Path:
        """metrics.json and index.html."""
        return self.root / "report"

    @property
    def evaluation(self) -> Path:
        """Pictures that a large evaluation keeps, to go on with: a folder for each state of the models."""
        return self.root / "evaluation"

    def ledgers(self, stage: str) -> Path:
        """Folder of a stage's entries; ``driver`` has one of each visit."""
        return self.root / "ledger" / stage

    def ledger(self, stage: str, name: str) -> Path:
        """The JSON that proves one work item of a stage done."""
        return self.ledgers(stage) / f"{name}.json"


def _bounded(value: int, bound: int) -> int:
    if not 0 <= value < bound:
        raise DataError(f"index {value} is outside 0..{bound - 1}, the range that names can carry")
    return value


def _match(pattern: re.Pattern[str], text: str, expected: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise DataError(f"{text!r} is not {expected}")
    return match
