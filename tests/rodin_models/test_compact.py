"""Compact tensors come back as float32, as near as their docstrings say."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rodin_models.checkpoint import load_state, save_state
from rodin_models.compact import KEPT_BELOW, KERNEL_FROM, LEVELS, Eight, Four, Half, compacted, eight, four, half


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Numbers of many magnitudes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * 10 ** (4 * torch.rand(shape, generator=generator) - 3)


@given(seed=st.integers(0, 999))
def test_half_is_as_near_as_stated(seed: int) -> None:
    x = drawn(7, 5, seed=seed)
    back = half(x).full()
    assert back.dtype == torch.float32
    assert ((back - x).abs() <= 2**-11 * x.abs() + 2**-25).all()


@given(seed=st.integers(0, 999))
def test_eight_bits_are_as_near_as_stated(seed: int) -> None:
    x = drawn(4, 3, 2, 5, seed=seed)
    x[1] = 0
    packed = eight(x)
    assert packed.levels.dtype == torch.int8 and packed.scales.shape == (4,)
    scale = x.flatten(1).abs().amax(1) / LEVELS
    assert ((packed.full() - x).flatten(1).abs().amax(1) <= scale / 2 * (1 + 1e-5)).all()
    assert packed.full()[1].eq(0).all()
    assert eight(packed.full()).levels.equal(packed.levels), "what was rounded stays as it is"


@given(seed=st.integers(0, 999))
def test_four_bits_are_the_nearest_of_fifteen_powers_of_each_image(seed: int) -> None:
    x = drawn(4, 3, 5, 6, seed=seed)
    x[1, 2] = 0
    packed = four(x)
    assert packed.pairs.dtype == torch.uint8 and packed.pairs.shape == (4, 3, 5, 3)
    assert packed.scales.equal(x.abs().amax((-2, -1)))
    steps = torch.arange(-7, 8) / 7
    levels = packed.scales[..., None, None, None] * steps.sign() * steps.abs() ** (5 / 3)
    between = (packed.full()[..., None] - levels).abs().amin(-1)
    assert (between <= 1e-6 * packed.scales[..., None, None]).all(), "every value is one of the levels"
    share = x / packed.scales.clamp(min=1e-30)[..., None, None]
    back = packed.full() / packed.scales.clamp(min=1e-30)[..., None, None]
    roots = (share.sign() * share.abs() ** 0.6 - back.sign() * back.abs() ** 0.6).abs()
    assert roots.max() <= 0.5 / 7 + 1e-5
    assert packed.full()[1, 2].eq(0).all()
    assert four(packed.full()).pairs.equal(packed.pairs), "what was rounded stays as it is"


def test_four_bits_lose_two_hundredths_of_a_component() -> None:
    side = torch.arange(32.0)
    bump = torch.exp(-((side - 12) ** 2)[:, None] / 20 - ((side - 20) ** 2) / 30)
    error = (four(bump).full() - bump).square().sum() / bump.square().sum()
    assert error < 0.02
    assert four(bump).pairs.nbytes == bump.numel() / 2
    with pytest.raises(ValueError, match="columns in pairs, not 3"):
        four(torch.ones(2, 3))


def test_a_number_that_float16_cannot_hold_is_named() -> None:
    tree = {"model": {"a.weight": torch.full((KEPT_BELOW,), 70000.0)}}
    with pytest.raises(ValueError, match=r"model/a\.weight: float16 ends at 65504, and the tensor at 7e\+04"):
        compacted(tree)
    assert half(torch.tensor([float("inf"), 1.0])).full().tolist() == [float("inf"), 1.0]


def test_a_tree_goes_through_files_and_comes_back_in_float32(tmp_path) -> None:
    tree = {
        "settings": {"width": 3, "sides": (8, 4)},
        "model": {"weight": drawn(40, 40), "bias": drawn(KEPT_BELOW - 1), "step": torch.arange(2000)},
        "more": [{"components": drawn(5, 3, 4, 4, 4)}],
    }
    compact = compacted(tree, four_bits=("components",))
    assert isinstance(compact["model"]["weight"], Half) and isinstance(compact["more"][0]["components"], Four)
    save_state(tmp_path, compact)
    assert json.loads((tmp_path / "state.json").read_text())["format"] == 2
    back = load_state(tmp_path)
    assert back["settings"] == tree["settings"]
    assert back["model"]["bias"].equal(tree["model"]["bias"]), "small ones are kept"
    assert back["model"]["step"].equal(tree["model"]["step"])
    assert back["model"]["weight"].equal(tree["model"]["weight"].half().float())
    components = back["more"][0]["components"]
    assert components.dtype == torch.float32 and components.equal(four(tree["more"][0]["components"]).full())
    # 40 x 40 halves, 1023 floats, 2000 longs, 5 x 192 halves of a byte and 5 x 12 scales, and a header.
    numbers = 2 * 1600 + 4 * 1023 + 8 * 2000 + 480 + 4 * 60
    assert numbers < (tmp_path / "state.safetensors").stat().st_size < numbers + 1000


def test_large_weights_of_layers_have_eight_bits() -> None:
    kernel = drawn(64, KERNEL_FROM // 64)
    tree = {"a.weight": kernel, "b.weight": kernel[:32], "a.bias": kernel.flatten(), "mean": kernel, "step": 3}
    packed = compacted({"model": tree})["model"]
    assert {name: type(value) for name, value in packed.items()} == {
        "a.weight": Eight,
        "b.weight": Half,
        "a.bias": Half,
        "mean": Half,
        "step": int,
    }
    assert packed["a.weight"].full().equal(eight(kernel).full())
    kernel[0, 0] = float("nan")
    assert isinstance(compacted({"a.weight": kernel})["a.weight"], Half), "what is broken is not hidden"


def test_eight_bits_of_earlier_folders_are_read(tmp_path) -> None:
    packed = eight(drawn(5, 3, 4))
    save_state(tmp_path, {"components": packed})
    assert isinstance(packed, Eight) and load_state(tmp_path)["components"].equal(packed.full())


def test_a_tree_without_compact_tensors_is_written_as_before(tmp_path) -> None:
    save_state(tmp_path, {"a": torch.ones(3)})
    assert json.loads((tmp_path / "state.json").read_text())["format"] == 1


@pytest.mark.parametrize("file", ["state.json", "state.safetensors"])
def test_a_state_that_was_cut_off_is_told(tmp_path, file: str) -> None:
    save_state(tmp_path, {"a": torch.ones(3000)})
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="holds no whole state"):
        load_state(tmp_path)
