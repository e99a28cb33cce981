"""Hair of the head as strands: guides grown over the scalp by a style's combing, children between them.

Combing and lengths are in metres on the avatar's own head.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.body.obstacle import Obstacle
from blender_scripts.geometry.arrays import Floats, smoothstep
from blender_scripts.geometry.material import Hair
from blender_scripts.geometry.mesh import waves
from blender_scripts.geometry.parts import StrandPart
from blender_scripts.geometry.strand import at_places, between_guides, clump, curl, frizz, scatter, taper
from blender_scripts.hair.colour import strand_colours
from blender_scripts.hair.growth import Grower
from blender_scripts.hair.scalp import scalp_density, scalp_field
from blender_scripts.hair.style import STYLES, Head, fringe_share
from blender_scripts.hair.tied import build_tied
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for


@dataclass(frozen=True)
class _Roots:
    points: Floats
    normals: Floats
    sides: Floats
    rest: Floats
    edge: Floats
    """Height above the hairline in decimetres."""


def build_hair(spec: AvatarSpec, body: Body, obstacle: Obstacle) -> list[StrandPart]:
    """All hair of the head; none for the bald."""
    if spec.hair.style == "bald":
        return []
    style = STYLES[spec.hair.style]
    rng = generator_for(spec.seed, 0, "hair")
    head = Head.of(body)
    density, field = scalp_density(spec, body), scalp_field(spec, body)
    grower = Grower(spec, head, obstacle, rng)
    parting = head.parting(spec.hair.parting)

    def roots(count: int) -> _Roots:
        places = scatter(body.vertices, body.topology.triangles, density, count, rng)
        at = [
            at_places(v, body.topology.triangles, places)
            for v in (body.vertices, body.normals, body.topology.rest, field)
        ]
        ahead = smoothstep(head.whorl[2] - 0.012, head.whorl[2] + 0.012, at[0][:, 2]) if not style.tie else 1.0
        width = 0.006 + 0.09 * (1 - ahead)
        sides = np.tanh((at[0][:, 0] - parting * ahead) / width)
        return _Roots(at[0], at[1], sides, at[2], at[3])

    first = roots(style.guides)
    guides = grower.grow(style, first.points, first.normals, first.sides, first.rest, first.edge)
    second = roots(style.strands)
    lengths = np.exp(rng.normal(0, style.unevenness, style.strands))
    lengths *= np.where(rng.random(style.strands) < 0.12, rng.uniform(0.55, 0.95, style.strands), 1.0)
    strands = between_guides(second.points, second.sides, guides, first.sides, np.clip(lengths, 0.3, 1.15))
    strands = (
        strands
        + (second.normals * rng.uniform(0, style.layer, (style.strands, 1)))[:, None]
        * np.linspace(0, 1, strands.shape[1])[None, :, None] ** 0.5
    )
    if style.clump > 0:
        strands, lock = clump(strands, style.clump_size, style.clump, rng)
    else:
        lock = np.zeros(len(strands), int)
    curliness = style.curl(spec)
    if curliness.radius > 0:
        count = len(strands)
        # Strands of one lock wind together; those of an afro each on its own.
        of, spread = (np.arange(count), 0.0) if curliness.free else (lock, 0.35)
        locks = int(of.max()) + 1
        phase = rng.uniform(0, 2 * np.pi, locks)[of] + rng.normal(0, spread, count)
        size = (curliness.radius * rng.uniform(0.7, 1.3, locks))[of] * rng.uniform(0.85, 1.15, count)
        wavelength = (curliness.wavelength * rng.uniform(0.8, 1.25, locks))[of]
        strands = curl(strands, size, wavelength, phase, rng, curliness.flat)
    # A few hairs fly away; they are thin.
    flying = rng.random(len(strands)) < 0.03
    strands = frizz(strands, style.frizz * np.where(flying, 2.0, 1.0) * rng.random(len(strands)), rng)
    if style.keeps_off_face:
        aside = head.off_face(strands, np.sign(second.sides + 1e-9)[:, None] * np.ones(strands.shape[:2]), slack=0.004)
        fringe = (fringe_share(second.rest) > 0.4) & (style.comb == "fringe")
        strands = np.where(fringe[:, None, None], strands, aside)
    if style.tie:
        # Strands that meet at a knot come from all around the head: what cuts across it is lifted onto it.
        half = strands.shape[1] // 2
        late = strands[:, half:].reshape(-1, 3)
        strands[:, half:] = obstacle.push(late, np.full(len(late), 0.001)).reshape(strands[:, half:].shape)
    strands = head.cut_at_face(strands, head.hairline - style.on_forehead)
    radius = style.radius * (0.55 + 0.45 * smoothstep(0.0, 0.35, second.edge)) * np.where(flying, 0.45, 1.0)
    # Temples go grey before the crown; neighbouring hairs are alike.
    grey = spec.hair.grey * (1 + 0.35 * (1 - spec.hair.grey) * np.clip((7.9 - second.rest[:, 1]) / 0.5, -1, 1))
    tint = np.exp(0.09 * waves(second.points, rng, np.array((60.0, 60.0, 60.0))))
    parts = [
        StrandPart(
            name="hair",
            label="hair",
            points=strands,
            radii=taper(len(strands), strands.shape[1], radius, 0.15, rising=True),
            colours=np.clip(strand_colours(spec, len(strands), rng, grey) * tint[:, None], 0.001, 0.9),
            material=Hair(roughness=0.55 if spec.hair.curl > 0.6 else 0.4),
        )
    ]
    if style.tie:
        parts += build_tied(style.tie, spec, head, obstacle, strand_colours(spec, 2600, rng), rng)
    return parts
