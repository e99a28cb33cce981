"""Cuts of garments as numbers: where they leave the body free, how they hang, what trims their neckline.

Necklines are scalar fields on the base shape (decimetres): above 0 is inside the opening. A plane that falls from the
nape to the chest meets the neck only, never the shoulders, so no hole can open there.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from blender_scripts.clothes.tailoring import Hang
from blender_scripts.geometry.arrays import Floats, smoothstep
from pipeline.contracts.appearance import GarmentStyle


@dataclass(frozen=True, kw_only=True)
class Band:
    """A knitted band along the neckline."""

    width_m: float
    thickness_m: float


@dataclass(frozen=True, kw_only=True)
class Turned:
    """A turned collar, as a share of a shirt's, above a placket with buttons."""

    size: float
    placket_m: float | None
    """How far down the placket goes; ``None`` for all the way."""


@dataclass(frozen=True)
class Hood:
    """A hood that is let down, with its cords."""


@dataclass(frozen=True)
class Front:
    """Of what is worn open over something else: lapels, or a zip."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A neckline and the cloth below it: a plane at ``height`` where z = 0, falling by ``slope`` a unit of z."""

    height: float
    slope: float
    hang: Hang
    trim: Band | Turned | Hood | Front
    """What finishes the neckline."""
    bow: float = 0.0
    """How far the line rises from the middle of the front to the sides of the neck, in decimetres."""
    vee: float = 0.0
    """Depth of the V below the plane, in decimetres."""
    offset_m: float = 0.006
    ease_m: float = 0.008
    roll_m: float = 0.0
    """How much the cloth stands off where it is rolled down below the neckline."""
    sheen: float = 0.1
    rib: float = 0.0
    """Waves of a knit's ribs, in radians a metre."""
    nap: float = 1.0
    """How coarse the cloth's surface is, as a share of jersey's."""
    period_m: tuple[float, float] = (0.028, 0.075)
    """Least and most of a pattern's period. Narrower ones would not survive small images."""
    bare_arms: bool = False
    """The arms are free, and there are no sleeves to sew in."""
    raglan: float = 0.0
    """Chance of sleeves that begin at the neck."""
    contrasting: bool = False
    """Such sleeves have the accent's colour where the cloth is plain."""
    yoke: bool = False
    """Sewn across the back."""
    hair_below_chin_m: float = math.inf
    """How far below the chin hair may hang: what is longer lies in a hood, and would come out of its underside."""

    @property
    def is_open(self) -> bool:
        """Whether its front is open, and something is worn under it."""
        return isinstance(self.trim, Front)


CUTS: Final[dict[GarmentStyle, Cut]] = {
    "tee": Cut(
        height=5.80, slope=0.50, bow=0.20, hang=Hang(width=0.20, height_m=0.0080, count=1.0), sheen=0.08,
        trim=Band(width_m=0.0065, thickness_m=0.0028), raglan=0.15, contrasting=True,
    ),
    "v-neck": Cut(
        height=5.88, slope=0.46, vee=0.46, hang=Hang(width=0.24, height_m=0.0065, count=0.8), rib=1250.0, nap=1.5,
        trim=Band(width_m=0.0075, thickness_m=0.0032),
    ),
    "turtleneck": Cut(
        height=6.24, slope=0.20, roll_m=0.0045, hang=Hang(width=0.24, height_m=0.0055, count=0.7), rib=1100.0,
        sheen=0.15, nap=1.5, trim=Band(width_m=0.003, thickness_m=0.003),
    ),
    "shirt": Cut(
        height=5.98, slope=0.44, vee=0.22, hang=Hang(width=0.18, height_m=0.0080, count=1.2), ease_m=0.010, sheen=0.04,
        nap=0.6, period_m=(0.026, 0.05), yoke=True, trim=Turned(size=1.0, placket_m=None),
    ),
    "hoodie": Cut(
        height=5.88, slope=0.46, hang=Hang(width=0.30, height_m=0.0100, count=1.0), offset_m=0.009, ease_m=0.014,
        nap=1.3, raglan=0.3, trim=Hood(), hair_below_chin_m=0.05,
    ),
    "jumper": Cut(
        height=5.84, slope=0.47, bow=0.16, hang=Hang(width=0.28, height_m=0.0095, count=0.9), offset_m=0.008,
        ease_m=0.011, rib=700.0, sheen=0.15, nap=2.5, raglan=0.3, trim=Band(width_m=0.009, thickness_m=0.004),
    ),
    "tank": Cut(
        height=5.76, slope=0.44, bow=0.12, hang=Hang(width=0.18, height_m=0.0030, count=0.6), offset_m=0.004,
        ease_m=0.004, sheen=0.04, bare_arms=True, trim=Band(width_m=0.0045, thickness_m=0.0022),
    ),
    "polo": Cut(
        height=5.97, slope=0.44, vee=0.16, hang=Hang(width=0.20, height_m=0.0070, count=0.9), sheen=0.1, nap=1.4,
        trim=Turned(size=0.82, placket_m=0.075),
    ),
    "jacket": Cut(
        height=6.00, slope=0.40, hang=Hang(width=0.28, height_m=0.0095, count=0.9), offset_m=0.0145, ease_m=0.010,
        sheen=0.06, nap=0.8, trim=Front(),
    ),
}  # fmt: skip
INNER: Final[tuple[GarmentStyle, ...]] = ("shirt", "tee", "shirt", "turtleneck", "v-neck")
"""Worn under a jacket with lapels."""
UNDER_ZIP: Final[GarmentStyle] = "tee"
"""Worn under a jacket with a zip."""
BARE_ARM: Final = 0.35
"""Armholes of bare arms lie where an arm's skinning weight is this large."""


def neckline(cut: Cut, rest: Floats) -> Floats:
    """Signed height above the neckline at points of the base shape, in decimetres."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    line = cut.height - cut.slope * z
    if cut.vee:
        front = smoothstep(0.25, 0.6, z)
        vee = cut.height - cut.slope * 0.8 - cut.vee + x * (cut.vee + 0.25) / 0.62
        line = line + front * np.minimum(0, vee - line)
    line = line + cut.bow * smoothstep(0.15, 0.6, z) * np.minimum(x / 0.6, 1.2) ** 2
    near_neck = smoothstep(0.96, 0.78, x)
    return np.asarray((y - line) * near_neck - 1.6 * (1 - near_neck))


def opening(cut: Cut, rest: Floats, arms: Floats) -> Floats:
    """Above 0 where the garment leaves the body free: the neck, bare arms, an open front.

    ``arms`` is the skinning weight of the arms at each point.
    """
    field = neckline(cut, rest)
    if cut.bare_arms:
        return np.maximum(field, 1.1 * (arms - BARE_ARM))
    if cut.is_open:
        half = 0.16 + 0.30 * smoothstep(4.2, 5.7, rest[:, 1])
        front = np.where(rest[:, 2] > 0.15, half - np.abs(rest[:, 0]), -1.0)
        return np.maximum(field, front)
    return field
