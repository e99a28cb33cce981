"""Dropping conditions, guidance, text edits and condition augmentation."""

import pytest
import torch
from torch import Tensor

from rodin_models.diffusion.conditioning import (
    AugmentationSettings,
    Condition,
    ConditionSettings,
    augment,
    blur,
    edit_latent,
    guide,
    guided,
)
from rodin_models.diffusion.process import Diffusion, DiffusionSettings


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_fifth_of_the_conditions_is_dropped_in_training_and_none_after() -> None:
    condition = Condition(ConditionSettings(dim=2, dropout=0.2))
    with torch.no_grad():
        condition.null.fill_(9.0)
    given = torch.randn(10_000, 2, generator=seeded(0))
    seen = condition.train()(given, 10_000, seeded(1))
    dropped = (seen == 9.0).all(1)
    # Standard deviation sqrt(0.2 * 0.8 / 1e4) = 0.004.
    assert dropped.float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert torch.equal(seen[~dropped], given[~dropped])
    assert torch.equal(condition.eval()(given, 10_000), given)
    with pytest.raises(ValueError, match="generator"):
        condition.train()(given, 10_000)


def test_the_null_learns_whether_or_not_it_was_drawn() -> None:
    condition = Condition(ConditionSettings(dim=2, dropout=0.0)).train()
    condition(torch.ones(3, 2), 3, seeded(0)).sum().backward()
    assert torch.equal(condition.null.grad, torch.zeros(2))
    condition(None, 3).sum().backward()
    assert torch.equal(condition.null.grad, torch.full((2,), 3.0))


def test_conditions_are_standardised() -> None:
    condition = Condition(ConditionSettings(dim=2)).eval()
    condition.statistics.set(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0]))
    assert torch.equal(condition(torch.tensor([[2.0, 2.0]]), 1), torch.tensor([[2.0, 0.0]]))


def test_guidance_one_is_conditional_and_zero_unconditional() -> None:
    calls: list[bool] = []

    def predict(noisy: Tensor, time: Tensor, condition: Tensor | None) -> Tensor:
        calls.append(condition is not None)
        return noisy * 0 + (0.0 if condition is None else 1.0)

    noisy, time, condition = torch.zeros(2, 3), torch.ones(2), torch.ones(2, 4)
    expected = {0.0: (0.0, [False]), 1.0: (1.0, [True]), 3.0: (3.0, [True, False])}
    for guidance, (value, which) in expected.items():
        calls.clear()
        assert torch.equal(guided(predict, condition, guidance)(noisy, time), torch.full((2, 3), value))
        assert calls == which
    calls.clear()
    assert torch.equal(guided(predict, None, 3.0)(noisy, time), torch.zeros(2, 3))
    assert calls == [False]


def test_guiding_eps_v_and_x0_is_the_same() -> None:
    generator = seeded(0)
    noisy, first, second = (torch.randn(4, 6, generator=generator) for _ in range(3))
    step = torch.tensor([10, 300, 600, 800])
    reference = guide(first, second, 2.5)  # of x_0
    diffusions = {kind: Diffusion(DiffusionSettings(prediction=kind)) for kind in ("epsilon", "v")}
    signal, spread = diffusions["v"].signal_and_noise(step, noisy)
    for kind, diffusion in diffusions.items():

        def as_prediction(x0: Tensor, kind: str = kind) -> Tensor:
            eps = (noisy - signal * x0) / spread
            return eps if kind == "epsilon" else signal * eps - spread * x0

        x0 = diffusion.to_x0(guide(as_prediction(first), as_prediction(second), 2.5), noisy, step)
        torch.testing.assert_close(x0, reference, rtol=1e-3, atol=1e-3)


def test_an_edit_keeps_the_length_and_strength_zero_changes_nothing() -> None:
    generator = seeded(0)
    latent = 7 * torch.randn(3, 8, generator=generator)
    source, edit = torch.randn(1, 8, generator=generator), torch.randn(1, 8, generator=generator)
    torch.testing.assert_close(edit_latent(latent, source, edit, 0.0), latent)
    torch.testing.assert_close(edit_latent(latent, source, source, 2.0), latent)
    moved = edit_latent(latent, source, edit, 1.5)
    torch.testing.assert_close(moved.norm(dim=1), latent.norm(dim=1))
    # Lengths of the embeddings do not matter, their directions do.
    torch.testing.assert_close(edit_latent(latent, 5 * source, edit / 3, 1.5), moved)


def test_an_edit_moves_towards_the_text() -> None:
    latent, source, edit = torch.eye(3)[None].unbind(1)
    moved = edit_latent(latent, source, edit, 1.0)
    # (1, -1, 1) / sqrt(3)
    torch.testing.assert_close(moved, torch.tensor([[1.0, -1.0, 1.0]]) / 3**0.5)


def test_no_augmentation_at_level_zero() -> None:
    planes = torch.randn(2, 3, 2, 5, 5, generator=seeded(0))
    out = augment(planes, torch.tensor([0.0, 1.0]), AugmentationSettings(), seeded(1))
    assert torch.equal(out[0], planes[0])
    assert not torch.allclose(out[1], planes[1], atol=0.1)


def test_augmentation_noise_has_the_level_asked_for() -> None:
    planes = torch.zeros(2, 3, 8, 32, 32)
    out = augment(planes, torch.tensor([0.5, 1.0]), AugmentationSettings(noise=0.3), seeded(1))
    assert out.flatten(1).std(1).tolist() == pytest.approx([0.15, 0.3], rel=0.03)


def test_blur_spreads_a_point_by_sigma_and_keeps_its_sum() -> None:
    planes = torch.zeros(2, 3, 1, 21, 21)
    planes[..., 10, 10] = 1.0
    out = blur(planes, torch.tensor([1.0, 1.5]), radius=6)
    squares = (torch.arange(21) - 10.0).square()
    for sample, sigma in zip(out, (1.0, 1.5), strict=True):
        assert sample[1, 0].sum().item() == pytest.approx(1.0, abs=1e-5)
        assert (sample[1, 0].sum(0) * squares).sum().item() == pytest.approx(sigma**2, rel=0.01)
        torch.testing.assert_close(sample[1, 0], sample[1, 0].T)


def test_blur_leaves_constants_alone_up_to_the_border() -> None:
    planes = torch.full((1, 3, 2, 6, 6), 4.0)
    torch.testing.assert_close(blur(planes, torch.tensor([2.0]), radius=6), planes)
