"""What a large evaluation found, as ``report/results.json`` keeps it: every figure with its number and its interval."""

from typing import Literal

from pydantic import Field

from pipeline.contracts.record import Record
from pipeline.contracts.report.page import Picture

SECTIONS = ("noise", "faces", "portrait", "copies", "text", "steps")
"""What can be measured, in the order in which it is measured and shown."""
SectionName = Literal["noise", "faces", "portrait", "copies", "text", "steps"]


class Figure(Record):
    """One figure with the interval of 95 % by bootstrap over avatars."""

    name: str
    """What it is: the column of its table."""
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = Field(ge=0)
    """Avatars that it rests on."""
    digits: int = 2
    """Decimals that are shown."""
    withheld: str = ""
    """Why there is no value."""


class Row(Record):
    """The figures of one way."""

    name: str
    figures: tuple[Figure, ...]


class Table(Record):
    """Ways beside each other."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""


class Bar(Record):
    """A figure that should be reached. The point estimate decides."""

    text: str
    figure: Figure
    bound: float
    at_least: bool
    """Whether the figure should be at least the bound; otherwise, at most."""

    @property
    def reached(self) -> bool | None:
        """None where there is no figure."""
        if self.figure.value is None:
            return None
        return self.figure.value >= self.bound if self.at_least else self.figure.value <= self.bound


class Section(Record):
    """One part of an evaluation."""

    name: SectionName
    title: str
    notes: tuple[str, ...] = ()
    """How it was measured, in sentences."""
    tables: tuple[Table, ...]
    bars: tuple[Bar, ...] = ()
    pictures: tuple[Picture, ...] = ()
    models_sha256: str
    """Of the decoder and models that were measured."""
    samples: int
    """Avatars from noise that were asked for."""
    finished_at: float
    """Unix time."""
    seconds: float


class Results(Record):
    """Everything that was measured of one run's people."""

    schema_version: int
    preset: str
    num_training: int
    """Fitted avatars that the models could learn from."""
    num_held_out: int
    """Fitted avatars that nothing has learned from."""
    processor: str
    versions: dict[str, str]
    sections: tuple[Section, ...]
