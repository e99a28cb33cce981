"""The base of every record: frozen, strict, no unknown keys, no NaN."""

import json
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """A frozen pydantic model that round-trips through JSON exactly.

    Strict in Python (``"500"`` is no integer, ``True`` is no number); from JSON, arrays become tuples.
    NaN and infinity are refused, because JSON has neither: a metric that may be undefined is
    ``float | None``.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    left_unread: ClassVar[tuple[str, ...]] = ()
    """Keys of the JSON that a record which says less than was written leaves alone."""

    def to_json(self) -> str:
        """Return the record as indented JSON with a final newline, keys in field order."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse :meth:`to_json`'s text; raises ``pydantic.ValidationError``."""
        return cls.model_validate_json(_without(text, cls.left_unread) if cls.left_unread else text)


def _without(text: str | bytes, keys: tuple[str, ...]) -> bytes:
    """A record's JSON without some of its keys. Lists of :meth:`Record.to_json`'s text are cut out unparsed."""
    data = text.encode() if isinstance(text, str) else text
    for key in keys:
        if f'"{key}"'.encode() not in data:
            continue
        # At the depth of one space there are the record's own keys alone, and no string holds a bare line end.
        begin = data.find(f'\n "{key}": [\n'.encode())
        end = data.find(b"\n ]", begin) + 3
        if begin >= 0 and end > 3 and data[end : end + 1] in (b",", b"\n"):
            head, tail = data[:begin], data[end:]
            data = head + tail[1:] if tail[:1] == b"," else head.removesuffix(b",") + tail
            continue
        try:
            found = json.loads(data)
        except ValueError:
            return data  # the parser says where
        if isinstance(found, dict) and found.pop(key, None) is not None:
            data = json.dumps(found).encode()
    return data


def validation_summary(error: ValidationError, limit: int = 3) -> str:
    """The first ``limit`` problems of a ``ValidationError`` in one line: where, what, and the value met."""
    problems = error.errors(include_url=False, include_context=False)
    parts = []
    for problem in problems[:limit]:
        where = ".".join(str(step) for step in problem["loc"]) or "the whole"
        value = repr(problem["input"])
        shown = value if len(value) <= 60 else value[:57] + "..."
        parts.append(f"{where}: {problem['msg']}, found {shown}")
    if len(problems) > limit:
        parts.append(f"and {len(problems) - limit} more")
    return " ".join("; ".join(parts).split())
