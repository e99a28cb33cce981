"""Pictures changed as a camera would: what stays, what changes, and by how much."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from rodin_models.image.augment import Augmentation, augment, blur, jpeg

STILL = Augmentation(zoom=0.0)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _person(count: int = 4, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """A grey square over white, and its alpha."""
    alpha = torch.zeros(count, 1, side, side)
    alpha[..., side // 4 : -side // 4, side // 4 : -side // 4] = 1
    return (0.4 * alpha + 1 - alpha).expand(-1, 3, -1, -1).contiguous(), alpha


def test_augmentation_keeps_white_and_shape_and_draws_from_its_generator() -> None:
    rgb = torch.rand(4, 3, 16, 16, generator=_generator())
    first = augment(rgb, _generator(1)).rgb
    assert first.shape == rgb.shape
    assert torch.equal(first, augment(rgb, _generator(1)).rgb)
    assert not torch.allclose(first, augment(rgb, _generator(2)).rgb)
    assert torch.allclose(augment(torch.ones(2, 3, 8, 8), _generator()).rgb, torch.ones(2, 3, 8, 8))
    still, is_mirrored = augment(rgb, _generator(3), STILL)
    flips = [torch.allclose(m, r.flip(-1), atol=1e-5) for m, r in zip(still, rgb, strict=True)]
    same = [torch.allclose(m, r, atol=1e-5) for m, r in zip(still, rgb, strict=True)]
    assert all(f != s for f, s in zip(flips, same, strict=True)) and any(flips) and any(same)
    assert is_mirrored.tolist() == flips


@pytest.mark.parametrize("name", ["exposure", "white_balance", "gamma", "contrast"])
def test_light_changes_the_person_and_not_the_white_behind(name: str) -> None:
    rgb, alpha = _person()
    lit = augment(rgb, _generator(1), Augmentation(zoom=0.0, **{name: 0.5}), alpha).rgb
    assert torch.allclose(lit.where(alpha == 0, torch.ones(())), torch.ones(()), atol=1e-5)
    assert ((lit - rgb).abs().amax(1, keepdim=True)[alpha == 1] > 1e-5).all()
    assert len({round(float(picture[0, 8, 8]), 4) for picture in lit}) == 4
    if name != "white_balance":
        assert torch.allclose(lit[:, :1].expand_as(lit), lit, atol=1e-5)


def test_exposure_stays_within_its_stops() -> None:
    rgb, alpha = _person(200)
    grey = augment(rgb, _generator(), Augmentation(zoom=0.0, exposure=0.5), alpha).rgb[:, 0, 8, 8]
    stops = (grey / 0.4).log2()
    assert -0.5 <= stops.min() < -0.45 and 0.45 < stops.max() <= 0.5


def test_a_share_of_the_backgrounds_is_coloured_and_persons_are_not() -> None:
    rgb, alpha = _person(200)
    seen = augment(rgb, _generator(), Augmentation(zoom=0.0, background=0.7), alpha).rgb
    assert torch.allclose(seen[:, :, 5:-5, 5:-5], rgb[:, :, 5:-5, 5:-5], atol=1e-5)
    corners = seen[:, :, 0, 0]
    is_coloured = (corners < 0.999).any(1)
    assert 0.6 < is_coloured.float().mean() < 0.8
    is_plain = torch.isclose(seen[:, :, 0, 0], seen[:, :, -1, -1], atol=1e-4).all(1)
    assert is_plain[is_coloured].any() and not is_plain[is_coloured].all()


def test_framing_moves_scales_and_turns_the_person_over_white() -> None:
    rgb, alpha = _person(100, 32)
    area = (1 - rgb[:, 0]).sum((1, 2))
    turned = augment(rgb, _generator(), Augmentation(zoom=0.0, rotation_deg=45.0)).rgb
    assert torch.allclose((1 - turned[:, 0]).sum((1, 2)), area, rtol=0.02)
    assert (turned - rgb).abs().amax((1, 2, 3)).max() > 0.3
    scaled = (1 - augment(rgb, _generator(), Augmentation(zoom=0.0, scale=0.2)).rgb[:, 0]).sum((1, 2)) / area
    assert 1 / 1.2**2 - 0.02 < scaled.min() < 0.75 and 1.35 < scaled.max() < 1.2**2 + 0.02
    moved = augment(rgb, _generator(), Augmentation(zoom=0.0, shift=0.25)).rgb
    assert torch.allclose((1 - moved[:, 0]).sum((1, 2)), area, rtol=1e-3)
    columns = (1 - moved[:, 0]).sum(1) @ torch.arange(32.0) / area - 15.5
    assert 3 < columns.abs().max() <= 4.01
    assert alpha.shape == (100, 1, 32, 32)


def test_blur_has_the_variance_asked_for_and_keeps_what_is_even() -> None:
    point = torch.zeros(2, 1, 33, 33)
    point[:, 0, 16, 16] = 1
    out = blur(point, torch.tensor([0.0, 2.0]))
    assert torch.allclose(out[0], point[0], atol=1e-6)
    variance = out[1, 0].sum(0) @ (torch.arange(33.0) - 16) ** 2
    assert float(variance) == pytest.approx(4.0, rel=0.03)
    assert torch.allclose(blur(torch.full((1, 3, 9, 9), 0.3), torch.tensor([2.0])), torch.tensor(0.3), atol=1e-6)


def test_jpeg_does_what_pillow_does_at_the_same_quality() -> None:
    coarse = torch.rand(1, 3, 5, 5, generator=_generator())
    rgb = torch.nn.functional.interpolate(coarse, (44, 44), mode="bicubic").clamp(0, 1)
    rgb = (rgb * 255).round() / 255
    stored = io.BytesIO()
    pixels = (rgb[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    Image.fromarray(pixels).save(stored, "JPEG", quality=50, subsampling=0)
    theirs = torch.from_numpy(np.array(Image.open(stored))).permute(2, 0, 1) / 255
    ours = jpeg(rgb, torch.tensor([1.0]))[0]
    assert (ours - theirs).abs().mean() < 0.3 * (ours - rgb[0]).abs().mean()
    assert torch.allclose(jpeg(rgb, torch.tensor([0.0])), rgb, atol=1e-4)
    assert (jpeg(rgb, torch.tensor([3.0])) - rgb).square().mean() > (ours - rgb[0]).square().mean()


def test_everything_at_once_stays_in_range_and_is_drawn_from_its_generator() -> None:
    rgb, alpha = _person()
    all_of_it = Augmentation(0.25, 0.7, 0.3, 0.3, 0.2, 0.1, 0.15, 8.0, 0.7, 1.0, 1.0)
    seen = augment(rgb, _generator(1), all_of_it, alpha).rgb
    assert seen.shape == rgb.shape and seen.min() >= 0 and seen.max() <= 1
    assert torch.equal(seen, augment(rgb, _generator(1), all_of_it, alpha).rgb)
    assert not torch.allclose(seen, augment(rgb, _generator(2), all_of_it, alpha).rgb)


def test_wrong_ranges_and_missing_alpha_are_told() -> None:
    with pytest.raises(ValueError, match=r"contrast 1\.0 is outside \[0, 1\)"):
        Augmentation(contrast=1.0)
    with pytest.raises(ValueError, match=r"blur -1\.0 is outside"):
        Augmentation(blur=-1.0)
    rgb, _ = _person()
    with pytest.raises(ValueError, match="there is none"):
        augment(rgb, _generator(), Augmentation(background=1.0))
