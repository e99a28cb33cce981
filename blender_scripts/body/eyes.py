"""Eyeballs: sclera and a recessed iris in vertex colours under a clear cornea, turned to the gaze."""

import math

import numpy as np

from blender_scripts.body.body import Body
from blender_scripts.body.makehuman import find_assets
from blender_scripts.geometry.arrays import Floats, linear, smoothstep
from blender_scripts.geometry.material import Clear, Eye
from blender_scripts.geometry.mesh import sweep, tube
from blender_scripts.geometry.parts import MeshPart
from pipeline.contracts.appearance import IrisSpec
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.randomness import generator_for

IRIS = 0.435
"""Radius of the iris over the eyeball's."""
SIDES = 64


def build_eyes(spec: AvatarSpec, body: Body) -> list[MeshPart]:
    """Two eyeballs, each under a clear wet shell, and the tears along the lower lids."""
    parts = []
    for number, (centre, radius) in enumerate(body.eyes):
        rng = generator_for(spec.seed, number, "eye")
        side = "lr"[number]
        upper, lower = (_lid_edge(side, row, centre, body) for row in (2, 1))
        parts.extend(_eye(side, centre, radius * 0.985, spec, rng, upper))
        parts.append(_tear_line(side, centre, radius, lower))
    return parts


def _lid_edge(side: str, row: int, centre: Floats, body: Body) -> Floats:
    """(12, 3): points along the edge of the lower (row 1) or the upper (2) lid, where its lashes grow."""
    base = find_assets().base
    corners = body.base[base.faces[f"helper-{side}-eyelashes-{row}"]].reshape(-1, 3)
    distance = np.linalg.norm(corners - centre, axis=1)
    near = corners[distance < np.median(distance)]
    bins = np.linspace(near[:, 0].min(), near[:, 0].max(), 13)
    at = np.clip(np.digitize(near[:, 0], bins) - 1, 0, 11)
    path = np.stack([near[at == k].mean(0) for k in range(12) if (at == k).any()])
    for _ in range(2):
        path[1:-1] = 0.5 * path[1:-1] + 0.25 * (path[2:] + path[:-2])
    return np.asarray(path)


def _tear_line(side: str, centre: Floats, radius: float, edge: Floats) -> MeshPart:
    """A thin wet roll where the lower lid meets the eyeball."""
    # On the eyeball, just above the lid's edge.
    direction = edge + np.array((0, 0.0002, 0)) - centre
    path = centre + direction * (radius * 1.003 / np.linalg.norm(direction, axis=1, keepdims=True))
    vertices, quads = tube(path, 0.00042, 8)
    return MeshPart(
        name=f"tear {side}",
        vertices=vertices,
        faces=quads,
        material=Clear(ior=1.33, roughness=0.02),
        label=None,
        colours=np.ones((len(vertices), 3)),
        shadow=False,
    )


def _eye(
    side: str, centre: Floats, radius: float, spec: AvatarSpec, rng: np.random.Generator, lid: Floats
) -> list[MeshPart]:
    """Polar grids about the optical axis, in units of the eyeball's radius."""
    iris = spec.iris
    edge = math.asin(IRIS)
    inner = np.linspace(0.002, edge, 26)
    outer = np.linspace(edge, math.pi * 0.62, 26)[1:]
    polar = np.concatenate((inner, outer))
    azimuth = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    theta, phi = np.meshgrid(polar, azimuth, indexing="ij")
    # The iris is a shallow cone below the cornea: deepest at the pupil.
    depth = np.where(theta < edge, math.cos(edge) - 0.06 * (1 - np.sin(theta) / IRIS), np.cos(theta))
    grid = np.stack((np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), depth), -1)
    turn = _turn(*iris.gaze_deg)
    ball = centre + radius * grid.reshape(-1, 3) @ turn.T
    rho = np.sin(theta) / IRIS * np.where(theta <= edge, 1, 10) + np.where(theta <= edge, 0, 1)
    colours = _paint(rho.reshape(-1), theta.reshape(-1) / edge, phi.reshape(-1), iris, rng)
    colours = colours * _shaded(spec, ball, radius, lid)
    # Bulging before the iris, and a film of tears on the white around it.
    shell_theta = np.concatenate((np.linspace(0.001, edge * 1.35, 18), np.linspace(edge * 1.35, 1.3, 8)[1:]))
    theta, phi = np.meshgrid(shell_theta, azimuth, indexing="ij")
    lift = 1.004 + 0.075 * (1 - smoothstep(0.0, edge * 1.3, theta))
    shell = lift[..., None] * np.stack((np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)), -1)
    cornea = centre + radius * shell.reshape(-1, 3) @ turn.T
    return [
        MeshPart(
            name=f"eyeball {side}", vertices=ball, faces=sweep(grid), material=Eye(), label="eyes", colours=colours
        ),
        MeshPart(
            name=f"cornea {side}",
            vertices=cornea,
            faces=sweep(shell),
            material=Clear(ior=1.376, roughness=0.0),
            label=None,
            colours=np.ones((len(cornea), 3)),
            shadow=False,
        ),
    ]


