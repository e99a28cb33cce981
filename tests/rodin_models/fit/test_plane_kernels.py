"""The fused kernels, in processes of their own: Triton reads kernels' sources, which the tests' shape checks change."""

import json
import os
import subprocess
import sys

import pytest
import torch

from rodin_models.field.triplane import sample_table
from rodin_models.fit import shading
from rodin_models.fit.shading import NoKernelsError, probe_kernels

pytestmark = pytest.mark.seconds

pytest.importorskip("triton", reason="Triton has no build for this system")
CPU = torch.device("cpu")


def _run(script, **environment):
    more = os.environ | {"TRITON_DEFAULT_FP_FUSION": "1"} | {k: str(v) for k, v in environment.items()}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=500, check=False, env=more
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


INTERPRETED = """
import json
import torch
from rodin_models.fit.plane_kernels import sample_table_fused
from rodin_models.fit.shading import probe_kernels
from rodin_models.field.triplane import sample_table

draw = torch.Generator().manual_seed(0)
wrong = []
for shape in ((8, 8), (5, 9), (1, 4), (4, 1), (1, 1)):
    for channels, avatars in ((1, 1), (12, 1), (32, 3)):
        table = torch.randn(3 * avatars, *shape, channels, generator=draw).requires_grad_()
        points = torch.rand(101, 3, generator=draw) * 2.6 - 1.3
        points[0], points[1] = 1.0, -1.0
        avatar = torch.randint(avatars, (101,), generator=draw, dtype=torch.int32) if avatars > 1 else None
        upstream = torch.randn(101, channels, generator=draw)
        values = [sample(table, points, avatar) for sample in (sample_table, sample_table_fused)]
        grads = [torch.autograd.grad(value, table, upstream)[0] for value in values]
        wrong += [float((a - b).abs().max()) for a, b in (values, grads)]
probe_kernels(torch.device("cpu"))
nothing = sample_table_fused(table, points[:0], avatar[:0])
refused = []
for bad in ((table.double(), points.double()), (table, points.clone().requires_grad_())):
    try:
        sample_table_fused(*bad)
    except ValueError as error:
        refused.append(str(error))
print(json.dumps({"wrong": max(wrong), "nothing": list(nothing.shape), "refused": refused}))
"""


def test_numbers_and_gradients_are_the_references():
    told = _run(INTERPRETED, TRITON_INTERPRET=1)
    assert 0 < told["wrong"] < 1e-5
    assert told["nothing"] == [0, 32]
    assert "float32" in told["refused"][0] and "gradient" in told["refused"][1]


BATCH = """
import json
import torch
from support.textured_ellipsoid import make_views
from rodin_models.fit.batch_fit import fit_batch
from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.fit.plane_fit import FitSettings
from rodin_models.fit.shading import Shading

draw = torch.Generator().manual_seed(0)
decoder = Decoder(DecoderSettings(channels=8, hidden=32, colour_hidden=16), draw).requires_grad_(False)
views = [make_views(6, 24), make_views(5, 20, seed=3)]
settings = FitSettings(resolution=16, steps=5, rays=40, samples=3, hull_resolution=16, empty_points=40)
fits = []
for shading in (Shading(), Shading(fused=True)):
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    initial = torch.zeros(3, 8, 16, 16)
    fits.append(fit_batch(lambda i: views[i], decoder, settings, generators, initial=initial, shading=shading))
losses = [[fit.losses for fit in way] for way in fits]
print(json.dumps(losses))
"""


def test_a_batch_is_fitted_by_them():
    plain, fused = _run(BATCH, TRITON_INTERPRET=1, PYTHONPATH=os.pathsep.join(sys.path))
    for one, other in zip(plain, fused, strict=True):
        assert one == pytest.approx(other, rel=1e-3)
        assert one[-1] < one[0]


COMPILED = r"""
import json
import re
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rodin_models.fit.plane_kernels import POINTS, _visit_corners
from rodin_models.field.triplane import PLANE_AXES

types = dict.fromkeys(("table", "points", "rows"), "*fp32") | {"avatar": "*i64"}
types |= dict.fromkeys(("count", "height", "width", "channels"), "i32")
signature = {name: types.get(name, "constexpr") for name in _visit_corners.arg_names}
told = []
for adding in (False, True):
    fixed = dict(AXES=PLANE_AXES, ADDING=adding, ALONE=False, POINTS=POINTS, CHANNELS=32)
    for capability in (80, 90):
        source = ASTSource(_visit_corners, signature=signature, constexprs=fixed)
        built = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        told.append([adding, len(built.asm["cubin"]), len(re.findall(r"\b(?:red|atom)\.", built.asm["ptx"]))])
print(json.dumps(told))
"""


@pytest.mark.slow
def test_they_compile_for_gpus_that_are_not_here(tmp_path):
    """The interpreter takes more Python than the compiler does."""
    told = _run(COMPILED, TRITON_INTERPRET=0, TRITON_CACHE_DIR=tmp_path)
    assert len(told) == 4
    for adding, size, atomics in told:
        assert size > 1000 and (atomics > 0) == adding


def test_a_cpu_has_none_and_that_is_one_line():
    with pytest.raises(NoKernelsError) as caught:
        probe_kernels(CPU)
    assert str(caught.value) and "\n" not in str(caught.value)


def test_numbers_that_differ_are_told(monkeypatch):
    def wrong(table, points, avatar):
        return sample_table(table, points, avatar) * (1 + 1e-4)

    monkeypatch.setattr(shading, "plane_sampler", lambda fused: wrong if fused else sample_table)
    with pytest.raises(NoKernelsError, match=r"^their numbers differ from the reference's by 1\.0e-04"):
        probe_kernels(CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_runs_them():
    probe_kernels(torch.device("cuda"))
