"""Hair of the head as strands: guides grown over the scalp by a style's combing, children between them.

The scalp is drawn on the base shape (decimetres) in polar angles about the head's middle; combing and lengths are in
metres on the avatar's own head.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.body.makehuman import Floats
from blender_scripts.body.obstacle import Obstacle
from blender_scripts.geometry.mesh import waves
from blender_scripts.geometry.parts import StrandPart, linear, smoothstep
from blender_scripts.geometry.strand import at_places, between_guides, clump, curl, frizz, scatter, taper
from blender_scripts.hair.growth import Grower
from blender_scripts.hair.style import STYLES, Head, fringe_share
from blender_scripts.hair.tied import build_tied
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

HAIRLINE = (
    (0, 8.03), (18, 8.06), (32, 8.08), (44, 7.92), (52, 7.66), (62, 7.52), (70, 7.40), (78, 7.12), (88, 7.10),
    (94, 7.36), (108, 7.40), (118, 7.12), (128, 6.88), (150, 6.66), (180, 6.62),
)  # fmt: skip
"""Lower border of the scalp: degrees from the front about (0, 0.5) in x and z, height in decimetres."""
STOPS = (0.0, 0.3, 0.55, 0.8, 1.0)
BROWN = ((0.80, 0.66, 0.44), (0.62, 0.46, 0.28), (0.36, 0.235, 0.145), (0.17, 0.105, 0.07), (0.06, 0.05, 0.045))
RED = ((0.84, 0.52, 0.28), (0.66, 0.32, 0.14), (0.46, 0.19, 0.09), (0.20, 0.09, 0.06), (0.06, 0.045, 0.042))
GREY = (0.76, 0.735, 0.70)


def pigment(spec: AvatarSpec) -> Floats:
    """Linear colour of the hairs that are not grey."""
    hair = spec.hair
    brown = [np.interp(hair.melanin, STOPS, linear(np.asarray(BROWN))[:, c]) for c in range(3)]
    red = [np.interp(hair.melanin, STOPS, linear(np.asarray(RED))[:, c]) for c in range(3)]
    share = 0.25 * hair.redness if hair.redness < 0.5 else 0.5 + 0.5 * hair.redness
    return (1 - share) * np.asarray(brown) + share * np.asarray(red)


def hair_colour(spec: AvatarSpec) -> Floats:
    """Linear mean colour, grey hairs included."""
    return (1 - spec.hair.grey) * pigment(spec) + spec.hair.grey * linear(np.asarray(GREY))


def strand_colours(
    spec: AvatarSpec, count: int, rng: np.random.Generator, grey: float | Floats | None = None
) -> Floats:
    """A colour for each of ``count`` strands: some grey, all slightly different."""
    share = np.reshape(spec.hair.grey if grey is None else grey, (-1, 1))
    base = pigment(spec) * np.exp(rng.normal(0, 0.16, (count, 1)))
    white = linear(np.asarray(GREY)) * np.exp(rng.normal(0, 0.16, (count, 1)))
    # Between black and white lies a mixture of hairs, each of which is only somewhat between.
    amount = smoothstep(-0.15, 0.15, share - rng.random((count, 1)) * 0.9 - 0.05)
    return np.asarray(np.clip((1 - amount) * base + amount * white, 0.001, 0.9))


def scalp_field(spec: AvatarSpec, body: Body) -> Floats:
    """Signed height above the hairline at every vertex, in decimetres: above 0 hair grows."""
    rest, rng = body.topology.rest, generator_for(spec.seed, 0, "hairline")
    degrees = np.degrees(np.arctan2(np.abs(rest[:, 0]), rest[:, 2] - 0.5))
    angles, heights = np.asarray(HAIRLINE).T
    line = np.interp(degrees, angles, heights)
    # Lower on the forehead of women and children.
    manly = spec.gender * float(smoothstep(10, 18, np.asarray(spec.age_years)))
    line = line - (0.13 - 0.07 * manly) * np.exp(-((degrees / 50) ** 2))
    loss = spec.hair.recession if spec.hair.style != "afro" else 0.35 * spec.hair.recession
    line = line + loss * (0.45 * np.exp(-(((degrees - 34) / 16) ** 2)) + 0.22 * np.exp(-((degrees / 22) ** 2)))
    # Only near the line does it matter how ragged it is.
    near = np.flatnonzero((np.abs(rest[:, 1] - line) < 0.5) & (rest[:, 1] > 6.3))
    line[near] += 0.03 * waves(rest[near], rng, np.full(3, 2.5)) + 0.03 * waves(rest[near], rng, np.full(3, 1.0))
    field = rest[:, 1] - line
    return np.where((body.topology.masks["ears"] > 0.35) | (rest[:, 1] < 6.4), -1.0, field)


def scalp_density(spec: AvatarSpec, body: Body) -> Floats:
    """How densely hair grows, 0..1: thinning at the hairline and, with age, at the crown."""
    if spec.hair.style == "bald":
        # The shaved or lost hair's ring still shows as a faint shadow.
        return 0.10 * smoothstep(-0.05, 0.25, scalp_field(spec, body)) * (1 - spec.hair.grey)
    field, rest = scalp_field(spec, body), body.topology.rest
    if spec.hair.style == "balding":
        # A ring above the ears, lowest in front: nothing above a line that rises to the back and dips again behind.
        ring = 7.90 - 0.12 * spec.hair.recession + 0.10 * (spec.hair.length - 0.5) - 0.22 * rest[:, 2]
        ring = ring + 0.03 * waves(rest, generator_for(spec.seed, 0, "balding ring"), np.full(3, 1.2))
        sides = smoothstep(0.16, -0.22, rest[:, 1] - ring) * smoothstep(1.05, 0.70, rest[:, 2])
        return np.asarray(smoothstep(-0.06, 0.30, field) * sides)
    crown = np.exp(-(((rest[:, 0] / 0.45) ** 2 + ((rest[:, 2] - 0.25) / 0.5) ** 2) / 2)) * smoothstep(
        8.0, 8.3, rest[:, 1]
    )
    soft = 0.45 if spec.hair.style == "buzz" else 0.24
    return np.asarray(smoothstep(-0.06, soft, field) * (1 - np.clip(1.3 * spec.hair.recession - 0.35, 0, 0.85) * crown))


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
            "hair",
            "hair",
            strands,
            taper(len(strands), strands.shape[1], radius, 0.15, rising=True),
            np.clip(strand_colours(spec, len(strands), rng, grey) * tint[:, None], 0.001, 0.9),
            settings={"roughness": 0.55 if spec.hair.curl > 0.6 else 0.4},
        )
    ]
    if style.tie:
        parts += build_tied(style.tie, spec, head, obstacle, strand_colours(spec, 2600, rng), rng)
    return parts
