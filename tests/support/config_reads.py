"""Which settings a piece of work reads: every access to a field of one configuration is noted while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.config.run import RunConfig
from pipeline.contracts.record import Record


@contextmanager
def noted_reads(config: RunConfig) -> Iterator[set[str]]:
    """Note the dotted names of all settings of ``config`` that are read in this process within the block.

    Its sections are known by identity, so copies that share them count too.
    """
    places = dict(_places(config))
    reads: set[str] = set()
    plain = object.__getattribute__

    def noting(record: Record, name: str) -> Any:
        value = plain(record, name)
        if name in type(record).model_fields and not issubclass(type(value), Record):
            prefix = "" if type(record) is RunConfig else places.get(id(record))
            if prefix is not None:
                reads.add(prefix + name)
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "__getattribute__", noting, raising=False)
        yield reads


def _places(record: Record, prefix: str = "") -> Iterator[tuple[int, str]]:
    for name in type(record).model_fields:
        value = record.__dict__[name]
        if isinstance(value, Record):
            yield id(value), f"{prefix}{name}."
            yield from _places(value, f"{prefix}{name}.")
