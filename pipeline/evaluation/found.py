"""What a section found, before it is dated and published."""

from dataclasses import dataclass

from pipeline.contracts.report.page import Picture
from pipeline.contracts.report.results import Bar, Table


@dataclass(frozen=True)
class Found:
    """The contents of one section of the results."""

    title: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    """How it was measured, in sentences."""
    bars: tuple[Bar, ...] = ()
    pictures: tuple[Picture, ...] = ()
    """Published below ``report/``."""
