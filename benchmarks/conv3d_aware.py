"""How much the factored 3D-aware convolution gains over its plain form: ratios, measured in one process.

Both forms see the same planes and weights and are timed in turn, so that whatever else the machine does strikes
both alike; each figure is the ratio of the shortest times over all rounds, those least disturbed. Needs torch,
numpy, einops and jaxtyping. The last line is one JSON object, of the first size.

    python -m benchmarks.conv3d_aware --threads 1
"""

import argparse
import json
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from rodin_models.diffusion.conv3d_aware import Conv3DAware, roll_in, roll_out

SIZES = ((2, 64, 64), (2, 32, 64), (4, 32, 32), (1, 128, 128))
"""Batch, channels in and out, side."""


def plain(conv: Conv3DAware, image: Tensor) -> Tensor:
    """The definition: broadcast the other planes' line means, concatenate, convolve 3 C channels."""
    planes = roll_in(image)
    # The planes stand in cyclic order: the next one shares this one's column axis (along its rows), the one
    # after it shares the row axis (along its columns).
    along_columns = planes.mean(-1).roll(-1, dims=1)[..., None, :].expand_as(planes)
    along_rows = planes.mean(-2).roll(-2, dims=1)[..., :, None].expand_as(planes)
    everything = torch.cat((planes, along_columns, along_rows), dim=2)
    convolved = F.conv2d(everything.flatten(0, 1), conv.weight, conv.bias, padding=1)
    return roll_out(convolved.view(*planes.shape[:2], *convolved.shape[1:]))


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(batch: int, channels: int, side: int, rounds: int) -> dict[str, float]:
    """Ratios plain / factored and the largest difference of their outputs, at one size."""
    generator = torch.Generator().manual_seed(0)
    conv = Conv3DAware(channels, channels)
    image = torch.randn(batch, channels, side, 3 * side, generator=generator).requires_grad_()
    gradient = torch.randn(batch, channels, side, 3 * side, generator=generator)
    inputs = (image, *conv.parameters())

    def forward(form: Callable[[Tensor], Tensor]) -> None:
        with torch.no_grad():
            form(image)

    def forward_backward(form: Callable[[Tensor], Tensor]) -> None:
        torch.autograd.grad(form(image), inputs, gradient)

    shortest: dict[str, list[float]] = {"forward": [math.inf, math.inf], "forward_backward": [math.inf, math.inf]}
    for _ in range(rounds):
        for name, work in (("forward", forward), ("forward_backward", forward_backward)):
            slow = seconds(lambda work=work: work(lambda image: plain(conv, image)))  # type: ignore[misc]
            fast = seconds(lambda work=work: work(conv))  # type: ignore[misc]
            shortest[name] = [min(pair) for pair in zip(shortest[name], (slow, fast), strict=True)]
    with torch.no_grad():
        difference = (plain(conv, image) - conv(image)).abs().max().item()
    return {
        "speedup_forward": round(shortest["forward"][0] / shortest["forward"][1], 3),
        "speedup_forward_backward": round(shortest["forward_backward"][0] / shortest["forward_backward"][1], 3),
        "max_abs_difference": difference,
    }


def main() -> None:
    """Print a line for each size and the JSON of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = []
    for batch, channels, side in SIZES:
        results.append(compare(batch, channels, side, arguments.rounds))
        r = results[-1]
        print(
            f"batch {batch}, {channels} channels, 3 x {side} x {side}: forward {r['speedup_forward']:.2f} x, "
            f"forward and backward {r['speedup_forward_backward']:.2f} x, difference {r['max_abs_difference']:.1e}",
            flush=True,
        )
    print(json.dumps(results[0]))


if __name__ == "__main__":
    main()
