"""In which arithmetic networks are trained on a device."""

import pytest
import torch

from pipeline.config.load import load_config
from pipeline.stages.device import uses_bfloat16

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def config(precision):
    return load_config(preset="demo", settings=[f"train.precision={precision}"])


@pytest.mark.parametrize(
    ("able", "taken"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_auto_goes_by_what_the_processor_multiplies_in(monkeypatch, able, taken):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert uses_bfloat16(config("auto"), CPU) is taken
    assert uses_bfloat16(config("bfloat16"), CPU) and not uses_bfloat16(config("float32"), CPU)


@pytest.mark.parametrize("able", [False, True])
def test_auto_on_a_gpu(monkeypatch, able):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: able)
    assert uses_bfloat16(config("auto"), CUDA) is able


def test_a_processor_is_known(monkeypatch):
    assert {"amx_bf16", "avx512_bf16"} <= set(torch.cpu.get_capabilities()) or not torch.backends.mkldnn.is_available()


@pytest.mark.parametrize("preset", ["demo", "released", "small"])
def test_no_preset_for_processors_asks_for_what_they_may_not_know(preset):
    assert load_config(preset=preset).train.precision in ("auto", "float32")
