"""Hair styles as numbers: how long, how combed, how curled, how tied; and what they need to know of a head."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.geometry.arrays import Floats, smoothstep
from pipeline.contracts.avatar import AvatarSpec


@dataclass(frozen=True)
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

    @classmethod
    def of(cls, body: Body) -> "Head":
        """Measure it."""
        rest, vertices = body.topology.rest, body.vertices
        ears = body.topology.masks["ears"] > 0.6

        def near(point: tuple[float, float, float]) -> Floats:
            found: Floats = vertices[((rest - np.asarray(point)) ** 2).sum(1).argmin()]
            return found

        return cls(
            centre=near((0.0, 8.49, 0.5)) * (0, 0.45, 0) + near((0.74, 7.5, 0.46)) * (0, 0.55, 1),
            top=float(near((0.0, 8.49, 0.5))[1]),
            brow=float(near((0.3, 7.5, 1.44))[1]),
            hairline=float(near((0.0, 7.95, 1.40))[1]),
            chin=float(near((0.0, 6.2, 1.45))[1]),
            ear_z=float(vertices[ears, 2].mean()),
            half_width=float(near((0.72, 7.2, 0.64))[0]),
            whorl=near((0.0, 8.3, 0.02)),
            crown=near((0.0, 8.42, 0.2)),
            nape=near((0.0, 7.85, -0.45)),
            temple=near((0.66, 7.5, -0.02)),
            behind=near((0.55, 7.05, 0.0)),
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

    def knots(self, tie: str) -> Floats:
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


@dataclass(frozen=True, eq=False)
class Style:
    """Numbers of one style. Lengths in metres."""

    length: Callable[[AvatarSpec, Head, Floats, Floats], Floats]
    """(spec, head, roots, rest roots) to the length of each guide."""
    comb: str
    """'forward', 'side', 'swept', 'tied', 'radial', 'parted' or 'fringe'."""
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
    curl: Callable[[AvatarSpec], Curl] = lambda spec: Curl(0.0015 * spec.hair.curl, 0.02, 0.0)
    tie: str = ""
    """'bun', 'ponytail', 'pigtails' or 'braids'."""
    on_forehead: float = 0.010
    """How far below the hairline hair may hang before the forehead, in metres; a fringe goes to the brows."""


def _short(top: float, side: float, spread: float) -> Callable[[AvatarSpec, Head, Floats, Floats], Floats]:
    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        high = smoothstep(7.55, 8.15, rest[:, 1])
        return (side + (top - side) * high) * (1 - spread / 2 + spread * spec.hair.length)

    return length


def _down_to(low: float, high: float) -> Callable[[AvatarSpec, Head, Floats, Floats], Floats]:
    """Long enough to hang to a height between ``low`` and ``high`` (chosen by the spec), layered a little."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        # On a child's small body the same length would reach the waist.
        end = max(high + (low - high) * spec.hair.length, head.chin - 0.115)
        if spec.garment.style == "hoodie":
            # What is longer lies in the hood, and would come out of its underside.
            end = max(end, head.chin - 0.05)
        over = 0.055 * smoothstep(7.9, 8.4, rest[:, 1])
        return np.maximum(roots[:, 1] - end, 0.02) * 1.06 + over

    return length


def _to_chin(low: float, high: float) -> Callable[[AvatarSpec, Head, Floats, Floats], Floats]:
    """Like :func:`_down_to`, with heights above the chin."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        return _down_to(head.chin + low, head.chin + high)(spec, head, roots, rest)

    return length


def _round(least: float, most: float, low: float) -> Callable[[AvatarSpec, Head, Floats, Floats], Floats]:
    """The same length all over, ``low`` times that at the nape."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        share = low + (1 - low) * smoothstep(7.1, 7.95, rest[:, 1])
        return np.asarray((least + (most - least) * spec.hair.length) * share)

    return length


def _fringed(low: float, high: float) -> Callable[[AvatarSpec, Head, Floats, Floats], Floats]:
    """Like :func:`_down_to`, but in front only down to the brows."""
    behind = _down_to(low, high)

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        front = fringe_share(rest)
        to_brow = np.maximum(roots[:, 1] - head.brow - 0.004, 0.012) * 1.12 + 0.010
        return np.asarray(front * to_brow + (1 - front) * behind(spec, head, roots, rest))

    return length


def fringe_share(rest: Floats) -> Floats:
    """1 where a fringe is rooted: the front of the scalp between the temples."""
    across = smoothstep(0.66, 0.52, np.abs(rest[:, 0]))
    return np.asarray(smoothstep(0.72, 0.92, rest[:, 2]) * across * smoothstep(7.8, 7.95, rest[:, 1]))


