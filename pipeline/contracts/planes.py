"""What the plane store holds, and what fitting reports of an avatar."""

from pydantic import Field

from pipeline.contracts.record import Record
from pipeline.contracts.rendering import AvatarFailure


class PlaneSpec(Record):
    """Shape and meaning of ``planes.zarr``."""

    resolution: int = Field(gt=0)
    """Texels along each side of a full plane."""
    base_resolution: int = Field(gt=0)
    """Texels along each side of the antialiased planes that the base diffusion learns."""
    channels: int = Field(gt=0)
    """Feature channels a plane."""
    extent_m: float = Field(gt=0)
    """Half the side of the cube in metres."""


class FitReport(Record):
    """How well one avatar's planes reproduce views that no fit has read. PSNR over white, images in [0, 1]."""

    avatar: int
    source_sha256: str
    """``RenderReport.avatar_sha256`` of the renders it was fitted to."""
    psnr_db: float | None
    """Whole image, mean over held-out views of each view's PSNR."""
    psnr_foreground_db: float | None
    """Over pixels whose true alpha is above 0."""
    ssim: float | None
    coverage: float | None
    """Mean share of the image that the avatar covers."""
    steps: int
    seconds: float
    planes_sha256: str
    """Hash of the float16 full planes as stored."""


class FitShardReport(Record):
    """Ledger entry of a shard's fits, and what its task returns."""

    schema_version: int
    fingerprint: str
    shard: int
    decoder_sha256: str
    fits: tuple[FitReport, ...]
    failures: tuple[AvatarFailure, ...]
    started_at: float
    finished_at: float
    versions: dict[str, str]
    processor: str


class ViewQuality(Record):
    """How well one held-out view is reproduced; as :class:`FitReport`."""

    view: int
    psnr_db: float
    psnr_foreground_db: float
    ssim: float
    coverage: float


class OwnFitReport(Record):
    """Ledger entry of one avatar's fit with a decoder of its own: ``RUN/own/a000012`` or why there is none."""

    schema_version: int
    fingerprint: str
    source_sha256: str
    """``RenderReport.avatar_sha256`` of what it was fitted to."""
    fit: FitReport | None
    failure: AvatarFailure | None
    views: tuple[ViewQuality, ...]
    """The held-out views that were measured."""
    outputs: dict[str, str]
    """sha256 of what was published, by path relative to the run."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """Bytes of each of them; entries of older versions have none."""
    started_at: float
    """Unix time."""
    finished_at: float
    versions: dict[str, str]
    processor: str


class DecoderReport(Record):
    """Ledger entry of the shared decoder."""

    schema_version: int
    fingerprint: str
    avatars: tuple[int, ...]
    """Indices of the avatars it was fitted on."""
    sources: dict[str, str]
    """``RenderReport.avatar_sha256`` of each of them."""
    decoder_sha256: str
    psnr_db: float | None
    """Mean held-out PSNR of its avatars at the end of the joint fit."""
    steps: int
    started_at: float
    finished_at: float
    seconds: float
    versions: dict[str, str]
    processor: str
