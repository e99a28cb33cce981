"""Hair styles: how long, how combed, how curled; and the growing of guides that they share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from blender_scripts.assets import Floats
from blender_scripts.body import Body
from blender_scripts.obstacle import Obstacle
from blender_scripts.parts import StrandPart, smoothstep
from blender_scripts.strand import taper, unit
from pipeline.contracts.avatar import AvatarSpec

DOWN = np.array((0.0, -1.0, 0.0))


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
    knot: Floats
    """Where a bun is tied."""

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
            hairline=float(near((0.0, 8.05, 1.37))[1]),
            chin=float(near((0.0, 6.2, 1.45))[1]),
            ear_z=float(vertices[ears, 2].mean()),
            half_width=float(near((0.72, 7.2, 0.64))[0]),
            whorl=near((0.0, 8.3, 0.02)),
            knot=near((0.0, 8.42, 0.2)),
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


@dataclass(frozen=True, eq=False)
class Style:
    """Numbers of one style. Lengths in metres."""

    length: Callable[[AvatarSpec, Head, Floats, Floats], Floats]
    """(spec, head, roots, rest roots) to the length of each guide."""
    comb: str
    """'forward', 'side', 'back', 'radial' or 'parted'."""
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
    layer: float = 0.004
    clump: float = 0.5
    clump_size: int = 14
    unevenness: float = 0.08
    frizz: float = 0.004
    keeps_off_face: bool = False
    curl: Callable[[AvatarSpec], Curl] = lambda spec: Curl(0.0015 * spec.hair.curl, 0.02, 0.0)
    bun: bool = False


def _short(top: float, side: float, spread: float) -> Callable[[AvatarSpec, Head, Floats, Floats], Floats]:
    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        high = smoothstep(7.55, 8.15, rest[:, 1])
        return (side + (top - side) * high) * (1 - spread / 2 + spread * spec.hair.length)

    return length


def _down_to(low: float, high: float) -> Callable[[AvatarSpec, Head, Floats, Floats], Floats]:
    """Long enough to hang to a height between ``low`` and ``high`` (chosen by the spec), layered a little."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        end = high + (low - high) * spec.hair.length
        over = 0.055 * smoothstep(7.9, 8.4, rest[:, 1])
        return np.maximum(roots[:, 1] - end, 0.02) * 1.06 + over

    return length


def _round(least: float, most: float, low: float) -> Callable[[AvatarSpec, Head, Floats, Floats], Floats]:
    """The same length all over, ``low`` times that at the nape."""

    def length(spec: AvatarSpec, head: Head, roots: Floats, rest: Floats) -> Floats:
        share = low + (1 - low) * smoothstep(7.1, 7.95, rest[:, 1])
        return np.asarray((least + (most - least) * spec.hair.length) * share)

    return length


def _tight(spec: AvatarSpec) -> Curl:
    return Curl(0.0035 + 0.002 * (1 - spec.hair.curl), 0.014 + 0.008 * (1 - spec.hair.curl), 0.1, free=True)


