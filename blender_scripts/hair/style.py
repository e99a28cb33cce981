"""Hair styles as numbers: how long, how combed, how curled, how tied; and what they need to know of a head."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.geometry.arrays import Floats, smoothstep
from pipeline.contracts.appearance import HairStyle
from pipeline.contracts.avatar import AvatarSpec

Comb = Literal["forward", "side", "swept", "tied", "radial", "parted", "fringe"]
"""How hair is laid: ``growth.Grower.comb``."""
Tie = Literal["bun", "ponytail", "pigtails", "braids"]
"""What is made of gathered hair: ``hair.tied``."""


@dataclass(frozen=True, kw_only=True)
class Curl:
    """A helix of ``radius`` metres; ``flat`` makes it a wave; ``free`` strands wind independently."""

    radius: float = 0.0
    wavelength: float = 0.03
    flat: float = 0.0
    free: bool = False


@dataclass(frozen=True, eq=False)
class Head:
    """The avatar's head in metres: what combing needs to know of it."""

    centre: Floats
    top: float
    brow: float
    hairline: float
    chin: float
    ear_z: float
    half_width: float
    whorl: Floats
    """Where combed hair turns, at the back of the crown."""
    crown: Floats
    """Where a bun is tied."""
    nape: Floats
    """Where a ponytail is tied."""
    temple: Floats
    """Where the left one of two tails is tied: behind and above the ear."""
    behind: Floats
    """Where the left one of two braids begins: behind and below the ear."""
    lowest: float
    """How low loose hair may hang over the garment."""

    @classmethod
    def of(cls, body: Body, below_chin_m: float = math.inf) -> "Head":
        """Measure it; the garment lets hair hang as far below the chin as ``below_chin_m``."""
        rest, vertices = body.topology.rest, body.vertices
        ears = body.topology.masks["ears"] > 0.6

        def near(point: tuple[float, float, float]) -> Floats:
            found: Floats = vertices[((rest - np.asarray(point)) ** 2).sum(1).argmin()]
            return found

        chin = float(near((0.0, 6.2, 1.45))[1])
        return cls(
            centre=near((0.0, 8.49, 0.5)) * (0, 0.45, 0) + near((0.74, 7.5, 0.46)) * (0, 0.55, 1),
            top=float(near((0.0, 8.49, 0.5))[1]),
            brow=float(near((0.3, 7.5, 1.44))[1]),
            hairline=float(near((0.0, 7.95, 1.40))[1]),
            chin=chin,
            ear_z=float(vertices[ears, 2].mean()),
            half_width=float(near((0.72, 7.2, 0.64))[0]),
            whorl=near((0.0, 8.3, 0.02)),
            crown=near((0.0, 8.42, 0.2)),
            nape=near((0.0, 7.85, -0.45)),
            temple=near((0.66, 7.5, -0.02)),
            behind=near((0.55, 7.05, 0.0)),
            lowest=chin - below_chin_m,
        )

    def parting(self, amount: float) -> float:
        """x of the parting in metres."""
        return 0.045 * amount

    def off_face(self, points: Floats, sides: Floats, slack: float = 0.0) -> Floats:
        """Push points in front of the ears and below the hairline sideways, clear of the face."""
        front = smoothstep(self.ear_z + 0.002, self.ear_z + 0.035, points[..., 2])
        below = smoothstep(self.hairline + 0.004, self.hairline - 0.016, points[..., 1])
        above = smoothstep(self.chin - 0.10, self.chin - 0.02, points[..., 1])
        width = (self.half_width * 0.93 - slack) * (0.8 + 0.2 * below)
        need = front * below * above * width
        moved = points.copy()
        moved[..., 0] = sides * np.maximum(sides * points[..., 0], need)
        return np.where((front * below * above > 0)[..., None], moved, points)

    def knots(self, tie: Tie) -> Floats:
        """(knot, 3): where a tied style gathers hair; two of them are the left and the right one."""
        if tie in ("bun", "ponytail"):
            return (self.crown if tie == "bun" else self.nape)[None]
        left = self.temple if tie == "pigtails" else self.behind
        return np.stack((left, left * (-1, 1, 1)))

    def cut_at_face(self, strands: Floats, lowest: float) -> Floats:
        """End strands where they would hang before the face or the throat; on the forehead ``lowest`` is allowed."""
        x, y, z = np.abs(strands[..., 0]), strands[..., 1], strands[..., 2]
        face = (y < lowest) & (y > self.chin - 0.012) & (z > self.ear_z + 0.035) & (x < 0.86 * self.half_width)
        throat = (y <= self.chin - 0.012) & (y > self.chin - 0.085) & (z > self.ear_z - 0.005) & (x < 0.046)
        bad = face | throat
        bad[:, 0] = False
        first = np.where(bad.any(1), bad.argmax(1), strands.shape[1])
        # What is left of a strand cut early would be a dash on the forehead.
        first = np.where(first < 0.45 * strands.shape[1], 1, first)
        number = np.arange(strands.shape[1])[None]
        last = np.minimum(number, first[:, None] - 1)
        cut = np.take_along_axis(strands, last[..., None], 1)
        # Beyond the cut the strand goes on for a hair's breadth a point, so that no segment has length 0.
        return np.asarray(cut + np.maximum(number - first[:, None] + 1, 0)[..., None] * np.array((0, 2e-6, -2e-6)))