def _tied(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
    knots = head.knots(STYLES[spec.hair.style].tie)
    distance = np.linalg.norm(roots[:, None] - knots[None], axis=2)
    side = (roots[:, 0] < 0).astype(int) if len(knots) == 2 else np.zeros(len(roots), int)
    return np.asarray(distance[np.arange(len(roots)), side] * 0.99)


def _tight(spec: AvatarSpec) -> Curl:
    return Curl(0.0035 + 0.002 * (1 - spec.hair.curl), 0.014 + 0.008 * (1 - spec.hair.curl), 0.1, free=True)


_TIED: Final[dict[str, Any]] = {
    "margin": (0.001, 0.004), "layer": 0.0015, "clump": 0.25, "clump_size": 20, "unevenness": 0.02, "frizz": 0.0010,
    "radius": 0.00036, "close": float("inf"),
}  # fmt: skip

STYLES: Final[dict[str, Style]] = {
    "buzz": Style(
        _short(0.008, 0.005, 0.9), "forward", 0.62, 0.0, 0.9, 4, 17000, guides=500, layer=0.0, clump=0.0,
        margin=(0.001, 0.002), frizz=0.0006, radius=0.00034, graded=0.5,
    ),
    "crop": Style(
        _short(0.032, 0.018, 0.6), "forward", 0.34, 0.10, 0.66, 8, 17000, clump=0.5, frizz=0.0015, radius=0.00034,
        on_forehead=0.022, margin=(0.002, 0.007), close=0.010, graded=0.35, unevenness=0.14,
    ),
    "side part": Style(
        _short(0.075, 0.022, 0.5), "side", 0.40, 0.22, 0.55, 10, 17000, clump=0.55, margin=(0.003, 0.010),
        radius=0.00034, keeps_off_face=True, frizz=0.0016, close=0.008, graded=0.3, clump_size=20,
    ),
    "balding": Style(
        _short(0.024, 0.014, 0.8), "forward", 0.30, 0.25, 0.6, 8, 9000, clump=0.4, frizz=0.0010, radius=0.00032,
        margin=(0.001, 0.005), close=0.005, graded=0.4,
    ),
    "swept back": Style(
        _short(0.085, 0.030, 0.5), "swept", 0.34, 0.10, 0.58, 12, 17000, clump=0.6, margin=(0.003, 0.010),
        radius=0.00034, frizz=0.0016, clump_size=18, close=0.010, graded=0.25,
    ),
    "fringe": Style(
        _fringed(-0.13, -0.03), "fringe", 0.38, 0.6, 0.45, 18, 17000, margin=(0.003, 0.010), layer=0.004,
        clump=0.45, clump_size=20, unevenness=0.03, keeps_off_face=True, on_forehead=0.060, radius=0.00036,
        frizz=0.0022, close=0.008,
    ),
    "bob": Style(
        _to_chin(-0.045, 0.010), "parted", 0.42, 0.55, 0.45, 16, 15000, margin=(0.003, 0.011), layer=0.005,
        clump=0.45, clump_size=22, keeps_off_face=True, unevenness=0.03, radius=0.00038, frizz=0.0020, close=0.005,
    ),
    "long straight": Style(
        _down_to(-0.172, -0.10), "parted", 0.40, 0.6, 0.42, 22, 15500, margin=(0.003, 0.012), layer=0.005,
        clump=0.5, clump_size=26, keeps_off_face=True, unevenness=0.05, frizz=0.0020, radius=0.00036, close=0.005,
    ),
    "wavy": Style(
        _down_to(-0.165, -0.08), "parted", 0.45, 0.5, 0.45, 26, 15000, margin=(0.004, 0.015), layer=0.006,
        clump=0.7, clump_size=34, keeps_off_face=True, unevenness=0.08, frizz=0.003, radius=0.00038, close=0.010,
        curl=lambda spec: Curl(0.0055 + 0.004 * spec.hair.curl, 0.075 - 0.025 * spec.hair.curl, 0.3),
    ),
    "curly": Style(
        _round(0.045, 0.095, 0.75),
        "radial", 0.55, 0.38, 0.5, 26, 12000, margin=(0.005, 0.014), layer=0.005, clump=0.8, clump_size=34,
        unevenness=0.12, frizz=0.0025, radius=0.00040, on_forehead=0.016, graded=0.5, close=float("inf"),
        curl=lambda spec: Curl(0.0048, 0.026 - 0.007 * spec.hair.curl, 0.1),
    ),
    "afro": Style(
        _round(0.022, 0.066, 0.7),
        "radial", 0.97, 0.0, 0.95, 18, 15000, margin=(0.004, 0.012), layer=0.0, clump=0.35, clump_size=10,
        unevenness=0.06, frizz=0.0020, radius=0.00040, curl=_tight, on_forehead=0.008, graded=0.6,
        close=float("inf"),
    ),
    "bun": Style(_tied, "tied", 0.15, 0.0, 0.35, 14, 14000, tie="bun", **_TIED),
    "ponytail": Style(_tied, "tied", 0.18, 0.0, 0.35, 14, 14000, tie="ponytail", **_TIED),
    "pigtails": Style(_tied, "tied", 0.18, 0.0, 0.35, 14, 14000, tie="pigtails", **_TIED),
    "braids": Style(_tied, "tied", 0.18, 0.0, 0.35, 14, 14000, tie="braids", **_TIED),
}  # fmt: skip
