"""The UNet and its blocks: shapes, identities at the start, reproducible dropout, what reaches the output."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from rodin_models.diffusion.unet import UNet, UNetSettings, folded, unfolded
from rodin_models.diffusion.unet_block import ResidualBlock, SelfAttention, dropout, group_norm, sinusoidal_embedding

TINY = UNetSettings(
    side=8,
    in_channels=2,
    out_channels=3,
    width=8,
    multipliers=(1, 2),
    blocks=1,
    attention_sides=(4,),
    head_channels=8,
    condition_dim=5,
    dropout=0.5,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(settings: UNetSettings = TINY, seed: int = 0) -> UNet:
    """A UNet whose zero layers have weights, so that everything reaches the output."""
    unet, generator = UNet(settings, seeded(seed)), seeded(seed + 1)
    with torch.no_grad():
        for parameter in unet.parameters():
            if not parameter.any():
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return unet


def inputs(settings: UNetSettings = TINY, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = seeded(7)
    side = settings.side
    return (
        torch.randn(batch, 3, settings.in_channels, side, side, generator=generator),
        torch.rand(batch, generator=generator),
        torch.randn(batch, settings.condition_dim, generator=generator),
    )


def test_output_is_zero_at_the_start_and_has_out_channels() -> None:
    planes, time, condition = inputs()
    out = UNet(TINY, seeded(0)).eval()(planes, time, condition)
    assert torch.equal(out, torch.zeros(2, 3, 3, 8, 8))


def test_every_parameter_gets_a_gradient() -> None:
    settings = replace(TINY, has_level=True, extra_channels=1)
    planes, time, condition = inputs(settings)
    unet = awake(settings)
    extra = torch.randn(2, 3, 1, 8, 8, generator=seeded(3))
    out = unet(planes, time, condition, extra=extra, level=time, generator=seeded(1))
    out.square().sum().backward()
    assert [name for name, p in unet.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("changed", ["time", "condition", "level", "extra", "planes"])
def test_every_input_reaches_the_output(changed: str) -> None:
    settings = replace(TINY, has_level=True, extra_channels=1)
    planes, time, condition = inputs(settings)
    given = {
        "planes": planes,
        "time": time,
        "condition": condition,
        "extra": torch.randn(2, 3, 1, 8, 8, generator=seeded(3)),
        "level": 1 - time,
    }
    unet = awake(settings).eval()

    def run(values: dict[str, Tensor]) -> Tensor:
        return unet(values["planes"], values["time"], values["condition"], values["extra"], values["level"])

    assert not torch.allclose(run(given), run(given | {changed: given[changed] * 0.5}), atol=1e-4)


def test_samples_of_a_batch_do_not_mix() -> None:
    planes, time, condition = inputs()
    unet = awake().eval()
    both = unet(planes, time, condition)
    alone = unet(planes[1:], time[1:], condition[1:])
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)


def test_equal_generators_give_equal_networks_and_leave_global_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, third = UNet(TINY, seeded(1)), UNet(TINY, seeded(1)), UNet(TINY, seeded(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.first.weight, third.first.weight)


def test_dropout_draws_from_the_given_generator_only() -> None:
    planes, time, condition = inputs()
    unet = awake().train()
    before = torch.random.get_rng_state()
    first = unet(planes, time, condition, generator=seeded(1))
    assert torch.equal(first, unet(planes, time, condition, generator=seeded(1)))
    assert not torch.equal(first, unet(planes, time, condition, generator=seeded(2)))
    assert torch.equal(torch.random.get_rng_state(), before)
    with pytest.raises(ValueError, match="needs a generator"):
        unet(planes, time, condition)


def test_recomputing_blocks_changes_no_gradient() -> None:
    planes, time, condition = inputs()
    gradients = []
    for recompute in (False, True):
        unet = awake(replace(TINY, recompute=recompute)).train()
        unet(planes, time, condition, generator=seeded(4)).square().sum().backward()
        gradients.append([p.grad for p in unet.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed)


def test_dropout_keeps_its_share_and_its_mean() -> None:
    ones = torch.ones(100_000)
    dropped = dropout(ones, 0.25, seed=3)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    # Standard deviation of the mean: sqrt(0.25 / 0.75 / 1e5) = 0.0018.
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.009)
    assert dropout(ones, 0.25, seed=None) is ones


def test_residual_block_and_attention_start_as_the_identity() -> None:
    image, embedding = torch.randn(2, 8, 4, 12, generator=seeded(0)), torch.randn(2, 6, generator=seeded(1))
    block = ResidualBlock(8, 8, 6, dropout=0.0, aware=True, head_channels=4)
    assert torch.equal(block(image, embedding, None), image)


def test_attention_is_a_weighted_mean_of_values() -> None:
    attention = SelfAttention(4, head_channels=4)
    with torch.no_grad():
        attention.norm = nn.Identity()
        attention.project_in.weight.zero_()
        attention.project_in.weight[8:] = torch.eye(4)
        attention.project_in.bias.zero_()
        attention.project_out.weight.copy_(torch.eye(4))
    image = torch.randn(1, 4, 2, 6, generator=seeded(0))
    # Equal queries and keys: every token gathers the mean of all.
    torch.testing.assert_close(attention(image), image + image.mean((2, 3), keepdim=True))


def test_group_norm_divides_any_width() -> None:
    for channels in (1, 2, 6, 8, 16, 24, 48, 192, 576):
        assert channels % group_norm(channels).num_groups == 0
    assert group_norm(192).num_groups == 16


def test_sinusoids_at_zero() -> None:
    assert torch.equal(sinusoidal_embedding(torch.zeros(1), 6), torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]))


@pytest.mark.parametrize(
    "change",
    [
        {"side": 9},
        {"attention_sides": (5,)},
        {"aware_levels": (2,)},
        {"dropout": 1.0},
        {"width": 7},
    ],
)
def test_settings_that_cannot_be_built_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="UNet"):
        replace(TINY, **change)


def test_missing_and_unwanted_conditions_are_refused() -> None:
    planes, time, condition = inputs()
    unet = UNet(TINY, seeded(0)).eval()
    with pytest.raises(ValueError, match="needs a condition"):
        unet(planes, time)
    with pytest.raises(ValueError, match="takes no level"):
        unet(planes, time, condition, level=time)


def test_paper_settings_build_on_the_meta_device() -> None:
    with torch.device("meta"):
        unet = UNet(UNetSettings(), seeded(0))
    millions = sum(p.numel() for p in unet.parameters()) / 1e6
    assert 280 < millions < 295
    assert sum(isinstance(layer, SelfAttention) for layer in unet.modules()) == 3 * 3 + 2 + 3 * 4


def test_folding_sets_squares_of_texels_side_by_side_and_back() -> None:
    planes = torch.arange(2 * 3 * 2 * 4 * 4, dtype=torch.float32).reshape(2, 3, 2, 4, 4)
    inner = folded(planes, 2)
    assert inner.shape == (2, 3, 8, 2, 2)
    # The lower right texel of the square of row 1, column 0 is row 3, column 1; channel 1 has the last four.
    assert inner[1, 2, 7, 1, 0] == planes[1, 2, 1, 3, 1]
    assert torch.equal(unfolded(inner, 2), planes) and torch.equal(folded(planes, 1), planes)


def test_a_patch_is_the_network_of_half_the_side_on_folded_planes() -> None:
    patched = replace(TINY, side=16, patch=2, extra_channels=1)
    plain = replace(TINY, in_channels=8, extra_channels=4, out_channels=12)
    planes, time, condition = inputs(patched)
    extra = torch.randn(2, 3, 1, 16, 16, generator=seeded(3))
    whole, half = awake(patched).eval(), awake(plain).eval()
    # In the one, planes and extra ones are folded together: channels in the same order.
    result = half(folded(planes, 2), time, condition, extra=folded(extra, 2))
    assert torch.equal(whole(planes, time, condition, extra=extra), unfolded(result, 2))


def test_a_bypass_adds_the_noisy_planes_by_a_gain_of_channel_and_time() -> None:
    plain = awake(replace(TINY, side=16, patch=2, out_channels=TINY.in_channels)).eval()
    settings = replace(TINY, side=16, patch=2, out_channels=TINY.in_channels, bypass=True)
    gated = UNet(settings, seeded(0)).eval()
    planes, time, condition = inputs(settings)
    assert gated(planes, time, condition).abs().max() == 0, "a new network's gains are 0"
    gated.load_state_dict(plain.state_dict(), strict=False)
    inner = TINY.in_channels * 4
    with torch.no_grad():
        gated.bypass.bias.copy_(torch.arange(inner).float())
    gains = torch.arange(inner).float()[:, None, None]
    expected = plain(planes, time, condition) + unfolded(gains * folded(planes, 2), 2)
    torch.testing.assert_close(gated(planes, time, condition), expected)
    with torch.no_grad():
        gated.bypass.weight.normal_(generator=seeded(4))
    others = gated(planes, 1 - time, condition) - plain(planes, 1 - time, condition)
    assert not torch.allclose(others, unfolded(gains * folded(planes, 2), 2)), "gains follow from the timestep"


def test_a_bypass_needs_as_many_channels_out_as_in() -> None:
    with pytest.raises(ValueError, match="bypass from 2 channels to 3"):
        replace(TINY, in_channels=2, out_channels=3, bypass=True)


def test_a_patch_divides_the_side() -> None:
    with pytest.raises(ValueError, match="side 8 is no multiple of patch 3"):
        replace(TINY, patch=3)
    with pytest.raises(ValueError, match="side 1 cannot be halved 1 times"):
        replace(TINY, patch=8, attention_sides=())
