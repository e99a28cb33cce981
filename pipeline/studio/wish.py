"""What somebody asked the studio for, and what came of it: the records that stay beside an avatar."""

from typing import Final

from pydantic import Field, ValidationError

from pipeline.commands.generate import MOST_CHARACTERS
from pipeline.contracts.errors import ConfigError
from pipeline.contracts.record import Record, validation_summary

LARGEST_SEED: Final = 2**31 - 1


class Wish(Record):
    """An avatar as it is asked for. Without text, portrait and another avatar it is drawn from noise."""

    text: str = Field("", max_length=MOST_CHARACTERS)
    portrait: str = Field("", max_length=255, pattern=r"^[^/\\\x00]*$")
    """Name of a picture file as its owner calls it."""
    edit: str = Field("", max_length=MOST_CHARACTERS)
    """What to change in the portrait, such as "with glasses"."""
    edit_strength: float = Field(1.0, ge=0, le=10)
    """Factor on the difference of text latents that the edit adds."""
    like: str = ""
    """Name on the shelf of an avatar that this one is to be like."""
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    guidance: float = Field(0.0, ge=0, le=20)
    """Weight of the text, or of the caption drawn by lot for noise; 0 leaves it as the models are set."""
    steps: int = Field(0, ge=0, le=10_000)
    """Of base model and upsampler each; 0 leaves them as the models are set."""

    @property
    def title(self) -> str:
        """A few words on whom it shows."""
        if self.like:
            return f"like {self.like}"
        if self.portrait:
            return f"{self.portrait}, {self.edit}" if self.edit else self.portrait
        return self.text or "drawn from noise"

    def rows(self) -> tuple[tuple[str, str], ...]:
        """The settings for people to read: what, and its value, without what was not asked for."""
        rows = (
            ("text", self.text),
            ("portrait", self.portrait),
            ("edit", self.edit),
            ("strength of the edit", f"{self.edit_strength:g}" if self.edit else ""),
            ("like", self.like),
            ("seed", str(self.seed)),
            ("guidance", f"{self.guidance:g}" if self.guidance else "the models' own"),
            ("steps", str(self.steps) if self.steps else "the models' own"),
        )
        return tuple((name, value) for name, value in rows if value)


class Made(Record):
    """``settings.json``: an avatar's settings, published with it."""

    schema_version: int
    wish: Wish
    models: str
    """Whose models made it, in words."""
    made_at: float
    """Unix time."""
    seconds: float
    """From the start of its work to the end."""
    left_out: str = ""
    """Why a download is missing; empty where none is."""


def wish_of(**asked: object) -> Wish:
    """A wish as a page gives it; raises ``ConfigError`` with one line that names what is out of range."""
    try:
        wish = Wish.model_validate(asked)
    except ValidationError as error:
        raise ConfigError(f"this cannot be made: {validation_summary(error)}") from None
    if wish.portrait and wish.text:
        raise ConfigError("a portrait and a text exclude each other: say under edit what to change in the portrait")
    if wish.edit and not wish.portrait:
        raise ConfigError("an edit changes a portrait: give one, or say all of it in the text")
    return wish
