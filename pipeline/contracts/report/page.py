"""What the report page shows: numbers, captions and the paths of pictures, relative to the page's folder."""

from pathlib import PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from pipeline.contracts.record import Record

PICTURE_SUFFIXES: Final = (".png", ".jpg", ".gif")
VIDEO_SUFFIXES: Final = (".mp4",)


def _relative(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ":" in path or "\\" in path or pure.suffix not in PICTURE_SUFFIXES + VIDEO_SUFFIXES:
        raise ValueError(f"{path!r} is no relative path of a picture or video: such as renders.png, ../samples/a.mp4")
    return path


RelativePath = Annotated[str, AfterValidator(_relative)]
"""A picture or a video, relative to the report's folder, with forward slashes."""


def _page(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ":" in path or "\\" in path or pure.suffix != ".html":
        raise ValueError(f"{path!r} is no relative path of a page: such as live/a000000.html")
    return path


PagePath = Annotated[str, AfterValidator(_page)]
"""A page that draws an avatar live, relative to the report's folder, with forward slashes."""


class Picture(Record):
    """A picture and the words beside it."""

    path: RelativePath
    label: str = ""
    """A few words shown below it."""
    caption: str = ""
    """A sentence, shown on hovering and read to those who cannot see the picture."""


class StageTime(Record):
    """One row of the table of stages. Stages overlap, so that their seconds add up to more than the run's."""

    name: str
    seconds: float = Field(ge=0)
    """Wall seconds from the stage's first task to its last."""
    starts_at_s: float | None = None
    """Seconds after the run's start, where known: then bars stand where they were in time."""
    done: int | None = None
    """Avatars, models or samples that are there."""
    failed: int = 0
    note: str = ""


class FailureRow(Record):
    """An avatar that a stage could not do."""

    stage: str
    avatar_id: str
    reason: str


class FitRow(Record):
    """Held-out quality of one avatar's fit."""

    avatar_id: str
    held_out: bool
    """A held-out avatar, which no model has seen."""
    psnr_db: float | None
    psnr_foreground_db: float | None
    ssim: float | None
    coverage: float | None
    seconds: float


class FitPair(Record):
    """One held-out view: the render, the fit and where they differ."""

    avatar_id: str
    view: int
    truth: Picture
    fit: Picture
    error: Picture
    psnr_db: float | None
    live: PagePath | None = None


class LossCurve(Record):
    """One figure over the steps of a training."""

    name: str
    points: tuple[tuple[int, float], ...]
    """(step, value)."""


class TrainedModel(Record):
    """How long a model was trained, and what its loss did."""

    name: str
    steps: int
    seconds: float
    batch: int | None = None
    parameters: int | None = None
    note: str = ""
    curves: tuple[LossCurve, ...]
    """Of the training, and the held-out loss where it was measured."""
    levels: tuple[LossCurve, ...] = ()
    """The held-out loss at each level of noise, by its time."""
    held_out_before: float | None = None
    """The held-out loss before the first step."""
    held_out_after: float | None = None
    """That of the weights that were published."""


class GeneratedAvatar(Record):
    """One generated avatar."""

    name: str
    source: Literal["noise", "portrait", "text", "edit"]
    prompt: str = ""
    """The text, or the portrait's file name."""
    turntable: RelativePath | None
    refined_turntable: RelativePath | None = None
    strip: Picture | None
    refined_strip: Picture | None = None
    live: PagePath | None = None
    live_poster: RelativePath | None = None
    """Stands in its place until it is clicked."""


class DistanceRow(Record):
    """FID and KID of one set of generated images against renders."""

    name: str
    """Such as ``with refiner``."""
    num_real: int
    num_generated: int
    num_features: int
    fid: float | None
    fid_withheld: str = ""
    """Why there is no FID."""
    kid: float | None
    kid_deviation: float | None
    kid_withheld: str = ""


class ReportData(Record):
    """Everything on the page. Also written beside it as JSON."""

    schema_version: int
    run_name: str
    preset: str
    created_at: float
    """Unix time."""
    processor: str
    device: str
    """What Cycles rendered on."""
    versions: dict[str, str]
    wall_seconds: float | None
    """From the first command's start to the last one's end, idle time between commands not counted."""
    ray_start_s: float | None
    ray_stop_s: float | None
    stages: tuple[StageTime, ...]
    num_avatars: int
    num_held_out: int
    views_per_avatar: int
    resolution: int
    """Side of a render in pixels."""
    failures: tuple[FailureRow, ...]
    renders: tuple[Picture, ...]
    fits: tuple[FitRow, ...]
    fit_pairs: tuple[FitPair, ...]
    models: tuple[TrainedModel, ...]
    started_from: str = ""
    """Whose models these go on from, in a few words; empty where they began from nothing."""
    linear: bool = False
    """The base model stands on a linear prediction, and draws people before it has learned anything."""
    generated: tuple[GeneratedAvatar, ...]
    live_withheld: str = ""
    """Why nothing is shown live, where that is so."""
    distances: tuple[DistanceRow, ...]
    encoder_sha256: str
    encoder: str
    """What the features are taken with, in a few words."""
    config_toml: str
