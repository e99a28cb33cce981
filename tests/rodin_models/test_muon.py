"""Muon: its step against the singular value decomposition, and what it learns."""

import pytest
import torch
from torch import nn

from rodin_models.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(6, 6), (4, 30), (30, 4)])
def test_the_iteration_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalised(matrix)
    within = u.T @ found @ vt.T
    assert s.max() > 1.5 * s.min()
    assert float(within.diagonal().min()) > 0.6 and float(within.diagonal().max()) < 1.3
    torch.testing.assert_close(within - within.diagonal().diag(), torch.zeros_like(within), rtol=0, atol=1e-4)
    torch.testing.assert_close(orthogonalised(1e3 * matrix), found, rtol=1e-4, atol=1e-5)
    assert torch.equal(orthogonalised(torch.zeros(shape)), torch.zeros(shape))


def test_a_convolution_is_moved_as_the_matrix_that_it_is() -> None:
    generator = torch.Generator().manual_seed(1)
    kernel = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator))
    flat = nn.Parameter(kernel.detach().flatten(1).clone())
    for parameter in (kernel, flat):
        optimiser = Muon([parameter], 0.1, weight_decay=0.5)
        for number in range(3):
            gradient = torch.randn(4, 27, generator=torch.Generator().manual_seed(number))
            parameter.grad = gradient.view_as(parameter)
            optimiser.step()
    torch.testing.assert_close(kernel.flatten(1), flat)


def test_matrices_are_moved_as_torch_moves_them() -> None:
    # Which computes in bfloat16, of three digits.
    ours, theirs = (nn.Parameter(torch.zeros(6, 20)) for _ in range(2))
    muon = Muon([ours], 0.1, weight_decay=0.01)
    reference = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for number in range(4):
        gradient = torch.randn(6, 20, generator=torch.Generator().manual_seed(number))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        reference.step()
    assert float((ours - theirs).detach().norm() / theirs.detach().norm()) < 0.03


def test_the_size_of_a_step() -> None:
    # Singular values about 1, times 0.2 sqrt(27), times the rate; decay takes off rate times decay of the weight.
    kernel = nn.Parameter(torch.ones(4, 27))
    kernel.grad = torch.randn(4, 27, generator=torch.Generator().manual_seed(0))
    Muon([kernel], 0.01, weight_decay=0.5).step()
    moved = 0.995 * torch.ones(4, 27) - kernel.detach()
    assert float(torch.linalg.svdvals(moved).max()) == pytest.approx(0.01 * 0.2 * 27**0.5, rel=0.3)


def test_what_is_no_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        Muon([nn.Parameter(torch.zeros(3))], 0.1)


def test_it_learns_a_regression() -> None:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(256, 8, generator=generator) * torch.logspace(0, -1, 8)
    truth = torch.randn(8, 5, generator=generator)
    weight = nn.Parameter(torch.zeros(5, 8))
    optimiser = Muon([weight], 0.3)
    for step in range(100):
        optimiser.param_groups[0]["lr"] = 0.3 * (1 - step / 100)
        loss = (inputs @ weight.T - inputs @ truth).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float((weight.detach() - truth.T).square().mean()) < 0.02 * float(truth.square().mean())
