"""Hair of the head as strands: guides grown over the scalp by a style's combing, children between them.

Combing and lengths are in metres on the avatar's own head.
"""

import math
from dataclasses import dataclass

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.body.obstacle import Obstacle
from blender_scripts.geometry.arrays import Floats, Ints, smoothstep
from blender_scripts.geometry.material import Hair
from blender_scripts.geometry.mesh import waves
from blender_scripts.geometry.parts import StrandPart
from blender_scripts.geometry.strand import at_places, between_guides, clump, curl, frizz, scatter, taper
from blender_scripts.hair.colour import strand_colours
from blender_scripts.hair.growth import Grower
from blender_scripts.hair.scalp import scalp_density, scalp_field
from blender_scripts.hair.style import STYLES, Curl, Head, Style, fringe_share
from blender_scripts.hair.tied import build_tied
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for


@dataclass(frozen=True, eq=False)
class _Roots:
    points: Floats
    normals: Floats
    sides: Floats
    rest: Floats
    edge: Floats
    """Height above the hairline in decimetres."""


def build_hair(spec: AvatarSpec, body: Body, obstacle: Obstacle, below_chin_m: float = math.inf) -> list[StrandPart]:
    """All hair of the head; none for the bald. The garment lets it hang as far below the chin as ``below_chin_m``."""
    style = STYLES.get(spec.hair.style)
    if style is None:
        return []
    rng = generator_for(spec.seed, 0, "hair")
    head = Head.of(body, below_chin_m)
    density, field = scalp_density(spec, body), scalp_field(spec, body)

    def roots(count: int) -> _Roots:
        triangles = body.topology.triangles
        places = scatter(body.vertices, triangles, density, count, rng)
        points, normals, rest, edge = (
            at_places(values, triangles, places) for values in (body.vertices, body.normals, body.topology.rest, field)
        )
        return _Roots(points, normals, _sides(spec, style, head, points), rest, edge)

    first = roots(style.guides)
    guides = Grower(spec, head, obstacle, rng).grow(
        style, first.points, first.normals, first.sides, first.rest, first.edge
    )
    second = roots(style.strands)
    strands = _children(style, guides, first, second, rng)
    if style.clump > 0:
        strands, lock = clump(strands, style.clump_size, style.clump, rng)
    else:
        lock = np.zeros(len(strands), int)
    strands = _wound(style.curl(spec), strands, lock, rng)
    # A few hairs fly away; they are thin.
    flying = rng.random(len(strands)) < 0.03
    strands = frizz(strands, style.frizz * np.where(flying, 2.0, 1.0) * rng.random(len(strands)), rng)
    strands = _held_back(style, head, obstacle, strands, second)
    radius = style.radius * (0.55 + 0.45 * smoothstep(0.0, 0.35, second.edge)) * np.where(flying, 0.45, 1.0)
    parts = [
        StrandPart(
            name="hair",
            label="hair",
            points=strands,
            radii=taper(len(strands), strands.shape[1], radius, 0.15, rising=True),
            colours=_tinted(spec, second, rng),
            material=Hair(roughness=0.55 if spec.hair.curl > 0.6 else 0.4),
        )
    ]
    if style.tie is not None:
        parts += build_tied(style.tie, spec, head, obstacle, strand_colours(spec, 2600, rng), rng)
    return parts


def _sides(spec: AvatarSpec, style: Style, head: Head, points: Floats) -> Floats:
    """(point,): -1..1, on which side of the parting each is; it ends at the whorl, unless hair is tied."""
    ahead = 1.0 if style.tie else smoothstep(head.whorl[2] - 0.012, head.whorl[2] + 0.012, points[:, 2])
    width = 0.006 + 0.09 * (1 - ahead)
    return np.asarray(np.tanh((points[:, 0] - head.parting(spec.hair.parting) * ahead) / width))


def _children(style: Style, guides: Floats, first: _Roots, second: _Roots, rng: np.random.Generator) -> Floats:
    """Strands at the ``second`` roots between the guides at the ``first``, of uneven lengths, in layers."""
    lengths = np.exp(rng.normal(0, style.unevenness, style.strands))
    lengths *= np.where(rng.random(style.strands) < 0.12, rng.uniform(0.55, 0.95, style.strands), 1.0)
    strands = between_guides(second.points, second.sides, guides, first.sides, np.clip(lengths, 0.3, 1.15))
    layer = (second.normals * rng.uniform(0, style.layer, (style.strands, 1)))[:, None]
    return np.asarray(strands + layer * np.linspace(0, 1, strands.shape[1])[None, :, None] ** 0.5)


def _wound(curliness: Curl, strands: Floats, lock: Ints, rng: np.random.Generator) -> Floats:
    """Strands of one lock wind together; those of an afro each on its own."""
    if curliness.radius <= 0:
        return strands
    count = len(strands)
    of, spread = (np.arange(count), 0.0) if curliness.free else (lock, 0.35)
    locks = int(of.max()) + 1
    phase = rng.uniform(0, 2 * np.pi, locks)[of] + rng.normal(0, spread, count)
    size = (curliness.radius * rng.uniform(0.7, 1.3, locks))[of] * rng.uniform(0.85, 1.15, count)
    wavelength = (curliness.wavelength * rng.uniform(0.8, 1.25, locks))[of]
    return curl(strands, size, wavelength, phase, rng, curliness.flat)


def _held_back(style: Style, head: Head, obstacle: Obstacle, strands: Floats, roots: _Roots) -> Floats:
    """Keep strands off the face, and what is tied off the head that it is drawn over."""
    if style.keeps_off_face:
        aside = head.off_face(strands, np.sign(roots.sides + 1e-9)[:, None] * np.ones(strands.shape[:2]), slack=0.004)
        fringe = (fringe_share(roots.rest) > 0.4) & (style.comb == "fringe")
        strands = np.where(fringe[:, None, None], strands, aside)
    if style.tie:
        # Strands that meet at a knot come from all around the head: what cuts across it is lifted onto it.
        half = strands.shape[1] // 2
        late = strands[:, half:].reshape(-1, 3)
        strands[:, half:] = obstacle.push(late, np.full(len(late), 0.001)).reshape(strands[:, half:].shape)
    return head.cut_at_face(strands, head.hairline - style.on_forehead)


def _tinted(spec: AvatarSpec, roots: _Roots, rng: np.random.Generator) -> Floats:
    """A colour for each strand: temples go grey before the crown; neighbouring hairs are alike."""
    grey = spec.hair.grey * (1 + 0.35 * (1 - spec.hair.grey) * np.clip((7.9 - roots.rest[:, 1]) / 0.5, -1, 1))
    tint = np.exp(0.09 * waves(roots.points, rng, np.array((60.0, 60.0, 60.0))))
    return np.asarray(np.clip(strand_colours(spec, len(roots.points), rng, grey) * tint[:, None], 0.001, 0.9))
