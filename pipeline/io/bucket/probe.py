"""What is found out about a bucket before any work: it is there, it can be read and written, it keeps conditions."""

import secrets
from typing import Final

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.io.bucket.objects import Found, Taken, below, client, create, head, read, remove, replace

PROBE: Final = ".probe-"
"""Begins the name of an object that is written and removed again."""


def require_readable(root: BucketPath) -> None:
    """Raise ``RodinError`` with one line unless the bucket of ``root`` is there and can be listed."""
    client(root.scheme, root.bucket)  # says what to install where it is missing
    next(below(root, most=1, patient=False), None)


def require_run_or_nothing(root: BucketPath, config: BucketPath) -> None:
    """Raise ``DataError`` where ``root`` holds something and is no run; what begins with a dot does not count."""
    if head(config) is not None:
        return
    for found in below(root):
        first = found.path.relative_to(root).parts[0]
        if not first.startswith("."):
            raise DataError(
                f"{root} holds {first} and no {config.name}, so it is no run: give another --out, such as {root}/run"
            )


def require_writable(root: BucketPath) -> None:
    """Raise ``RodinError`` unless objects below ``root`` can be written, on condition and not, and removed."""
    path = root / f"{PROBE}{secrets.token_hex(4)}"
    create(path, b"1", patient=False)
    try:
        _, found = read(path)
        for condition in ("If-None-Match", "If-Match"):
            try:
                if condition == "If-Match":
                    replace(path, b"3", _another(found), patient=False)
                else:
                    create(path, b"2", patient=False)
            except Taken:
                continue
            raise ResourceError(
                f"{root}: the service behind this bucket ignores {condition}, so that two drivers could write one run: "
                "use one with conditional writes"
            )
    finally:
        remove([path])


def _another(found: Found) -> Found:
    return found._replace(etag='"00000000000000000000000000000000"', version=None if found.version is None else "1")
