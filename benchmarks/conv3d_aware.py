"""How much the factored 3D-aware convolution gains over its plain form: ratios, measured in one process.

    python -m benchmarks.conv3d_aware --threads 1 [--channels 32 64] [--sides 64 128]

Both forms see the same planes and weights and are timed in turn, so that whatever else the machine does strikes
both alike; each figure is the ratio of the least CPU seconds over all rounds, those least disturbed. Memory is the peak
of what a forward and backward pass allocates beyond its inputs, with the gradients that it returns. ``speedup`` and
``memory_ratio`` (factored over plain) are geometric means over all sizes. Needs torch, numpy, einops and jaxtyping
only. The last line is one JSON object.
"""

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import geometric_mean

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from rodin_models.diffusion.conv3d_aware import Conv3DAware, roll_in, roll_out

CHANNELS = (32, 96, 192)
SIDES = (64, 128, 256)


@dataclass(frozen=True)
class Compared:
    """The two forms at one size."""

    forward: float
    """Seconds of the plain form over those of the factored one."""
    both: float
    """The same, forward and backward."""
    memory: float
    """Peak bytes of the factored form over those of the plain one, forward and backward."""
    difference: float
    """Largest absolute difference of what they return."""


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
    """CPU seconds of one call, all threads together."""
    start = time.process_time()
    call()
    return time.process_time() - start


def peak_bytes(call: Callable[[], object]) -> int:
    """The most that was allocated at a time during a call beyond what was before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    # The profiler's public events tell what each operator allocates, but not in which order.
    events = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return max(itertools.accumulate(change for _, change in changes))


def compare(channels: int, side: int, rounds: int) -> Compared:
    """One image of planes, as many channels in as out."""
    generator = torch.Generator().manual_seed(0)
    conv = Conv3DAware(channels, channels)
    image = torch.randn(1, channels, side, 3 * side, generator=generator).requires_grad_()
    gradient = torch.randn(1, channels, side, 3 * side, generator=generator)
    inputs = (image, *conv.parameters())
    forms: dict[str, Callable[[], Tensor]] = {"plain": lambda: plain(conv, image), "factored": lambda: conv(image)}

    def forward(form: Callable[[], Tensor]) -> None:
        with torch.no_grad():
            form()

    def both(form: Callable[[], Tensor]) -> None:
        torch.autograd.grad(form(), inputs, gradient)

    with torch.no_grad():
        difference = (forms["plain"]() - forms["factored"]()).abs().max().item()
    peak = {name: peak_bytes(lambda form=form: both(form)) for name, form in forms.items()}  # type: ignore[misc]
    least = {(name, work): math.inf for name in forms for work in (forward, both)}
    for _ in range(rounds):
        for name, work in least:
            least[name, work] = min(least[name, work], seconds(lambda name=name, work=work: work(forms[name])))  # type: ignore[misc]
    return Compared(
        least["plain", forward] / least["factored", forward],
        least["plain", both] / least["factored", both],
        peak["factored"] / peak["plain"],
        difference,
    )


def main() -> None:
    """Print a line for each size and the JSON of all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--channels", type=int, nargs="+", default=CHANNELS)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = []
    for side, channels in itertools.product(arguments.sides, arguments.channels):
        r = compare(channels, side, arguments.rounds)
        results.append(r)
        print(
            f"{channels} channels, 3 x {side} x {side}: forward {r.forward:.2f} x, with backward {r.both:.2f} x, "
            f"{r.memory:.2f} of its memory, difference {r.difference:.1e}",
            flush=True,
        )
    summary = {
        "speedup": round(geometric_mean([r.both for r in results]), 3),
        "speedup_forward": round(geometric_mean([r.forward for r in results]), 3),
        "memory_ratio": round(geometric_mean([r.memory for r in results]), 3),
        "most_memory_ratio": round(max(r.memory for r in results), 3),
        "max_abs_difference": max(r.difference for r in results),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
