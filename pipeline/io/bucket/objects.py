"""Objects: whole or in part, on condition or not, listed and removed, by one client a process and bucket.

Credentials, region and endpoint come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``,
``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME`` and their like) or from the machine's role, as
obstore documents them; none is kept or written anywhere here. What the service refuses becomes a :class:`BucketError`
of one line, which says the service's own code and nothing else of its answer.
"""

import errno
import functools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.contracts.bucket_path import BucketPath
from pipeline.contracts.errors import ResourceError

_TIRED: Final = re.compile("ExpiredToken|TokenRefreshRequired|RequestExpired|InvalidToken")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3} [\w ]+)")
_REFUSED: Final = ("AccessDenied", "403", "401", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_DELETED_AT_ONCE: Final = 1000


class BucketError(ResourceError, OSError):
    """A bucket does not do what was asked: one line that says what, where and what helps."""

    def __str__(self) -> str:
        return str(self.args[1])


class Found(NamedTuple):
    """What is known of an object without reading it."""

    path: BucketPath
    size: int
    etag: str
    version: str | None
    changed_at: float
    """Unix time, by the service's clock."""


class Taken(Exception):
    """A write on condition came too late: the object is not what the condition says."""


@functools.lru_cache(maxsize=8)
def client(scheme: str, bucket: str, *, prefix: str = "", patient: bool = True) -> Any:
    """The client of a bucket, or of what lies below a prefix; one that is not ``patient`` gives up after seconds.

    Raises ``ResourceError`` where the package is not installed.
    """
    try:
        from obstore.store import from_url
    except ModuleNotFoundError:
        raise ResourceError(
            f"{scheme}://{bucket}: runs in a bucket take the package obstore, which is not installed here: "
            "pip install -e '.[bucket]'"
        ) from None
    retries = {"max_retries": 10 if patient else 2, "retry_timeout": timedelta(seconds=180 if patient else 20)}
    addresses = [os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")]
    plain = scheme == "s3" and any(address.startswith("http://") for address in addresses)
    options: dict[str, Any] = {"client_options": {"allow_http": True}} if plain else {}
    try:
        return from_url(f"{scheme}://{bucket}/{prefix}", retry_config=retries, **options)
    except Exception as error:  # of whatever is wrong with the environment's settings
        raise _told(error, f"{scheme}://{bucket}", "begin") from None


def read(path: BucketPath) -> tuple[bytes, Found]:
    """An object and what is known of it; raises ``FileNotFoundError``."""
    import obstore

    with asking(path, "read"):
        answer = obstore.get(_client(path), path.key)
        return bytes(answer.bytes()), _found(path, answer.meta)


def read_unless(path: BucketPath, etag: str) -> tuple[bytes, Found] | None:
    """As :func:`read`; ``None`` where it is still the object of that ETag. Raises ``FileNotFoundError``."""
    import obstore
    from obstore.exceptions import NotModifiedError

    with asking(path, "read"):
        try:
            answer = obstore.get(_client(path), path.key, options={"if_none_match": etag})
        except NotModifiedError:
            return None
        return bytes(answer.bytes()), _found(path, answer.meta)


def pieces(path: BucketPath) -> Iterator[bytes]:
    """The content of an object from its beginning to its end; raises ``FileNotFoundError``."""
    import obstore

    with asking(path, "read"):
        for piece in obstore.get(_client(path), path.key):
            yield bytes(piece)


def read_range(path: BucketPath, offset: int, size: int) -> bytes:
    """``size`` bytes of an object, or fewer where it ends before; raises ``FileNotFoundError``."""
    import obstore

    with asking(path, "read"):
        return bytes(obstore.get_range(_client(path), path.key, start=offset, length=size))


def head(path: BucketPath) -> Found | None:
    """What is known of an object; ``None`` where it is missing."""
    import obstore

    with asking(path, "read"):
        try:
            return _found(path, obstore.head(_client(path), path.key))
        except FileNotFoundError:
            return None


def write(path: BucketPath, content: bytes | memoryview | Path) -> None:
    """Put an object, whatever is there; large ones in parts, and visible only as a whole."""
    import obstore

    with asking(path, "write"):
        obstore.put(_client(path), path.key, content)


def create(path: BucketPath, content: bytes, *, patient: bool = True) -> str:
    """Put an object where there is none; returns its ETag. Raises :class:`Taken` where there is one."""
    return _on_condition(path, content, "create", patient=patient)


def replace(path: BucketPath, content: bytes, before: Found, *, patient: bool = True) -> str:
    """Put an object in the place of one that is known; returns its ETag. Raises :class:`Taken` where that has gone."""
    known = {"e_tag": before.etag} | ({"version": before.version} if before.version is not None else {})
    return _on_condition(path, content, known, patient=patient)


def below(folder: BucketPath, *, most: int | None = None, patient: bool = True) -> Iterator[Found]:
    """All objects whose keys begin with a folder's, in order of their keys; of ``most``, the first ones."""
    import obstore

    root = folder.parents[-3] if len(folder.parts) > 2 else folder
    prefix = f"{folder.key}/" if folder.key else None
    count = 0
    with asking(folder, "list"):
        chunk = 1000 if most is None else max(most, 1)
        for page in obstore.list(client(folder.scheme, folder.bucket, patient=patient), prefix, chunk_size=chunk):
            for meta in page:
                yield _found(root / meta["path"], meta)
                count += 1
                if count == most:
                    return


def remove(paths: Sequence[BucketPath]) -> None:
    """Remove objects; those that are not there are gone already."""
    import obstore

    for first in range(0, len(paths), _DELETED_AT_ONCE):
        chosen = paths[first : first + _DELETED_AT_ONCE]
        with asking(chosen[0], "remove"):
            try:
                obstore.delete(_client(chosen[0]), [path.key for path in chosen])
            except FileNotFoundError:
                continue


def _client(path: BucketPath) -> Any:
    return client(path.scheme, path.bucket)


def _on_condition(path: BucketPath, content: bytes, mode: Any, *, patient: bool) -> str:
    """A write whose answer was lost is found to be there already, with the bytes that it should have: that is it."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    store = client(path.scheme, path.bucket, patient=patient)
    with asking(path, "write"):
        try:
            return str(obstore.put(store, path.key, content, mode=mode)["e_tag"])
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            try:
                there, found = read(path)
            except FileNotFoundError:
                there, found = b"", None
            if found is not None and there == content:
                return found.etag
            raise Taken(str(path)) from None


def _found(path: BucketPath, meta: Any) -> Found:
    return Found(path, int(meta["size"]), str(meta["e_tag"]), meta["version"], meta["last_modified"].timestamp())


@contextmanager
def asking(path: BucketPath, what: str) -> Iterator[None]:
    """Around a request: what obstore raises becomes one line; a missing object stays a ``FileNotFoundError``."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise _told(error, str(path), what) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except (BaseError, PermissionError, TimeoutError, ConnectionError) as error:
        raise _told(error, str(path), what) from None


def _told(error: Exception, where: str, what: str) -> BucketError:
    said = str(error).partition("Debug source")[0]
    code, status = _CODE.search(said), _STATUS.search(said)
    reason = code.group(1) if code else status.group(1).strip() if status else ""
    bucket = "/".join(where.split("/")[:3])
    if reason == "NoSuchBucket":
        return BucketError(errno.ENOENT, f"{bucket}: there is no such bucket: make it, or give another --out")
    if _TIRED.search(reason):
        return BucketError(
            errno.EACCES,
            f"{where}: the credentials have expired ({reason}): renew them, and the same command goes on; what is done "
            "stays done",
        )
    if reason.startswith(_REFUSED) or "Unauthenticated" in type(error).__name__ or "Permission" in type(error).__name__:
        return BucketError(
            errno.EACCES,
            f"{where}: {bucket} does not let you {what} ({reason or 'no permission'}): give credentials that may",
        )
    reason = reason or _first_words(said)
    return BucketError(
        errno.EIO, f"{where}: {bucket} cannot be asked to {what} ({reason}): see to it, and the same command goes on"
    )


def _first_words(said: str) -> str:
    """Of an error without a code, such as a network's, what stands after its address."""
    text = " ".join(said.split())
    for mark in (" - ", "error: "):
        if mark in text:
            text = text.rpartition(mark)[2]
    # An address may carry a signature.
    words = [word for word in text.split() if "://" not in word]
    return " ".join(words)[:120] or "no answer"
