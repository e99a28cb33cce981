"""Renders as photographs might show them: other light, framing, background and camera, drawn for each picture.

A render stands upright over white in even light; a photograph does not. An encoder that learns from pictures changed
in these ways finds real ones less foreign. Order, as in a camera: the person's colours, where they stand, what is
behind them, then blur and compression of the whole. JPEG is quantisation of the 8 x 8 discrete cosine transform by the
tables of ITU-T T.81, annex K, without its subsampling of colours.

Left out: light that comes from elsewhere, shadows, noise of the sensor, and what hides a person.
"""

import math
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far pictures are changed; 0 is not at all. Each amount is uniform, up to the range, unless said otherwise.

    Raises ``ValueError`` for a range outside its bounds.
    """

    zoom: float = 0.25
    """The frame's side is 1 +- zoom of the picture's, and moved by up to zoom / 2 of half a side; in [0, 1)."""
    exposure: float = 0.0
    """Stops: colours are taken times 2 ** +-exposure; 0 to 3, 0.7 is a window more or less."""
    white_balance: float = 0.0
    """Stops between warm and cold, and half of it between green and magenta; 0 to 2, 0.3 is lamp against daylight."""
    gamma: float = 0.0
    """Octaves: colours to the power of 2 ** +-gamma; 0 to 2."""
    contrast: float = 0.0
    """Colours stand from middle grey at 1 +- contrast of their distance; in [0, 1)."""
    shift: float = 0.0
    """The person is moved by this share of half a side, each way; in [0, 1]."""
    scale: float = 0.0
    """The person is larger or smaller by this, as a factor of 1 + scale up or down; 0 to 2."""
    rotation_deg: float = 0.0
    """Degrees that the person leans, either way; 0 to 180."""
    background: float = 0.0
    """Share of pictures before a colour or a gradient between two instead of white; in [0, 1]."""
    blur: float = 0.0
    """Standard deviation of a Gaussian, in hundredths of a side; 0 to 10."""
    jpeg: float = 0.0
    """Compression: the tables' steps times this, and 1 is quality 50; 0 to 10."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, (most, is_open) = getattr(self, field.name), _MOST[field.name]
            if not 0 <= value <= most or (is_open and value == most):
                raise ValueError(f"{field.name} {value} is outside [0, {most:g}{')' if is_open else ']'}")

    @property
    def needs_alpha(self) -> bool:
        """Whether the person is told from the white behind."""
        return any((self.exposure, self.white_balance, self.gamma, self.contrast, self.background))


_MOST = {
    "zoom": (1.0, True),
    "exposure": (3.0, False),
    "white_balance": (2.0, False),
    "gamma": (2.0, False),
    "contrast": (1.0, True),
    "shift": (1.0, False),
    "scale": (2.0, False),
    "rotation_deg": (180.0, False),
    "background": (1.0, False),
    "blur": (10.0, False),
    "jpeg": (10.0, False),
}
"""Upper bound of each range, and whether it is left out."""


MIRROR_AND_ZOOM: Final = Augmentation()
"""What is done to pictures where nothing else is asked for."""


class Augmented(NamedTuple):
    """What :func:`augment` makes."""

    rgb: Tensor
    """(b, 3, h, w), in [0, 1]."""
    is_mirrored: Tensor
    """(b), which images were mirrored."""


def augment(
    rgb: Float[Tensor, "b 3 h w"],
    generator: torch.Generator,
    settings: Augmentation = MIRROR_AND_ZOOM,
    alpha: Float[Tensor, "b 1 h w"] | None = None,
) -> Augmented:
    """Pictures over white, in [0, 1], each mirrored or not and changed within the settings' ranges.

    ``alpha`` tells the person from the white. A turned picture should be square. Raises ``ValueError`` for colours or
    background without ``alpha``.
    """
    if settings.needs_alpha and alpha is None:
        raise ValueError("colours and backgrounds of pictures are changed by their alpha, and there is none")
    theta, is_mirrored = _framing(len(rgb), generator, settings)
    if alpha is not None and settings.needs_alpha:
        lit = _light((rgb - 1 + alpha) / alpha.clamp(min=1e-3), generator, settings)
        rgb = lit.clamp(0, 1) * alpha + 1 - alpha
    grid = F.affine_grid(theta.to(rgb), list(rgb.shape), align_corners=False)
    seen = 1 + _sampled(rgb - 1, grid)
    if alpha is not None and settings.background:
        seen = seen - (1 - _sampled(alpha, grid)) * (1 - _backgrounds(seen, generator, settings.background))
    if settings.blur:
        seen = blur(seen, settings.blur / 100 * seen.shape[-1] * _unit(len(seen), generator).to(seen))
    if settings.jpeg:
        seen = jpeg(seen, settings.jpeg * _unit(len(seen), generator).to(seen))
    return Augmented(seen, is_mirrored.to(rgb.device))


