"""Compact tensors come back as float32, as near as their docstrings say."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rodin_models.checkpoint import load_state, save_state
from rodin_models.compact import KEPT_BELOW, LEVELS, Eight, Half, compacted, eight, half


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
    compact = compacted(tree, eight_bits=("components",))
    assert isinstance(compact["model"]["weight"], Half) and isinstance(compact["more"][0]["components"], Eight)
    save_state(tmp_path, compact)
    assert json.loads((tmp_path / "state.json").read_text())["format"] == 2
    back = load_state(tmp_path)
    assert back["settings"] == tree["settings"]
    assert back["model"]["bias"].equal(tree["model"]["bias"]), "small ones are kept"
    assert back["model"]["step"].equal(tree["model"]["step"])
    assert back["model"]["weight"].equal(tree["model"]["weight"].half().float())
    components = back["more"][0]["components"]
    assert components.dtype == torch.float32 and components.equal(eight(tree["more"][0]["components"]).full())
    # 40 x 40 halves, 1023 floats, 2000 longs, 5 x 192 bytes and 5 scales, and a header.
    numbers = 2 * 1600 + 4 * 1023 + 8 * 2000 + 960 + 4 * 5
    assert numbers < (tmp_path / "state.safetensors").stat().st_size < numbers + 1000


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