def _shaded(spec: AvatarSpec, ball: Floats, radius: float, lid: Floats) -> Floats:
    """(vertex, 3): the upper lid's and its lashes' shadow, the reddish inner corner, whites that yellow with age."""
    x = (1.0 if ball[:, 0].mean() > 0 else -1.0) * ball[:, 0]
    order = np.argsort(np.abs(lid[:, 0]))
    inward, height = np.abs(lid[order, 0]), np.interp(x, np.abs(lid[order, 0]), lid[order, 1])
    below = (height - ball[:, 1]) / radius
    shadow = 0.42 * np.exp(-0.5 * (np.maximum(below, 0) / 0.13) ** 2)
    corner = smoothstep(0.24, 0.02, (x - inward[0]) / radius)
    outer = smoothstep(0.22, 0.0, (inward[-1] - x) / radius)
    tint = 1 - shadow[:, None] * np.array((0.92, 1.0, 1.0)) - corner[:, None] * np.array((0.08, 0.34, 0.32))
    tint -= outer[:, None] * np.array((0.08, 0.14, 0.14))
    aged = smoothstep(30, 85, np.asarray(spec.age_years)) + 0.5 * spec.skin.melanin
    return np.asarray(np.clip(tint, 0.05, 1) * (1 - aged * np.array((0.05, 0.09, 0.17))))


def _paint(rho: Floats, reach: Floats, phi: Floats, iris: IrisSpec, rng: np.random.Generator) -> Floats:
    """Linear colours: pupil, iris with fibres and a dark limbal ring, sclera that reddens to the back."""
    stops = np.array((0.0, 0.3, 0.55, 0.8, 1.0))
    tones = linear(
        np.array(((0.40, 0.53, 0.66), (0.42, 0.50, 0.40), (0.50, 0.39, 0.22), (0.37, 0.22, 0.12), (0.24, 0.14, 0.09)))
    )
    tone = np.stack([np.interp(iris.melanin, stops, tones[:, c]) for c in range(3)])
    fibres = sum(
        (np.sin(phi * rng.integers(8, 34) + rng.uniform(0, 6.3) + 2.5 * rho * rng.normal()) for _ in range(8)),
        np.zeros_like(phi),
    )
    bright = 1 + 0.11 * fibres
    collar = np.exp(-(((rho - iris.pupil - 0.14) / 0.12) ** 2))
    colour = 0.72 * tone * bright[:, None] * (1 + 0.45 * collar[:, None] * np.array((1.2, 1.0, 0.6)))
    colour = colour * (1 - 0.8 * smoothstep(0.74, 0.97, rho))[:, None]
    colour = colour * smoothstep(iris.pupil - 0.03, iris.pupil + 0.05, rho)[:, None] + 0.004
    white = linear(np.array((0.79, 0.765, 0.75)))
    red = smoothstep(1.2, 2.9, reach)[:, None]
    veins = smoothstep(0.9, 1.6, np.sin(phi * 9 + 3 * np.sin(reach * 5)) + 0.7 * np.sin(phi * 17 + 4 * reach))
    sclera = white * (1 - red * np.array((0.12, 0.38, 0.4))) * (1 - 0.12 * veins[:, None] * np.array((0, 1, 1)))
    out = smoothstep(0.97, 1.10, reach)[:, None]
    return np.asarray(np.clip(colour * (1 - out) + sclera * out, 0.002, 1))


def _turn(yaw_deg: float, pitch_deg: float) -> Floats:
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    about_y = np.array(((cy, 0, sy), (0, 1, 0), (-sy, 0, cy)))
    about_x = np.array(((1, 0, 0), (0, cp, sp), (0, -sp, cp)))
    return np.asarray(about_y @ about_x)
