import math

import pytest
import torch

from rodin_models.image.metrics import fid, kid, psnr, psnr_masked, ssim


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _with_moments(count: int, mean: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Samples whose own mean and unbiased covariance are exactly these."""
    x = torch.randn(count, len(mean), generator=_generator(1), dtype=torch.float64)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def test_psnr_of_a_known_error() -> None:
    truth = torch.rand(2, 3, 8, 8, generator=_generator())
    assert psnr(truth + 0.1, truth) == pytest.approx([20.0, 20.0], abs=1e-4)  # -10 log10(0.1^2)
    assert psnr(truth, truth).tolist() == [math.inf, math.inf]
    assert psnr(truth[0] + 0.01, truth[0]).item() == pytest.approx(40.0, abs=1e-3)


def test_psnr_masked_sees_the_mask_only() -> None:
    truth = torch.zeros(1, 3, 4, 4)
    image = truth.clone()
    image[..., :2, :] = 0.1  # half the pixels
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :2, :] = True
    assert psnr_masked(image, truth, mask).item() == pytest.approx(20.0, abs=1e-4)
    assert psnr(image, truth).item() == pytest.approx(20.0 + 10 * math.log10(2), abs=1e-4)
    assert psnr_masked(image, truth, ~mask).item() == math.inf
    assert math.isnan(psnr_masked(image, truth, torch.zeros_like(mask)).item())
    assert torch.equal(psnr_masked(image, truth, torch.ones_like(mask)), psnr(image, truth))


def test_ssim_of_constant_images() -> None:
    a, b = torch.full((2, 3, 32, 32), 0.25), torch.full((2, 3, 32, 32), 0.75)
    luminance = (2 * 0.25 * 0.75 + 0.01**2) / (0.25**2 + 0.75**2 + 0.01**2)  # Wang et al. 2004, equation 6
    assert ssim(a, b) == pytest.approx([luminance, luminance], abs=1e-5)
    image = torch.rand(2, 3, 32, 32, generator=_generator())
    assert ssim(image, image) == pytest.approx([1.0, 1.0], abs=1e-6)


def test_ssim_is_that_of_a_square_window() -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    truth = torch.rand(3, 3, 24, 40, generator=_generator(), dtype=torch.float64)
    image = (truth + 0.2 * torch.randn(truth.shape, generator=_generator(1), dtype=torch.float64)).clamp(0, 1)
    plain = structural_similarity_index_measure(image, truth, data_range=1.0, reduction="none")
    assert ssim(image, truth) == pytest.approx(plain.reshape(-1), abs=1e-9)
    smooth = truth.mean((2, 3), keepdim=True).expand_as(truth)
    assert (ssim(smooth, truth) < ssim(image, truth)).all()


def test_fid_of_gaussians_in_closed_form() -> None:
    dim = 5
    zero, shift = torch.zeros(dim, dtype=torch.float64), torch.arange(dim, dtype=torch.float64)
    first = _with_moments(40, zero, torch.eye(dim, dtype=torch.float64))
    second = _with_moments(60, shift, 4 * torch.eye(dim, dtype=torch.float64))
    # |shift|^2 = 0 + 1 + 4 + 9 + 16 = 30; tr(I + 4 I - 2 * 2 I) = 5
    assert fid(first, second).value == pytest.approx(35.0, abs=1e-9)


def test_fid_agrees_with_the_matrix_root() -> None:
    generator = _generator()
    real, generated = (
        torch.randn(n, 6, generator=generator) @ torch.randn(6, 6, generator=generator) for n in (30, 50)
    )
    s_r, s_g = torch.cov(real.double().T), torch.cov(generated.double().T)
    values, vectors = torch.linalg.eigh(s_r)
    half = vectors @ torch.diag(values.sqrt()) @ vectors.T
    root = torch.linalg.eigvalsh(half @ s_g @ half).sqrt().sum()
    shift = (real.double().mean(0) - generated.double().mean(0)).square().sum()
    expected = (shift + s_r.trace() + s_g.trace() - 2 * root).item()
    assert fid(real, generated).value == pytest.approx(expected, rel=1e-9)


def test_fid_is_a_distance_and_counts() -> None:
    generator = _generator()
    real, generated = (torch.randn(n, 6, generator=generator) for n in (20, 30))
    result = fid(real, generated)
    assert fid(real, real).value == pytest.approx(0.0, abs=1e-9)
    assert fid(generated, real).value == pytest.approx(result.value, rel=1e-12)
    assert (result.num_real, result.num_generated, result.num_features, result.withheld) == (20, 30, 6, "")


def test_fid_is_withheld_below_as_many_images_as_features() -> None:
    result = fid(torch.randn(100, 64, generator=_generator()), torch.randn(6, 64, generator=_generator()))
    assert result.value is None
    assert result.withheld == "6 images < 64 features"
    enough = torch.randn(64, 64, generator=_generator())
    assert fid(enough, enough + 1).value == pytest.approx(64.0, rel=1e-6)


def test_kid_of_two_points_each() -> None:
    x = torch.tensor([[1.0], [2.0]])
    y = torch.tensor([[0.0], [-1.0]])
    # k(a, b) = (a b + 1)^3: within x k(1, 2) = 27; within y k(0, -1) = 1; across k = 1, 0, 1, -1, mean 1/4.
    result = kid(x, y, num_subsets=5, subset_size=10, generator=_generator())
    assert result.value == pytest.approx(27 + 1 - 2 * 0.25)
    assert result.deviation is None


def test_kid_subsets_average_to_the_whole() -> None:
    generator = _generator()
    real, generated = torch.randn(60, 4, generator=generator), torch.randn(40, 4, generator=generator) + 0.5
    whole = kid(real, generated, num_subsets=1, subset_size=60, generator=_generator())
    parts = kid(real, generated, num_subsets=400, subset_size=20, generator=_generator())
    assert whole.value is not None and parts.value is not None and parts.deviation is not None
    assert abs(parts.value - whole.value) < 4 * parts.deviation / math.sqrt(400)
    again = kid(real, generated, num_subsets=400, subset_size=20, generator=_generator())
    assert again == parts
    swapped = kid(generated, real, num_subsets=1, subset_size=60, generator=_generator())
    assert swapped.value == pytest.approx(whole.value)


def test_kid_is_unbiased_about_zero_for_equal_distributions() -> None:
    generator = _generator()
    estimates = [
        kid(
            torch.randn(12, 4, generator=generator),
            torch.randn(12, 4, generator=generator),
            num_subsets=1,
            subset_size=12,
            generator=generator,
        ).value
        for _ in range(300)
    ]
    values = torch.tensor([e for e in estimates if e is not None])
    assert len(values) == 300
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(300)
    assert (values < 0).any()


def test_kid_is_withheld_below_two_images() -> None:
    result = kid(torch.randn(1, 4), torch.randn(9, 4), num_subsets=2, subset_size=3, generator=_generator())
    assert result.value is None
    assert result.withheld == "1 < 2 images"
