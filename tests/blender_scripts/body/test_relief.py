"""Folds and lines come with age and with expressions; on both sides alike, and never on a child's calm face."""

import numpy as np

from blender_scripts.body.body import topology
from blender_scripts.body.relief import fold_height, moved
from blender_scripts.body.skin_line import lines, noise
from pipeline.contracts.avatar import AvatarSpec
from pipeline.people.draw import draw_avatar


def aged(years: float, wrinkles: float, expression: str = "neutral") -> AvatarSpec:
    spec = draw_avatar(0, 4)
    skin = spec.skin.model_copy(update={"wrinkles": wrinkles})
    changes = {"age_years": years, "skin": skin, "expression": expression, "second_expression": None}
    return spec.model_copy(update=changes)


def folds(spec: AvatarSpec) -> np.ndarray:
    shared = topology()
    return np.abs(fold_height(spec, shared.rest, np.zeros(len(shared.rest))))


def test_folds_deepen_with_age_and_smile_and_stay_off_children() -> None:
    child, grown, smiling, old = (
        folds(aged(*how)).max() for how in ((8, 0.0), (30, 0.0), (30, 0.0, "smile"), (80, 1.0))
    )
    assert child < 1e-6 < 1e-4 < grown < smiling and grown < old < 0.002


def test_expressions_draw_lines_where_they_fold_the_skin() -> None:
    rest = topology().rest
    forehead = (np.abs(rest[:, 0]) < 0.3) & (rest[:, 1] > 7.7) & (rest[:, 1] < 7.9) & (rest[:, 2] > 0.9)
    depths = [lines(aged(30, 0.1, name), rest)[1] for name in ("neutral", "surprised", "angry")]
    assert all(depth.min() >= 0 and depth.max() <= 1 for depth in depths)
    calm, surprised, angry = (depth[forehead].mean() for depth in depths)
    assert surprised > 3 * calm and angry < surprised
    assert lines(aged(8, 0.0), rest)[1].max() < 0.02
    assert moved(aged(30, 0.0, "angry")).frown > moved(aged(30, 0.0)).frown == 0
    assert moved(aged(30, 0.0, "tired")).weary == 1 > moved(aged(30, 0.0, "angry")).weary == 0


def test_noise_has_unit_variance_and_differs_by_generator() -> None:
    first, second = (noise(np.random.Generator(np.random.PCG64(seed)), "slow") for seed in (1, 2))
    assert 0.6 < first.std() < 1.5 and abs(np.corrcoef(first, second)[0, 1]) < 0.98
    np.testing.assert_array_equal(first, noise(np.random.Generator(np.random.PCG64(1)), "slow"))
