"""Latents of drawn people: what looks make one expect, and what is left of photographed strangers."""

import torch

from rodin_models.drawn import drawn_latents


def people(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 5, generator=generator) < 0.4).float()


def test_latents_that_follow_from_looks_are_found_of_strangers() -> None:
    generator = torch.Generator().manual_seed(0)
    way = torch.randn(5, 3, generator=generator)
    looks, drawn = people(200, 1), people(50, 2)
    found = drawn_latents(looks, looks @ way + 2.0, drawn, torch.ones(3))
    torch.testing.assert_close(found.expected, drawn @ way + 2.0, atol=2e-3, rtol=0)
    assert found.explained > 0.999 and found.left.abs().max() < 2e-3


def test_what_is_left_is_beside_the_fit_of_all_others() -> None:
    generator = torch.Generator().manual_seed(3)
    looks = people(40, 4)
    latents = looks @ torch.randn(5, 2, generator=generator) + torch.randn(40, 2, generator=generator)
    mirrored = latents + 0.1 * torch.randn(40, 2, generator=generator)
    both = torch.cat((latents, mirrored))
    found = drawn_latents(looks, both, looks[:1], torch.tensor([1.0, 0.5]))
    # With a ridge of its own choice the fit without a person is close to, not equal to, the one by equation (1).
    others = torch.cat((torch.arange(1, 40), torch.arange(41, 80)))
    alone = drawn_latents(looks[1:], both[others], looks[:1], torch.tensor([1.0, 0.5]))
    torch.testing.assert_close(found.left[[0, 40]], both[[0, 40]] - alone.expected, atol=0.12, rtol=0)
    inside = both[[0, 40]] - found.expected
    assert found.left[[0, 40]].norm() > inside.norm(), "a person that it learned from is nearer"


def test_units_decide_which_errors_count() -> None:
    generator = torch.Generator().manual_seed(5)
    looks = people(60, 6)
    clear = looks @ torch.randn(5, 1, generator=generator)
    noise = torch.randn(60, 8, generator=generator)
    latents = torch.cat((clear, noise), 1)
    alike = drawn_latents(looks, latents, looks, torch.ones(9))
    weighed = drawn_latents(looks, latents, looks, torch.tensor([1.0] + [0.01] * 8))
    error = [(found.expected[:, :1] - clear).square().mean() for found in (alike, weighed)]
    assert error[1] < error[0]