STYLES: Final[dict[str, Style]] = {
    "buzz": Style(
        _short(0.008, 0.005, 0.9), "forward", 0.75, 0.0, 0.9, 4, 17000, guides=500, layer=0.0, clump=0.0,
        margin=(0.001, 0.002), frizz=0.0008, radius=0.00042,
    ),
    "crop": Style(_short(0.040, 0.018, 0.7), "forward", 0.48, 0.10, 0.68, 8, 18000, clump=0.5, frizz=0.0025,
        radius=0.00040),
    "side part": Style(
        _short(0.075, 0.022, 0.5), "side", 0.40, 0.22, 0.62, 10, 17000, clump=0.55, margin=(0.003, 0.013),
        radius=0.00042, keeps_off_face=True, frizz=0.004,
    ),
    "bob": Style(
        _down_to(-0.10, -0.04), "parted", 0.42, 0.55, 0.45, 16, 15000, margin=(0.004, 0.016), layer=0.006,
        clump=0.55, clump_size=22, keeps_off_face=True, unevenness=0.03,
    ),
    "long straight": Style(
        _down_to(-0.172, -0.10), "parted", 0.40, 0.6, 0.42, 22, 16000, margin=(0.004, 0.016), layer=0.006,
        clump=0.6, clump_size=26, keeps_off_face=True, unevenness=0.05, frizz=0.006,
    ),
    "wavy": Style(
        _down_to(-0.172, -0.09), "parted", 0.45, 0.5, 0.45, 26, 15000, margin=(0.005, 0.020), layer=0.010,
        clump=0.7, clump_size=30, keeps_off_face=True, unevenness=0.08, frizz=0.008,
        curl=lambda spec: Curl(0.0065 + 0.004 * spec.hair.curl, 0.075 - 0.025 * spec.hair.curl, 0.45),
    ),
    "curly": Style(
        _round(0.07, 0.14, 0.75),
        "radial", 0.72, 0.32, 0.55, 30, 11000, margin=(0.006, 0.020), layer=0.006, clump=0.75, clump_size=34,
        keeps_off_face=True, unevenness=0.16, frizz=0.005, radius=0.00050,
        curl=lambda spec: Curl(0.0055, 0.027 - 0.007 * spec.hair.curl, 0.15),
    ),
    "afro": Style(
        _round(0.035, 0.08, 0.7),
        "radial", 0.97, 0.0, 0.95, 22, 13000, margin=(0.004, 0.012), layer=0.0, clump=0.35, clump_size=10,
        unevenness=0.10, frizz=0.004, radius=0.00050, curl=_tight,
    ),
    "bun": Style(
        lambda spec, head, roots, rest: np.linalg.norm(roots - head.knot, axis=1) * 1.02,
        "back", 0.15, 0.0, 0.35, 14, 14000, margin=(0.002, 0.006), layer=0.002, clump=0.4, clump_size=20,
        unevenness=0.02, frizz=0.002, bun=True,
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Grower:
    """Grows guides step by step."""

    spec: AvatarSpec
    head: Head
    obstacle: Obstacle
    rng: np.random.Generator

    def grow(self, style: Style, roots: Floats, normals: Floats, sides: Floats, rest: Floats) -> Floats:
        """Guides (strand, point, 3) from the scalp outwards, off skin, cloth and face."""
        count = len(roots)
        lengths = style.length(self.spec, self.head, roots, rest)
        step = (lengths / (style.points - 1))[:, None]
        margin = self.rng.uniform(*style.margin, count)
        comb = self.comb(style.comb, roots, normals, sides)
        direction = unit(style.lift * normals + (1 - style.lift) * comb + self.rng.normal(0, 0.05, (count, 3)))
        points = [roots]
        side = np.sign(sides + 1e-9)
        for k in range(1, style.points):
            reached = (k * step[:, 0]) / 0.06
            # Combing rules near the scalp and gravity further on; hair that is tied stays combed.
            fade = np.exp(-reached)[:, None] if not style.bun else np.ones((count, 1))
            comb = self.comb(style.comb, points[-1], normals, sides)
            aim = unit(comb * fade * (1 - style.lift) + style.gravity * (1 - fade) * DOWN + 1e-3 * direction)
            direction = unit(style.stiffness * direction + (1 - style.stiffness) * aim)
            here = points[-1] + step * direction
            here = self.obstacle.push(here, margin * min(1.0, k / 3))
            if style.keeps_off_face:
                here = self.head.off_face(here, side)
            direction = unit(here - points[-1])
            points.append(points[-1] + step * direction)
        return np.stack(points, 1)

    def comb(self, name: str, points: Floats, normals: Floats, sides: Floats) -> Floats:
        """Unit directions along which the style is combed at ``points``."""
        head = self.head
        offset = points - head.centre
        out = unit(offset)
        high = smoothstep(0.0, 0.06, points[:, 1] - head.brow)[:, None]
        if name == "forward":
            ahead = unit(points - head.whorl + 1e-6)
            wanted = high * (0.7 * ahead + np.array((0, 0, 0.5))) + (1 - high) * (DOWN + 0.25 * np.array((0, 0, -1.0)))
        elif name == "side":
            swept = np.stack((np.sign(sides), -0.15 + 0 * sides, -0.35 + 0 * sides), -1)
            wanted = high * swept + (1 - high) * (DOWN + 0.5 * np.array((0, 0, -1.0)))
        elif name == "back":
            wanted = unit(head.knot + 0.008 * unit(head.knot - head.centre) - points)
        elif name == "parted":
            lateral = np.stack((np.sign(sides), 0 * sides, -0.3 + 0 * sides), -1)
            wanted = lateral + (1 - high) * 1.2 * DOWN
        else:
            # Up and back over the forehead, so that no visor hangs in front of the face.
            front = smoothstep(0.02, 0.08, points[:, 2])[:, None] * high
            wanted = out + front * np.array((0, 0.55, -0.55))
        tangent = wanted - (wanted * out).sum(1, keepdims=True) * out if name != "radial" else wanted
        return unit(unit(tangent) - 0.22 * out if name == "back" else tangent)

    def bun(self, colours: Floats) -> StrandPart:
        """A coil of strands behind the crown."""
        count, size = len(colours), 26
        radius = 0.024 + 0.012 * self.spec.hair.length
        axis = unit(self.head.knot - self.head.centre)
        middle = self.head.knot + axis * radius * 0.85
        u = unit(np.cross(axis, np.array((1.0, 0, 0))))
        v = np.cross(axis, u)
        tilt = self.rng.uniform(0, 2 * np.pi, count)[:, None]
        start = self.rng.uniform(0, 2 * np.pi, count)[:, None]
        t = np.linspace(0, 1, size)[None]
        angle = start + t * 3.6
        tube = tilt + 1.3 * t
        ring = radius * (0.62 + 0.42 * np.cos(tube) * np.sqrt(self.rng.random((count, 1))))
        height = radius * 0.55 * np.sin(tube) + radius * 0.25
        strands = (
            middle
            + (ring * np.cos(angle))[..., None] * u
            + (ring * np.sin(angle))[..., None] * v
            + height[..., None] * axis
        )
        strands = strands + self.rng.normal(0, 0.0006, (count, 1, 3))
        return StrandPart("bun", strands, taper(count, size, 0.0008, 0.6), colours, settings={"roughness": 0.4})
