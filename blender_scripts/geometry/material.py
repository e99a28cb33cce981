"""What a part looks like, as numbers: each kind is one shader of ``scene.materials``.

Colour is not among them: it is the part's own, at every vertex or strand. Lengths are in metres.
"""

from dataclasses import dataclass
from typing import Literal

Pattern = Literal["plain", "stripes", "checks"]


@dataclass(frozen=True, kw_only=True)
class Skin:
    """Skin with pores, freckles and lines; reads the fields of ``body.skin.paint_skin`` and 'rest'."""

    pores: float
    """How deep they are."""


@dataclass(frozen=True)
class Eye:
    """The matt ball below the cornea."""


@dataclass(frozen=True, kw_only=True)
class Clear:
    """Cornea and tears: a mirror by Fresnel, otherwise seen through."""

    ior: float
    roughness: float


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Of glasses."""

    tint: float
    """Share of the light that passes."""


@dataclass(frozen=True)
class Wet:
    """Teeth, tongue, buttons."""


@dataclass(frozen=True, kw_only=True)
class Hair:
    """Strands."""

    roughness: float = 0.42


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """Threads along the field 'weave'; where it is sewn, also the fields 'sleeve' and 'seams'."""

    melange: float
    """How much the threads' colours differ."""
    rib: float
    """Waves of a knit's ribs, in radians a metre; 0 for none."""
    sheen: float
    nap: float
    """How coarse the surface is, as a share of jersey's."""
    folds: float
    """How creased sewn cloth is, 0..1."""
    pattern: Pattern
    """Bands of the accent along the threads."""
    accent: tuple[float, float, float]
    """Linear colour of the pattern, or of the sleeves."""
    period_m: float
    """Of the pattern."""
    share: float
    """Of each period, what the accent takes."""
    sewn: bool = False
    """Cut from panels, whose threads, seams and creases show."""
    accent_sleeves: bool = False


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Smooth things that are worn: frames of glasses, earrings, zips, cords."""

    metallic: float


@dataclass(frozen=True)
class Glow:
    """Emits its colour: markers that tests look for."""


Material = Skin | Eye | Clear | Lens | Wet | Hair | Cloth | Frame | Glow
