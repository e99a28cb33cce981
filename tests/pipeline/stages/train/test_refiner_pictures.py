"""What the refiner learns from: pictures of fitted planes, and of planes as soft as generated ones."""

import numpy as np
import pytest
import torch

from pipeline.stages.train.recipes import make_recipe

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")
PLACES = np.array([[0, 0], [1, 2], [2, 1], [0, 1]])


def recipe_of(made, folder, *settings):
    return make_recipe("refiner", made.copy_to(folder, "refiner", settings=settings).run, CPU)


def test_a_share_of_the_pictures_is_of_base_planes(made, tmp_path):
    """None, some or all of the same pictures, and each is the one or the other."""
    fitted, some, soft = (
        recipe_of(made, tmp_path / str(share), f"refiner.from_base={share}").load(PLACES) for share in (0.0, 0.5, 1.0)
    )
    assert fitted["target"].equal(some["target"]) and fitted["target"].equal(soft["target"])
    same = [[a.equal(b) for a, b in zip(some["rendered"], of["rendered"], strict=True)] for of in (fitted, soft)]
    assert [is_fitted != is_soft for is_fitted, is_soft in zip(*same, strict=True)] == [True] * len(PLACES)
    assert any(same[0]) and any(same[1])


def test_soft_planes_are_base_planes_enlarged_with_mean_detail(made, tmp_path):
    """Of the avatar's own planes their detail differs from the mean detail, and nothing else; so on average nothing."""
    recipe = recipe_of(made, tmp_path / "run", "refiner.from_base=1.0", "refiner.blend=0.0")
    rest = [recipe.data.read([row], "planes")[0] - recipe._softened(row, 0) for row in range(recipe.data.rows)]
    assert max(float(planes.abs().max()) for planes in rest) > 0.01
    assert torch.stack(rest).mean(0).abs().max() < 1e-5


def test_blended_planes_lie_between_two_avatars(made, tmp_path):
    blend = 0.4
    plain = recipe_of(made, tmp_path / "plain", "refiner.from_base=1.0", "refiner.blend=0.0")
    blended = recipe_of(made, tmp_path / "blended", "refiner.from_base=1.0", f"refiner.blend={blend}")
    own = [plain._softened(row, 0) for row in range(plain.data.rows)]
    for row in range(plain.data.rows):
        moved = blended._softened(row, 0) - own[row]
        assert moved.equal(blended._softened(row, 0) - own[row]), "the same picture comes back"
        # (other - own) w with one w in [0, blend) for all texels, of one of the avatars
        weights = [
            float((moved * (other - own[row])).sum() / (other - own[row]).square().sum().clamp(min=1e-9))
            for other in own
        ]
        errors = [float((moved - w * (other - own[row])).abs().max()) for w, other in zip(weights, own, strict=True)]
        best = int(np.argmin(errors))
        assert errors[best] < 1e-4 and -1e-6 <= weights[best] < blend
