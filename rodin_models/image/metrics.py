"""Distances between images (PSNR, SSIM) and between sets of images (FID, KID on any encoder's features).

FID: Heusel et al. 2017, equation 6. KID: Binkowski et al. 2018, section 4. Both take features, so they know no
encoder; which one it was belongs beside the figure. torchmetrics' FID takes eigenvalues of a product of two
covariances, which are only real in exact arithmetic; here its trace is a sum of singular values.
"""

import math
from dataclasses import dataclass

import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

WINDOW, WINDOW_DEVIATION = 11, 1.5
"""Pixels a side of the structural similarity's window, and its standard deviation."""


@dataclass(frozen=True)
class SetDistance:
    """A distance between two sets of images, or why there is none."""

    value: float | None
    """The distance; None where there are too few images."""
    deviation: float | None
    """Standard deviation over subsets; None where there is but one subset."""
    withheld: str
    """Why ``value`` is None; empty where it is not."""
    num_real: int
    """Images of the one set."""
    num_generated: int
    """Images of the other."""
    num_features: int
    """Numbers that a feature network gives for an image."""


def psnr(image: Float[Tensor, "*batch c h w"], truth: Float[Tensor, "*batch c h w"]) -> Float[Tensor, "*batch"]:
    """Peak signal-to-noise ratio of each image in dB, values in [0, 1]. Infinite for equal images."""
    return _decibel(reduce((image - truth).square(), "... c h w -> ...", "mean"))


def psnr_masked(
    image: Float[Tensor, "*batch c h w"], truth: Float[Tensor, "*batch c h w"], mask: Bool[Tensor, "*batch 1 h w"]
) -> Float[Tensor, "*batch"]:
    """:func:`psnr` over the pixels of ``mask``. NaN for an empty mask."""
    per_pixel = reduce((image - truth).square(), "... c h w -> ... h w", "mean")
    inside = mask.squeeze(-3)
    return _decibel((per_pixel * inside).sum((-2, -1)) / inside.sum((-2, -1)))


def ssim(image: Float[Tensor, "b c h w"], truth: Float[Tensor, "b c h w"]) -> Float[Tensor, "b"]:
    """Structural similarity of each image (Wang et al. 2004, Gaussian window of 11 pixels), values in [0, 1].

    In float64, because variances are taken as differences of two means. Beyond its border an image goes
    on mirrored. The window is taken along columns, then rows, one image after another: 420 bytes a pixel of one image,
    where torchmetrics' square window takes 4800.
    """
    images = zip(image.split(1), truth.split(1), strict=True)
    return torch.cat([_structural_similarity(one.double(), other.double()) for one, other in images]).to(image.dtype)