Length = Callable[[AvatarSpec, Head, Floats, Floats], Floats]
"""(spec, head, roots, rest roots) to the length of each guide in metres."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Style:
    """Numbers of one style. Lengths in metres."""

    length: Length
    comb: Comb
    lift: float
    """How steeply hair leaves the scalp, 0..1."""
    gravity: float
    stiffness: float
    points: int
    strands: int
    guides: int = 700
    radius: float = 0.00050
    margin: tuple[float, float] = (0.003, 0.010)
    """Distance that guides keep from skin and cloth: least, most."""
    close: float = 0.006
    """How much further than the margin guides may stand off the head; infinite for hair that stands."""
    graded: float = 0.0
    """How much shorter hair is at the hairline, 0..1."""
    layer: float = 0.004
    clump: float = 0.5
    clump_size: int = 14
    unevenness: float = 0.08
    frizz: float = 0.004
    keeps_off_face: bool = False
    over_eyes: bool = False
    """It may hang in front of the pupils."""
    curl: Callable[[AvatarSpec], Curl] = lambda spec: Curl(radius=0.0015 * spec.hair.curl, wavelength=0.02)
    tie: Tie | None = None
    on_forehead: float = 0.010
    """How far below the hairline hair may hang before the forehead, in metres; a fringe goes to the brows."""
    recedes: float = 1.0
    """How much of the spec's recession is seen at the hairline."""
    edge: float = 0.24
    """Height above the hairline, in decimetres, from which hair grows densely."""
    ring: bool = False
    """Hair is left in a ring above the ears only."""


def _short(*, top: float, side: float, spread: float) -> Length:
    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        high = smoothstep(7.55, 8.15, rest[:, 1])
        return (side + (top - side) * high) * (1 - spread / 2 + spread * spec.hair.length)

    return length


def _down_to(*, low: float, high: float) -> Length:
    """Long enough to hang to a height between ``low`` and ``high`` (chosen by the spec), layered a little."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        # On a child's small body the same length would reach the waist.
        end = max(high + (low - high) * spec.hair.length, head.chin - 0.115, head.lowest)
        over = 0.055 * smoothstep(7.9, 8.4, rest[:, 1])
        return np.maximum(roots[:, 1] - end, 0.02) * 1.06 + over

    return length


def _to_chin(*, low: float, high: float) -> Length:
    """Like :func:`_down_to`, with heights above the chin."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        return _down_to(low=head.chin + low, high=head.chin + high)(spec, head, roots, rest)

    return length


def _round(*, least: float, most: float, low: float) -> Length:
    """The same length all over, ``low`` times that at the nape."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        share = low + (1 - low) * smoothstep(7.1, 7.95, rest[:, 1])
        return np.asarray((least + (most - least) * spec.hair.length) * share)

    return length


def _fringed(*, low: float, high: float) -> Length:
    """Like :func:`_down_to`, but in front only down to the brows."""
    behind = _down_to(low=low, high=high)

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        front = fringe_share(rest)
        to_brow = np.maximum(roots[:, 1] - head.brow - 0.004, 0.012) * 1.12 + 0.010
        return np.asarray(front * to_brow + (1 - front) * behind(spec, head, roots, rest))

    return length


def fringe_share(rest: Floats) -> Floats:
    """1 where a fringe is rooted: the front of the scalp between the temples."""
    across = smoothstep(0.66, 0.52, np.abs(rest[:, 0]))
    return np.asarray(smoothstep(0.72, 0.92, rest[:, 2]) * across * smoothstep(7.8, 7.95, rest[:, 1]))


def _to_knots(tie: Tie) -> Length:
    """As far as the knot, with nothing to spare."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        knots = head.knots(tie)
        distance = np.linalg.norm(roots[:, None] - knots[None], axis=2)
        side = (roots[:, 0] < 0).astype(int) if len(knots) == 2 else np.zeros(len(roots), int)
        return np.asarray(distance[np.arange(len(roots)), side] * 0.99)

    return length


def _tight(spec: AvatarSpec) -> Curl:
    loose = 1 - spec.hair.curl
    return Curl(radius=0.0035 + 0.002 * loose, wavelength=0.014 + 0.008 * loose, flat=0.1, free=True)


def _gathered(tie: Tie, *, lift: float) -> Style:
    """Hair that lies flat on the head, all of it combed to where it is tied."""
    return Style(
        length=_to_knots(tie), comb="tied", tie=tie, lift=lift, gravity=0.0, stiffness=0.35, points=14, strands=14000,
        radius=0.00036, margin=(0.001, 0.004), close=float("inf"), layer=0.0015, clump=0.25, clump_size=20,
        unevenness=0.02, frizz=0.0010,
    )  # fmt: skip


