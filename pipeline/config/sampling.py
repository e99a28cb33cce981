"""What sampling has to know besides weights, and ``models.json``, which says it beside weights that left their run."""

from typing import Final

from pydantic import Field, JsonValue

from pipeline.config.stages import GenerateConfig
from pipeline.contracts.planes import PlaneSpec
from pipeline.contracts.record import Record

MODELS_JSON: Final = "models.json"
"""Its name in a model folder; that it is there makes a folder one."""


class Sampling(Record):
    """Of a configuration, all that generation goes by."""

    seed: int = Field(0, ge=0, lt=2**31)
    """The run's: the noise of a request comes from it and from the request's own."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda)$")
    """Torch device; auto takes CUDA where there is one."""
    threads: int = Field(2, ge=0)
    """Torch threads, on which the last bits depend; 0 takes as many as there are cores."""
    planes: PlaneSpec
    distance: float = Field(gt=0)
    """Distance of the cameras from the origin in world units."""
    fov_deg: float = Field(gt=1, lt=120)
    """Horizontal field of view."""
    generate: GenerateConfig


class FileFacts(Record):
    """A file of a model folder as it was written."""

    size: int = Field(ge=0)
    sha256: str


class ModelsRecord(Record):
    """``models.json``: what a folder with a decoder and models holds. Files lie in it as they lie in a run."""

    schema_version: int
    sampling: Sampling
    files: dict[str, FileFacts]
    """By path relative to the folder, with forward slashes."""
    settings: dict[str, JsonValue]
    """Of the run that they come from: the settings that shape them, by dotted name."""
    notes: dict[str, str] = Field(default_factory=dict)
