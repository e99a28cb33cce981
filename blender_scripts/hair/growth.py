"""The growing of guides, which all styles share: from the scalp outwards, off skin, cloth and face."""

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from blender_scripts.body.obstacle import Obstacle
from blender_scripts.geometry.arrays import Floats, smoothstep, unit
from blender_scripts.hair.style import Comb, Head, Style, fringe_share
from pipeline.contracts.avatar import AvatarSpec

DOWN = np.array((0.0, -1.0, 0.0))


@dataclass(frozen=True, eq=False)
class Grower:
    """Grows guides step by step."""

    spec: AvatarSpec
    head: Head
    obstacle: Obstacle
    rng: np.random.Generator

    def grow(self, style: Style, roots: Floats, normals: Floats, sides: Floats, rest: Floats, edge: Floats) -> Floats:
        """Guides (strand, point, 3) from the scalp outwards, off skin, cloth and face.

        ``edge`` is each root's height above the hairline in decimetres: hair is shorter there.
        """
        count = len(roots)
        lengths = style.length(self.spec, self.head, roots, rest)
        lengths = lengths * (1 - style.graded * smoothstep(0.7, 0.0, edge))
        step = (lengths / (style.points - 1))[:, None]
        margin = self.rng.uniform(*style.margin, count)
        front = fringe_share(rest)[:, None] if style.comb == "fringe" else np.zeros((count, 1))
        # The forehead curves back under a fringe, and locks cut its corners.
        margin = margin + 0.004 * front[:, 0]
        knots = self.head.knots(style.tie) if style.tie else np.zeros((1, 3))
        knot = knots[(roots[:, 0] < 0).astype(int)] if len(knots) == 2 else knots
        comb = self.comb(style.comb, roots, sides, front, knot)
        hanging = style.comb in ("parted", "fringe")
        # Over the shoulders long hair falls to the front or to the back, by where it is rooted.
        before = np.tanh((roots[:, 2] - self.head.ear_z - 0.01) / 0.015)
        lift = style.lift * (1 - 0.7 * front)
        direction = unit(lift * normals + (1 - lift) * comb + self.rng.normal(0, 0.05, (count, 3)))
        points = [roots]
        side = np.sign(sides + 1e-9)
        for k in range(1, style.points):
            reached = (k * step[:, 0]) / np.where(front[:, 0] > 0.5, 0.014, 0.06)
            # Combing rules near the scalp and gravity further on; hair that is tied stays combed.
            fade = np.exp(-reached)[:, None] if not style.tie else np.ones((count, 1))
            comb = self.comb(style.comb, points[-1], sides, front, knot)
            fall = self.gathered(points[-1], before) if hanging else DOWN
            aim = unit(comb * fade * (1 - lift) + style.gravity * (1 - fade) * fall + 1e-3 * direction)
            direction = unit(style.stiffness * direction + (1 - style.stiffness) * aim)
            here = points[-1] + step * direction
            least = margin * min(1.0, k / 3)
            if np.isfinite(style.close):
                # Hair lies on the head; below the chin it hangs free.
                free = smoothstep(self.head.chin + 0.02, self.head.chin - 0.02, here[:, 1])
                close = np.where(front[:, 0] > 0.4, 0.5 * style.close, style.close)
                here = self.obstacle.keep(here, least, least + close + 0.1 * free)
            else:
                here = self.obstacle.push(here, least)
            if style.keeps_off_face:
                here = np.where(front > 0.4, here, self.head.off_face(here, side))
            direction = unit(here - points[-1])
            points.append(points[-1] + step * direction)
        return np.stack(points, 1)

    def gathered(self, points: Floats, before: Floats) -> Floats:
        """The way down for long hair: below the chin in towards the neck, before or behind the shoulder."""
        below = smoothstep(self.head.chin + 0.03, self.head.chin - 0.05, points[:, 1])
        wide = smoothstep(0.075, 0.11, np.abs(points[:, 0]))
        aside = -np.sign(points[:, 0]) * 0.5 * below * wide
        return unit(np.stack((aside, np.full(len(points), -1.0), 0.55 * below * before), -1))

    def comb(self, comb: Comb, points: Floats, sides: Floats, front: Floats, knot: Floats) -> Floats:
        """Unit directions along which hair is combed at ``points``.

        ``front`` (point, 1) is 1 in a fringe; ``knot`` is where each strand of a tied style goes.
        """
        head = self.head
        out = unit(points - head.centre)
        high = smoothstep(0.0, 0.06, points[:, 1] - head.brow)[:, None]
        match comb:
            case "radial":
                # Up and back over the forehead, so that no visor hangs in front of the face.
                front = smoothstep(0.02, 0.08, points[:, 2])[:, None] * high
                return unit(out + front * np.array((0, 0.55, -0.55)))
            case "forward":
                ahead = unit(points - head.whorl + 1e-6)
                low = DOWN + 0.25 * np.array((0, 0, -1.0))
                wanted = high * (0.7 * ahead + np.array((0, 0, 0.5))) + (1 - high) * low
            case "side":
                swept = np.stack((np.sign(sides), -0.15 + 0 * sides, -0.35 + 0 * sides), -1)
                wanted = high * swept + (1 - high) * (DOWN + 0.5 * np.array((0, 0, -1.0)))
            case "swept":
                back = np.stack((0.15 * np.sign(sides), 0.1 + 0 * sides, -1 + 0 * sides), -1)
                wanted = high * back + (1 - high) * (0.8 * DOWN + np.array((0, 0, -1.0)))
            case "tied":
                wanted = unit(knot + 0.008 * unit(knot - head.centre) - points)
            case "parted" | "fringe":
                # A parting ends at the whorl; behind it hair falls straight down.
                lateral = np.stack((sides, 0 * sides, -0.3 + 0 * sides), -1)
                wanted = lateral + (1 - high) * 1.2 * DOWN
                ahead = np.stack((0.1 * points[:, 0] / head.half_width, -1 + 0 * sides, 0.5 + 0 * sides), -1)
                wanted = (1 - front) * wanted + front * ahead
            case _:
                assert_never(comb)
        tangent = wanted - (wanted * out).sum(1, keepdims=True) * out
        # What is tied is drawn tight onto the head.
        return unit(unit(tangent) - 0.22 * out if comb == "tied" else tangent)