STYLES: Final[dict[HairStyle, Style]] = {
    "buzz": Style(
        length=_short(top=0.008, side=0.005, spread=0.9), comb="forward", lift=0.62, gravity=0.0, stiffness=0.9,
        points=4, strands=17000, guides=500, radius=0.00034, margin=(0.001, 0.002), graded=0.5, layer=0.0, clump=0.0,
        frizz=0.0006, edge=0.45,
    ),
    "crop": Style(
        length=_short(top=0.032, side=0.018, spread=0.6), comb="forward", lift=0.34, gravity=0.10, stiffness=0.66,
        points=8, strands=17000, radius=0.00034, margin=(0.002, 0.007), close=0.010, graded=0.35, clump=0.5,
        unevenness=0.14, frizz=0.0015, on_forehead=0.022,
    ),
    "side part": Style(
        length=_short(top=0.075, side=0.022, spread=0.5), comb="side", lift=0.40, gravity=0.22, stiffness=0.55,
        points=10, strands=17000, radius=0.00034, margin=(0.003, 0.010), close=0.008, graded=0.3, clump=0.55,
        clump_size=20, frizz=0.0016, keeps_off_face=True,
    ),
    "balding": Style(
        length=_short(top=0.024, side=0.014, spread=0.8), comb="forward", lift=0.30, gravity=0.25, stiffness=0.6,
        points=8, strands=9000, radius=0.00032, margin=(0.001, 0.005), close=0.005, graded=0.4, clump=0.4,
        frizz=0.0010, ring=True,
    ),
    "swept back": Style(
        length=_short(top=0.085, side=0.030, spread=0.5), comb="swept", lift=0.34, gravity=0.10, stiffness=0.58,
        points=12, strands=17000, radius=0.00034, margin=(0.003, 0.010), close=0.010, graded=0.25, clump=0.6,
        clump_size=18, frizz=0.0016,
    ),
    "fringe": Style(
        length=_fringed(low=-0.13, high=-0.03), comb="fringe", lift=0.38, gravity=0.6, stiffness=0.45, points=18,
        strands=17000, radius=0.00036, margin=(0.003, 0.010), close=0.008, layer=0.004, clump=0.45, clump_size=20,
        unevenness=0.03, frizz=0.0022, keeps_off_face=True, over_eyes=True, on_forehead=0.060,
    ),
    "bob": Style(
        length=_to_chin(low=-0.045, high=0.010), comb="parted", lift=0.42, gravity=0.55, stiffness=0.45, points=16,
        strands=15000, radius=0.00038, margin=(0.003, 0.011), close=0.005, layer=0.005, clump=0.45, clump_size=22,
        unevenness=0.03, frizz=0.0020, keeps_off_face=True,
    ),
    "long straight": Style(
        length=_down_to(low=-0.172, high=-0.10), comb="parted", lift=0.40, gravity=0.6, stiffness=0.42, points=22,
        strands=15500, radius=0.00036, margin=(0.003, 0.012), close=0.005, layer=0.005, clump=0.5, clump_size=26,
        unevenness=0.05, frizz=0.0020, keeps_off_face=True,
    ),
    "wavy": Style(
        length=_down_to(low=-0.165, high=-0.08), comb="parted", lift=0.45, gravity=0.5, stiffness=0.45, points=26,
        strands=15000, radius=0.00038, margin=(0.004, 0.015), close=0.010, layer=0.006, clump=0.7, clump_size=34,
        unevenness=0.08, frizz=0.003, keeps_off_face=True,
        curl=lambda spec: Curl(
            radius=0.0055 + 0.004 * spec.hair.curl, wavelength=0.075 - 0.025 * spec.hair.curl, flat=0.3
        ),
    ),
    "curly": Style(
        length=_round(least=0.045, most=0.095, low=0.75), comb="radial", lift=0.55, gravity=0.38, stiffness=0.5,
        points=26, strands=12000, radius=0.00040, margin=(0.005, 0.014), close=float("inf"), graded=0.5, layer=0.005,
        clump=0.8, clump_size=34, unevenness=0.12, frizz=0.0025, on_forehead=0.016,
        curl=lambda spec: Curl(radius=0.0048, wavelength=0.026 - 0.007 * spec.hair.curl, flat=0.1),
    ),
    "afro": Style(
        length=_round(least=0.022, most=0.066, low=0.7), comb="radial", lift=0.97, gravity=0.0, stiffness=0.95,
        points=18, strands=15000, radius=0.00040, margin=(0.004, 0.012), close=float("inf"), graded=0.6, layer=0.0,
        clump=0.35, clump_size=10, unevenness=0.06, frizz=0.0020, curl=_tight, on_forehead=0.008, recedes=0.35,
    ),
    "bun": _gathered("bun", lift=0.15),
    "ponytail": _gathered("ponytail", lift=0.18),
    "pigtails": _gathered("pigtails", lift=0.18),
    "braids": _gathered("braids", lift=0.18),
}  # fmt: skip
"""Of all that have hair: the bald have no style."""
