import pytest
import torch
from support.tiny import tiny_config

from pipeline.config.load import load_config
from pipeline.contracts.errors import ConfigError, ResourceError
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.memory import fit_bytes
from pipeline.stages.fit import means as fit_means
from pipeline.stages.fit.means import avatars_at_once, fit_shading, fitting_in
from rodin_models.fit.shading import CannotCompileError, NoKernelsError, Shading

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def _config(*settings):
    return tiny_config("python", *settings)


def test_zero_is_one_on_a_cpu_and_a_number_is_that_number():
    assert avatars_at_once(_config(), CPU) == 1
    assert avatars_at_once(_config("fit.batch=3"), CPU) == avatars_at_once(_config("fit.batch=3"), CUDA) == 3
    with pytest.raises(ConfigError, match=r"fit\.batch"):
        _config("fit.batch=-1")


def test_as_many_as_fit_in_a_gpus_free_memory(monkeypatch):
    paper = load_config(preset="paper")
    one, nine = (fit_bytes(paper, batch=n) for n in (1, 9))
    # At the least the planes, Adam's two moments and the gradient, and what the photographs take.
    assert nine - one > 8 * (4 * 3 * 256 * 256 * 32 * 4 + 300 * 1024 * 1024 * 4)
    assert fitting_in(paper, nine) == 9 and fitting_in(paper, nine - 1) == 8
    assert fitting_in(paper, 0) == 1, "the smallest batch is one"
    assert fitting_in(paper, 10**15) == paper.render.shard_size, "a batch lies within a shard"
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(nine / fit_means.MEMORY_SHARE) + 2, 10**12))
    assert avatars_at_once(paper, CUDA) == 9


def test_the_precision_follows_the_device_where_it_is_left_to_it():
    assert fit_shading(_config(), CPU) == Shading(torch.float32)
    assert fit_shading(_config(), CUDA) == Shading(torch.bfloat16)
    assert fit_shading(_config("fit.precision=float32"), CUDA) == Shading(torch.float32)
    assert fit_shading(_config("fit.precision=bfloat16"), CPU) == Shading(torch.bfloat16)
    with pytest.raises(ConfigError, match=r"fit\.precision"):
        _config("fit.precision=half")


def test_how_it_is_computed_makes_fits_stale_but_not_the_decoder():
    before, after = (
        stage_fingerprints(_config(*s)) for s in ((), ("fit.precision=bfloat16", "fit.compile=true", "fit.fused=true"))
    )
    assert before["fit"] != after["fit"]
    assert all(before[stage] == after[stage] for stage in ("decoder", "own"))
    assert stage_fingerprints(_config("fit.batch=7")) == before


@pytest.mark.parametrize(
    ("asked", "shading", "probe", "error", "told"),
    [
        (
            "fit.compile=true",
            Shading(compiled=True),
            "probe_compile",
            CannotCompileError("No working C++ compiler found"),
            {CPU: r"fit.compile is true.* cpu here: No working C\+\+ compiler found; .*fit.compile=false"},
        ),
        (
            "fit.fused=true",
            Shading(fused=True),
            "probe_kernels",
            NoKernelsError("No module named 'triton'"),
            {
                CPU: r"^fit.fused is true.* here: No module named 'triton'; set fit.fused=false$",
                CUDA: r"^fit.fused is true.* here: No module named 'triton'; install Triton or set fit.fused=false$",
            },
        ),
    ],
)
def test_what_is_asked_for_is_probed_and_where_it_fails_is_told(monkeypatch, asked, shading, probe, error, told):
    def fails(device):
        raise error

    probed = []
    monkeypatch.setattr(fit_means, probe, probed.append)
    assert fit_shading(_config(asked), CPU) == shading and probed == [CPU]
    monkeypatch.setattr(fit_means, probe, fails)
    for device, line in told.items():
        with pytest.raises(ResourceError, match=line) as caught:
            fit_shading(_config(asked), device)
        assert "\n" not in str(caught.value)
    assert fit_shading(_config(), CPU) == Shading(), "not probed where it is not wanted"


def test_patches_are_not_compared_by_fused_kernels():
    with pytest.raises(ConfigError, match=r"fit\.fused"):
        _config("fit.fused=true", "fit.perceptual_weight=0.001")