def fid(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"]) -> SetDistance:
    """Frechet distance of the Gaussians with the two sets' means and covariances, in float64.

    |mu_r - mu_g|^2 + tr(S_r + S_g - 2 (S_r S_g)^(1/2)). With S = X^T X for centred features X / sqrt(n - 1), the
    last trace is the sum of the singular values of X_r X_g^T: no matrix root, no complex eigenvalues, exact for
    singular covariances too. Withheld where a set has fewer images than features: such a covariance is one of the
    sample, not of the population, and the figure would mostly say how few images there were.
    """
    fewest, features = min(len(real), len(generated)), real.shape[1]
    if fewest < max(features, 2):
        images = "image" if fewest == 1 else "images"
        return _distance(real, generated, None, None, f"{fewest} {images} < {max(features, 2)} features")
    factor_real, factor_generated = _covariance_factor(real), _covariance_factor(generated)
    shift = (real.double().mean(0) - generated.double().mean(0)).square().sum()
    traces = factor_real.square().sum() + factor_generated.square().sum()
    root = torch.linalg.svdvals(factor_real @ factor_generated.mT).sum()
    return _distance(real, generated, max(float(shift + traces - 2 * root), 0.0), None, "")


def kid(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    *,
    num_subsets: int,
    subset_size: int,
    generator: torch.Generator,
) -> SetDistance:
    """Unbiased squared maximum mean discrepancy under k(x, y) = (x . y / d + 1)^3, in float64.

    Mean and standard deviation over ``num_subsets`` pairs of subsets of ``subset_size`` images drawn without
    replacement. Where the sets have no more images than that, one estimate uses them all and has no deviation.
    Unbiased: it may be negative. Withheld below two images a set.
    """
    if min(len(real), len(generated)) < 2:
        return _distance(real, generated, None, None, f"{min(len(real), len(generated))} < 2 images")
    real64, generated64 = real.double(), generated.double()
    if max(len(real), len(generated)) <= subset_size:
        return _distance(real, generated, float(_squared_mmd(real64, generated64)), None, "")
    estimates = torch.stack(
        [
            _squared_mmd(_subset(real64, subset_size, generator), _subset(generated64, subset_size, generator))
            for _ in range(num_subsets)
        ]
    )
    deviation = float(estimates.std()) if num_subsets > 1 else None
    return _distance(real, generated, float(estimates.mean()), deviation, "")


def _structural_similarity(image: Float[Tensor, "b c h w"], truth: Float[Tensor, "b c h w"]) -> Float[Tensor, "b"]:
    """Wang et al. 2004, equation 13, its mean over windows and channels."""
    offsets = torch.arange(WINDOW, dtype=image.dtype) - (WINDOW - 1) / 2
    window = torch.softmax(-(offsets**2) / (2 * WINDOW_DEVIATION**2), 0).tolist()

    def mean(values: Tensor) -> Tensor:
        for axis in (-2, -1):
            length = values.shape[axis] - WINDOW + 1
            total = torch.zeros_like(values.narrow(axis, 0, length))
            for offset, weight in enumerate(window):
                total.add_(values.narrow(axis, offset, length), alpha=weight)
            values = total
        return values

    image, truth = (F.pad(x, [WINDOW // 2] * 4, mode="reflect") for x in (image, truth))
    mean_image, mean_truth = mean(image), mean(truth)
    variances = mean(image * image + truth * truth) - mean_image**2 - mean_truth**2
    covariance = mean(image * truth) - mean_image * mean_truth
    luminance = (2 * mean_image * mean_truth + 0.01**2) / (mean_image**2 + mean_truth**2 + 0.01**2)
    return (luminance * (2 * covariance + 0.03**2) / (variances + 0.03**2)).mean((1, 2, 3))


def _squared_mmd(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Binkowski et al. 2018, equation 4 (unbiased), their polynomial kernel."""
    xx, yy, xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
    n, m = len(x), len(y)
    within_x = (xx.sum() - xx.trace()) / (n * (n - 1))
    within_y = (yy.sum() - yy.trace()) / (m * (m - 1))
    return within_x + within_y - 2 * xy.mean()


def _kernel(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    return (x @ y.mT / x.shape[1] + 1).pow(3)


def _subset(features: Float[Tensor, "n d"], size: int, generator: torch.Generator) -> Float[Tensor, "k d"]:
    chosen = torch.randperm(len(features), generator=generator)[:size]
    return features[chosen.to(features.device)]


def _covariance_factor(features: Float[Tensor, "n d"]) -> Float[Tensor, "k d"]:
    """R with R^T R the unbiased covariance, at most d rows."""
    centred = features.double() - features.double().mean(0)
    factor: Tensor = torch.linalg.qr(centred / math.sqrt(len(features) - 1), mode="r").R
    return factor


def _decibel(mean_square: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    return -10 * torch.log10(mean_square)


def _distance(
    real: Float[Tensor, "n d"],
    generated: Float[Tensor, "m d"],
    value: float | None,
    deviation: float | None,
    withheld: str,
) -> SetDistance:
    return SetDistance(value, deviation, withheld, len(real), len(generated), real.shape[1])
