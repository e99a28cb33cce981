"""Names of objects in a bucket, in the form of paths: ``s3://bucket/prefix/renders/shard-00000.tar``.

A bucket is no file system, so that such a path refuses to be handed to one: whoever opens it without asking
:mod:`pipeline.io` is told so at once, instead of finding an empty folder called ``s3:``. Joining, parents, names and
suffixes are those of any path. What the work on a run in a bucket leaves on this machine lies in one folder of the
user's, below the same names (:meth:`BucketPath.on_this_machine`).
"""

import os
from pathlib import Path, PosixPath
from typing import Final, NoReturn, Self

from pipeline.contracts.errors import ConfigError

SCHEMES: Final = ("s3", "gs", "az")
"""Amazon S3 and what speaks its language, Google Cloud Storage, Azure Blob Storage."""

CACHE_DIR: Final = "RODIN_CACHE_DIR"
"""Environment variable: the folder of this machine that objects are kept in, as ``--cache-dir`` sets it."""

CACHE_GIB: Final = "RODIN_CACHE_GIB"
"""Environment variable: GiB that copies of objects may take, as ``--cache-gib`` sets it; 50 by default."""


class BucketPath(PosixPath):
    """The name of an object, or of a folder of objects."""

    def __str__(self) -> str:
        scheme, *rest = self.parts or ("",)
        return f"{scheme}//{'/'.join(rest)}"

    def __fspath__(self) -> NoReturn:
        """Refuse: no call of the file system may take it."""
        raise TypeError(f"{self} lies in a bucket, where the file system does not reach")

    @property
    def scheme(self) -> str:
        """``s3``, ``gs`` or ``az``."""
        return self.parts[0].removesuffix(":")

    @property
    def bucket(self) -> str:
        """The bucket's name; a container's on Azure."""
        return self.parts[1]

    @property
    def key(self) -> str:
        """The object's key, without a slash at its ends; empty for the whole bucket."""
        return "/".join(self.parts[2:])

    def on_this_machine(self) -> Path:
        """Where what is not published yet lies here: a folder of the user's with the same names below it."""
        return cache_folder() / "work" / self.scheme / self.bucket / self.key

    def relative_to(self, *other: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        """What follows ``other``, as a plain relative path; raises ``ValueError``."""
        return Path(*super().relative_to(*other).parts)

    def resolve(self, strict: bool = False) -> Self:
        """Itself: there are no links in a bucket."""
        del strict
        return self

    def absolute(self) -> Self:
        """Itself."""
        return self

    def is_absolute(self) -> bool:
        """Always: a name begins with its bucket."""
        return True


def place(given: str | Path) -> Path:
    """What a user gave as the place of a run: a path, or the name of a prefix in a bucket.

    Raises ``ConfigError`` for a scheme without a bucket.
    """
    parts = Path(given).parts
    if parts and parts[0] in {f"{scheme}:" for scheme in SCHEMES} and not isinstance(given, BucketPath):
        if len(parts) < 2:
            raise ConfigError(f"{parts[0]}//: say which bucket, such as {parts[0]}//bucket/runs/demo")
        return BucketPath(*parts)
    return Path(given) if isinstance(given, str) else given


def cache_folder() -> Path:
    """The folder of this machine for runs in buckets: :data:`CACHE_DIR`, else below the user's cache."""
    chosen = os.environ.get(CACHE_DIR)
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "rodin-pipe"
