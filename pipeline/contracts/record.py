"""The base of every record: frozen, strict, no unknown keys, no NaN."""

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """A frozen pydantic model that round-trips through JSON exactly.

    Strict in Python (``"500"`` is no integer, ``True`` is no number); from JSON, arrays become tuples.
    NaN and infinity are refused, because JSON has neither: a metric that may be undefined is
    ``float | None``.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> str:
        """Return the record as indented JSON with a final newline, keys in field order."""
        return self.model_dump_json(indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse :meth:`to_json`'s text; raises ``pydantic.ValidationError``."""
        return cls.model_validate_json(text)


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
