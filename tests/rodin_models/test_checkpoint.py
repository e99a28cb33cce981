"""State on disk comes back as it was, and a training goes on to the same bytes."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rodin_models.checkpoint import FORMER_NAMES, GONE, Ema, load_state, save_state, settings_from_dict, unwrap
from rodin_models.diffusion import base
from rodin_models.diffusion.base import BaseModel, BaseSettings
from rodin_models.diffusion.conditioning import ConditionSettings
from rodin_models.diffusion.latent import LatentSettings
from rodin_models.diffusion.process import DiffusionSettings
from rodin_models.diffusion.unet import UNetSettings
from rodin_models.image.clip import ClipSettings

DTYPES = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip
SHAPES = ((), (0,), (3,), (2, 0, 4), (2, 3))


def same(a: object, b: object) -> bool:
    """Equal in type, structure, order and bits."""
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and a.contiguous().view(-1).view(torch.uint8).equal(b.contiguous().view(-1).view(torch.uint8))
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return same(list(a), list(b)) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return a.hex() == b.hex()
    return a == b


def tensors() -> st.SearchStrategy[torch.Tensor]:
    return st.builds(
        lambda dtype, shape, seed: torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).to(dtype),
        st.sampled_from(DTYPES),
        st.sampled_from(SHAPES),
        st.integers(0, 9),
    )


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | tensors(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.lists(children, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(-3, 3), children, max_size=4)
    ),
    max_leaves=12,
)


@given(tree=trees)
def test_any_tree_comes_back(tree: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("state")
    save_state(folder, tree)
    assert same(load_state(folder), tree)


def test_keys_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
    tree = {1: torch.ones(1), "1": torch.zeros(1), "a/b": torch.ones(2), "a": {"b": torch.zeros(2)}}
    tree["dict"] = {"tensor": "x"}
    save_state(tmp_path, tree)
    assert same(load_state(tmp_path), tree)


def test_shared_and_strided_tensors_are_saved_by_value(tmp_path: Path) -> None:
    values = torch.arange(12.0).view(3, 4)
    save_state(tmp_path, {"whole": values, "part": values[1], "turned": values.T})
    loaded = load_state(tmp_path)
    assert torch.equal(loaded["turned"], values.T) and torch.equal(loaded["part"], values[1])


def test_equal_trees_give_equal_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        save_state(tmp_path / name, {"b": torch.ones(3), "a": torch.zeros(2, dtype=torch.bfloat16), "n": math.nan})
        contents.append([(tmp_path / name / file).read_bytes() for file in ("state.safetensors", "state.json")])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("bad", [object(), {"a": {1.5: 2}}, [{"b": {3, 4}}], {True: 1}])
def test_what_a_tree_cannot_hold_is_refused(tmp_path: Path, bad: object) -> None:
    with pytest.raises(TypeError, match="a checkpoint"):
        save_state(tmp_path, bad)


def test_another_format_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, {"a": 1})
    (tmp_path / "state.json").write_text(json.dumps({"format": 99, "tree": None}))
    with pytest.raises(ValueError, match="format 99"):
        load_state(tmp_path)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="DiffusionSettings has no steps"):
        settings_from_dict(DiffusionSettings, {"steps": 3})


def test_unwrap_wants_the_kind_it_names() -> None:
    layer = nn.Linear(1, 1)
    assert unwrap(layer, nn.Linear) is layer
    with pytest.raises(TypeError, match="expected Conv2d, got Linear"):
        unwrap(layer, nn.Conv2d)


def test_ema_is_the_mean_it_says_and_follows_buffers() -> None:
    model = nn.BatchNorm1d(1)
    ema = Ema(model, decay=0.5)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.running_mean.fill_(7.0)
        model.num_batches_tracked.fill_(4)
    ema.update(model)  # decay (1 + 0) / (10 + 0) = 0.1: 0.1 * 1 + 0.9 * 3
    assert ema.average["weight"].item() == pytest.approx(2.8)
    assert ema.average["running_mean"].item() == 7.0
    for _ in range(20):
        ema.update(model)
    assert min(0.5, 21 / 30) == 0.5
    before = ema.average["weight"].item()
    with torch.no_grad():
        model.weight.fill_(before + 1)
    ema.update(model)
    assert ema.average["weight"].item() == pytest.approx(before + 0.5)
    other = nn.BatchNorm1d(1)
    ema.copy_to(other)
    assert other.weight.item() == ema.average["weight"].item()


TINY = BaseSettings(
    unet=UNetSettings(
        side=4, in_channels=2, out_channels=2, width=8, multipliers=(1, 2), blocks=1, attention_sides=(2,),
        condition_dim=3, dropout=0.3,
    ),
    condition=ConditionSettings(dim=3),
)  # fmt: skip


@dataclass
class TrainState:
    """All that a training is at some step: saved and restored, it goes on to the same bytes."""

    model: nn.Module
    """The module itself, not the DistributedDataParallel around it."""
    optimiser: torch.optim.Optimizer
    ema: Ema
    generator: torch.Generator
    step: int = 0

    def save(self, folder: Path) -> None:
        """Write to the existing ``folder``; see :func:`save_state`."""
        save_state(
            folder,
            {
                "step": self.step,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "ema": self.ema.state_dict(),
                "generator": self.generator.get_state(),
            },
        )

    def load(self, folder: Path) -> None:
        """Take up what :meth:`save` wrote of the same kind of model and optimiser, onto this one's devices."""
        state = load_state(folder)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.ema.load_state_dict(state["ema"])
        self.generator.set_state(state["generator"])


