"""A scene with an exact picture: a textured ellipsoid, its edges antialiased by supersampling. numpy only."""

import math

import numpy as np
import torch

from rodin_models.fit.views import Views

CENTRE = np.array([0.1, -0.05, 0.15])
AXES = np.array([0.45, 0.65, 0.35])


def colour(points):
    """Straight colour of surface points."""
    waves = np.stack(
        [np.sin(points @ np.array(k) + p) for k, p in (((9, 2, 0), 0), ((0, 8, 3), 1), ((4, 0, 9), 2))], -1
    )
    return 0.5 + 0.35 * waves


def contains(points):
    """Which points lie inside the ellipsoid."""
    return (((points - CENTRE) / AXES) ** 2).sum(-1) <= 1


def look_at_origin(azimuth_deg, elevation_deg, distance):
    """OpenCV cam2world of a camera on a sphere; azimuth 0 stands on +z."""
    a, e = math.radians(azimuth_deg), math.radians(elevation_deg)
    position = distance * np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    forward = -position / np.linalg.norm(position)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2], matrix[:3, 3] = right, np.cross(forward, right), forward, position
    return matrix


def photograph(cam2world, focal, size, supersampling=4):
    """RGBA in [0, 1] with straight alpha, from exact ray-ellipsoid intersections."""
    fine = size * supersampling
    place = (np.arange(fine) + 0.5) / supersampling - size / 2
    column, row = np.meshgrid(place, place)
    directions = np.stack((column / focal, row / focal, np.ones_like(row)), -1) @ cam2world[:3, :3].T
    origin, slope = (cam2world[:3, 3] - CENTRE) / AXES, directions / AXES
    a, b, c = (slope**2).sum(-1), (slope * origin).sum(-1), (origin**2).sum() - 1
    root = b * b - a * c
    hit = root > 0
    depth = (-b - np.sqrt(np.where(hit, root, 0))) / a
    rgb = np.where(hit[..., None], colour(cam2world[:3, 3] + depth[..., None] * directions), 0)
    premultiplied = np.concatenate((rgb, hit[..., None]), -1)
    shape = (size, supersampling, size, supersampling, 4)
    mean = premultiplied.reshape(shape).mean((1, 3))
    mean[..., :3] /= np.maximum(mean[..., 3:], 1e-9)
    return mean


def z_depth(cam2world, focal, size):
    """z-depth of the surface at pixel centres, 0 beside it."""
    place = np.arange(size) + 0.5 - size / 2
    column, row = np.meshgrid(place, place)
    directions = np.stack((column / focal, row / focal, np.ones_like(row)), -1) @ cam2world[:3, :3].T
    origin, slope = (cam2world[:3, 3] - CENTRE) / AXES, directions / AXES
    a, b, c = (slope**2).sum(-1), (slope * origin).sum(-1), (origin**2).sum() - 1
    root = b * b - a * c
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, 0)


def make_views(num_views, size=48, *, seed=0, bits=8, depth=False):
    """Photographs from all around, at distance 4 with a field of view of 30 degrees."""
    generator = np.random.default_rng(seed)
    focal = size / 2 / math.tan(math.radians(15))
    matrices = [
        look_at_origin(360 * (i + generator.random()) / num_views, generator.uniform(-30, 50), 4.0)
        for i in range(num_views)
    ]
    rgba = torch.from_numpy(np.stack([photograph(m, focal, size) for m in matrices])).float()
    return Views(
        rgba=(rgba * 255).round().to(torch.uint8) if bits == 8 else rgba,
        cam2world=torch.from_numpy(np.stack(matrices)).float(),
        intrinsics=torch.tensor([[focal, focal, size / 2, size / 2]]).expand(num_views, 4).contiguous(),
        depth=torch.from_numpy(np.stack([z_depth(m, focal, size) for m in matrices])).float() if depth else None,
    )