def blur(
    rgb: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"], deviations: float = 3.0
) -> Float[Tensor, "b c h w"]:
    """Each picture under its own Gaussian of ``sigma`` pixels; edges are repeated outwards.

    It ends after so many ``deviations`` of the widest.
    """
    reach = max(1, math.ceil(deviations * float(sigma.max())))
    offsets = torch.arange(-reach, reach + 1).to(rgb)
    kernels = torch.softmax(-(offsets**2) / (2 * sigma.clamp(min=1e-3)[:, None] ** 2), -1)
    channels = rgb.shape[1]
    weights = kernels.repeat_interleave(channels, 0)[:, None]
    flat = rearrange(rgb, "b c h w -> 1 (b c) h w")
    groups = flat.shape[1]
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), weights[:, :, None], groups=groups)
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), weights[..., None], groups=groups)
    return rearrange(flat, "1 (b c) h w -> b c h w", c=channels)


def jpeg(rgb: Float[Tensor, "b 3 h w"], strength: Float[Tensor, " b"]) -> Float[Tensor, "b 3 h w"]:
    """Each picture in [0, 1] as JPEG at ``strength`` times the tables' steps would show it. No gradient passes."""
    height, width = rgb.shape[-2:]
    to_ycc = torch.tensor(_TO_YCC).to(rgb)
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, rgb) * 255
    ycc = F.pad(ycc, (0, -width % 8, 0, -height % 8), mode="replicate")
    blocks = rearrange(ycc, "b c (i u) (j v) -> b c i j u v", u=8, v=8)
    dct = _cosines().to(rgb)
    tables = torch.tensor([_LUMA, _CHROMA, _CHROMA]).to(rgb).view(3, 1, 1, 8, 8)
    steps = (tables * strength.view(-1, 1, 1, 1, 1, 1)).clamp(min=1e-3)
    quantised = torch.round(dct @ blocks @ dct.mT / steps) * steps
    ycc = rearrange(dct.mT @ quantised @ dct, "b c i j u v -> b c (i u) (j v)")[..., :height, :width]
    return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_ycc), ycc / 255).clamp(0, 1)


def _framing(
    count: int, generator: torch.Generator, settings: Augmentation
) -> tuple[Float[Tensor, "b 2 3"], Bool[Tensor, " b"]]:
    """Where in the picture each pixel of the frame looks, as affine maps, and which of them mirror."""
    zoom = settings.zoom
    side = 1 + zoom * _signed(count, generator)
    mirror = torch.where(_unit(count, generator) < 0.5, -1.0, 1.0)
    centre = zoom / 2 * (2 * torch.rand(count, 2, generator=generator) - 1)
    if settings.scale:
        side = side / (1 + settings.scale) ** _signed(count, generator)
    if settings.shift:
        centre = centre + settings.shift * (2 * torch.rand(count, 2, generator=generator) - 1)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = mirror * side, side, centre
    if settings.rotation_deg:
        angle = math.radians(settings.rotation_deg) * _signed(count, generator)
        rows = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), -1).view(-1, 2, 2)
        theta[:, :, :2] = theta[:, :, :2] @ rows
    return theta, mirror < 0


def _light(colours: Tensor, generator: torch.Generator, settings: Augmentation) -> Tensor:
    """Colours in [0, 1] under other light and another camera's curve; all of these are drawn where one is."""
    count = len(colours)
    exposure, warm, green, gamma, contrast = (_signed(count, generator) for _ in range(5))
    warm, green = settings.white_balance * warm / 2, settings.white_balance * green / 4
    gains = torch.stack((warm - green, green, -warm - green), 1) + settings.exposure * exposure[:, None]
    powers, spread = 2 ** (settings.gamma * gamma), 1 + settings.contrast * contrast
    lit = colours.clamp(0, 1) * _each(2**gains, colours)
    # Sensors do not clip at once: highlights above 0.8 are pressed together below 1.
    lit = torch.where(lit > _SHOULDER, 1 - (1 - _SHOULDER) * torch.exp((_SHOULDER - lit) / (1 - _SHOULDER)), lit)
    curved = lit.clamp(min=1e-6) ** _each(powers[:, None], colours)
    return 0.5 + (curved - 0.5) * _each(spread[:, None], colours)


def _backgrounds(seen: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """White, or, for a share of the pictures, one colour, or a gradient between two in any direction."""
    count, _, height, width = seen.shape
    is_white = _unit(count, generator) >= share
    ends = torch.rand(2, count, 3, generator=generator)
    is_plain = _unit(count, generator) < 0.5
    ends[1] = torch.where(is_plain[:, None], ends[0], ends[1])
    ends[:, is_white] = 1.0
    angle = math.pi * _signed(count, generator)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    along = angle.cos()[:, None, None] * x + angle.sin()[:, None, None] * y
    place = (0.5 + along / (2 * math.sqrt(2)))[:, None]
    return (ends[0][:, :, None, None] * (1 - place) + ends[1][:, :, None, None] * place).to(seen)


def _sampled(pictures: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _each(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like)[:, :, None, None]


def _unit(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator)


def _signed(count: int, generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(count, generator=generator) - 1


def _cosines() -> Tensor:
    """The orthonormal discrete cosine transform of 8 samples, a row a frequency."""
    frequency, sample = torch.arange(8)[:, None], torch.arange(8)[None]
    rows = torch.cos(math.pi * (2 * sample + 1) * frequency / 16) / 2
    return torch.cat((rows[:1] / math.sqrt(2), rows[1:]))


_SHOULDER = 0.8
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99, 99, 99, 99, 99, 99, 99, 99),) * 4,
)
