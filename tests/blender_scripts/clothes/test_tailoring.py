"""Threads keep their spacing on every slope, panels meet at their seams, folds stay within their height."""

from dataclasses import replace
from functools import cache

import numpy as np

from blender_scripts.body.body import topology
from blender_scripts.clothes.collar import lay_on
from blender_scripts.clothes.tailoring import FAR_M, Hang, armhole_m, folds_m, panels, raglan_m, refine, seams_m


@cache
def rest() -> np.ndarray:
    """Vertices of the body at rest."""
    return topology(2).rest


@cache
def chest() -> np.ndarray:
    """Which of them are of the chest."""
    return (rest()[:, 1] > 4.6) & (rest()[:, 1] < 5.7) & (np.abs(rest()[:, 0]) < 1.3)


def test_refining_is_the_second_subdivision() -> None:
    np.testing.assert_allclose(refine() @ topology(1).rest, rest(), atol=1e-9)


def test_threads_are_evenly_spaced_along_the_cloth() -> None:
    """Along edges the two coordinates change by nearly the edge's length: one metre of cloth is one metre of thread."""
    triangles = topology(2).triangles
    triangles = triangles[chest()[triangles].all(1)]
    i, j = triangles[:, 0], triangles[:, 1]
    length = 0.1 * np.linalg.norm(rest()[j] - rest()[i], axis=1)
    moved = np.linalg.norm((panels().torso[j] - panels().torso[i])[:, :2], axis=1)
    assert abs(np.median(moved / length) - 1) < 0.05
    assert np.quantile(np.abs(moved / length - 1), 0.8) < 0.35


def test_patterns_are_symmetric_and_sleeves_lie_outside() -> None:
    left, right = (chest() & (sign * rest()[:, 0] > 0.1) for sign in (1, -1))
    assert abs(panels().torso[left, 0].mean() + panels().torso[right, 0].mean()) < 0.004
    for seam in (armhole_m, raglan_m):
        assert (seam(rest()[np.abs(rest()[:, 0]) < 0.6]) < 0).all() and (
            seam(rest()[np.abs(rest()[:, 0]) > 1.8]) > 0
        ).all()
    kept = chest() & (rest()[:, 2] > 0.4)
    assert (seams_m(rest()[kept], armhole_m(rest()[kept]), yoke=True, shoulder=True)[:, 2] == FAR_M).all(), (
        "a yoke is behind"
    )


def test_folds_are_bounded_differ_by_seed_and_vanish_with_their_height() -> None:
    points, normals = rest()[chest()], topology(2).rest_normals[chest()]
    hang = Hang(width=0.2, height_m=0.005, count=1.0)
    heights = [folds_m(points, normals, hang, np.random.default_rng(seed)) for seed in (1, 2)]
    assert all(0.001 < np.abs(height).max() <= 0.005 for height in heights)
    assert np.abs(heights[0] - heights[1]).max() > 0.001
    assert not folds_m(points, normals, replace(hang, height_m=0.0), np.random.default_rng(1)).any()


def test_what_is_laid_on_cloth_is_above_it_and_what_was_above_stays() -> None:
    x, z = np.meshgrid(np.linspace(-0.1, 0.1, 40), np.linspace(-0.1, 0.1, 40))
    plane = np.stack((x, 0 * x, z), -1).reshape(-1, 3)
    cloth = (plane, np.tile((0.0, 1.0, 0.0), (len(plane), 1)))
    points = np.array(((0.01, -0.02, 0.0), (0.02, 0.001, 0.03), (0.0, 0.05, 0.0)))
    np.testing.assert_allclose(lay_on(points, cloth, 0.004)[:, 1], (0.004, 0.004, 0.05), atol=1e-9)
    np.testing.assert_allclose(lay_on(points, cloth, -1.0), points)
