import math

import torch

from rodin_models.field import rays as R


def _camera():
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    matrix[:3, 3] = torch.tensor([0.0, 0.0, 4.0])
    return matrix, torch.tensor([100.0, 100.0, 32.0, 32.0])


def test_pixel_rays_by_hand():
    matrix, pinhole = _camera()
    one = R.pixel_rays(matrix[None], pinhole[None], torch.tensor([0]), torch.tensor([40]), torch.tensor([20]))
    # Pixel centre (40.5, 20.5) is 8.5 to the right and 11.5 above the axis; this camera's down is -y.
    expected = torch.tensor([8.5 / 100, 11.5 / 100, -1.0])
    assert torch.allclose(one.directions[0], expected / expected.norm(), atol=1e-6)
    assert torch.allclose(one.origins[0], torch.tensor([0.0, 0.0, 4.0]))
    assert math.isclose(float(one.cosines[0]), 1 / float(expected.norm()), rel_tol=1e-6)


def test_image_rays_run_row_by_row_and_project_back():
    matrix, pinhole = _camera()
    height, width = 6, 5
    seen = R.image_rays(matrix, pinhole, height, width)
    depth = torch.linspace(1, 3, height * width)
    points = seen.origins + seen.directions * (depth / seen.cosines)[:, None]
    camera = (points - matrix[:3, 3]) @ matrix[:3, :3]
    assert torch.allclose(camera[:, 2], depth, atol=1e-5)
    column, row = camera[:, 0] / depth * 100 + 32, camera[:, 1] / depth * 100 + 32
    pixel = torch.arange(height * width)
    assert torch.allclose(column, pixel % width + 0.5, atol=1e-4)
    assert torch.allclose(row, pixel // width + 0.5, atol=1e-4)


def test_cube_intersection():
    origins = torch.tensor([[0.0, 0, 4], [0, 0, 4], [3, 0, 4], [0, 0, 0], [0, 0, 4]])
    directions = torch.tensor([[0.0, 0, -1], [0, 0, 1], [0, 0, -1], [0, 1, 0], [0.6, 0, -0.8]])
    near, far = R.intersect_box(R.Rays(origins, directions, torch.ones(5)), -torch.ones(3), torch.ones(3))
    # Straight through; behind; beside; from inside; slanted, passing x = 2.25 at z = 1.
    assert torch.allclose(near[[0, 3]], torch.tensor([3.0, 0.0]))
    assert torch.allclose(far[[0, 3]], torch.tensor([5.0, 1.0]))
    assert torch.equal(near[[1, 2, 4]], far[[1, 2, 4]])