def start() -> TrainState:
    generator = torch.Generator().manual_seed(11)
    model = BaseModel(TINY, generator)
    model.statistics.set(torch.full((3, 2), 0.5), torch.full((3, 2), 2.0))
    return TrainState(model, torch.optim.AdamW(model.parameters(), lr=1e-2), Ema(model, 0.9), generator)


def train(state: TrainState, steps: int) -> None:
    for _ in range(steps):
        planes = torch.randn(2, 3, 2, 4, 4, generator=state.generator)
        latents = torch.randn(2, 3, generator=state.generator)
        loss = base.training_loss(state.model, planes, latents, state.generator)["loss"]
        state.optimiser.zero_grad()
        loss.backward()
        state.optimiser.step()
        state.ema.update(state.model)
        state.step += 1


@pytest.mark.seconds
def test_four_steps_are_two_saved_and_two_more_byte_for_byte(tmp_path: Path) -> None:
    straight = start()
    train(straight, 4)
    (tmp_path / "end").mkdir()
    straight.save(tmp_path / "end")

    first = start()
    train(first, 2)
    (tmp_path / "half").mkdir()
    first.save(tmp_path / "half")
    resumed = start()
    train(resumed, 1)  # so that whatever is not restored shows
    torch.manual_seed(99)  # and so that whatever hangs on global state shows
    resumed.load(tmp_path / "half")
    assert resumed.step == 2
    train(resumed, 2)
    (tmp_path / "resumed").mkdir()
    resumed.save(tmp_path / "resumed")

    for name in ("state.safetensors", "state.json"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "end" / name).read_bytes()
    assert (tmp_path / "half" / "state.safetensors").read_bytes() != (
        tmp_path / "end" / "state.safetensors"
    ).read_bytes()


def test_settings_are_read_under_the_names_that_earlier_versions_gave_them() -> None:
    unet = {"base_channels": 8, "num_blocks": 2, "multipliers": [1, 2], "attention_sides": [], "condition_dim": 7}
    condition = {"dim": 7, "dropout": 0.5, "null": "learned"}
    found = settings_from_dict(BaseSettings, {"unet": unet, "condition": condition, "diffusion": {"num_timesteps": 9}})
    assert found == BaseSettings(
        unet=UNetSettings(width=8, blocks=2, multipliers=(1, 2), attention_sides=(), condition_dim=7),
        condition=ConditionSettings(dim=7, dropout=0.5),
        diffusion=DiffusionSettings(timesteps=9),
    )
    assert settings_from_dict(BaseSettings, asdict(found)) == found
    assert settings_from_dict(LatentSettings, {"num_blocks": 3}) == LatentSettings(layers=3)
    clip = settings_from_dict(ClipSettings, {"patch": 4, "projection_dim": 9})
    assert clip == ClipSettings(patch_size=4, latent_dim=9)


def test_every_former_name_is_one_no_more_and_leads_to_one() -> None:
    kinds = {
        kind.__name__: kind
        for kind in (ClipSettings, ConditionSettings, DiffusionSettings, LatentSettings, UNetSettings)
    }
    assert set(kinds) == {*FORMER_NAMES, *GONE}
    for kind, names in FORMER_NAMES.items():
        now = {field.name for field in fields(kinds[kind])}
        assert not set(names) & now and set(names.values()) <= now
    for kind, names in GONE.items():
        assert not set(names) & {field.name for field in fields(kinds[kind])}


def test_a_setting_that_is_gone_is_refused_where_it_says_something_else() -> None:
    with pytest.raises(TypeError, match="ConditionSettings has no null"):
        settings_from_dict(ConditionSettings, {"dim": 7, "null": "zero"})
