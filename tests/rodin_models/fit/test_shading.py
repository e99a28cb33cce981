import shutil
import subprocess
import sys

import pytest
import torch

from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.field.rays import RaySamples
from rodin_models.fit.shading import CannotCompileError, Shader, Shading, decode, probe_compile

pytestmark = pytest.mark.seconds

CPU = torch.device("cpu")


def _generator(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def decoder():
    return Decoder(DecoderSettings(channels=8, hidden=32, colour_hidden=16), _generator(0)).requires_grad_(False)


@pytest.fixture(scope="module")
def seen():
    """Features, directions, what is inside, samples; some exponents beyond the bound."""
    features = torch.randn(40, 6, 8, generator=_generator(1))
    features[:4] *= 40
    directions = torch.nn.functional.normalize(torch.randn(40, 3, generator=_generator(2)), dim=-1)
    inside = (torch.rand(40, 6, generator=_generator(3)) > 0.1).float()
    lengths = 0.1 * torch.rand(40, 6, generator=_generator(4))
    return features, directions, inside, RaySamples(lengths.cumsum(-1), lengths)


def _gradient(value, features):
    return torch.autograd.grad(value, features)[0]


def _shaded(shader, seen):
    features = seen[0].clone().requires_grad_()
    pixels, density = shader.rays(features, *seen[1:])
    target = torch.linspace(0, 1, 3)
    return pixels, density, _gradient((pixels.rgb - target).square().sum() + pixels.alpha.sum(), features)


def test_plain_operations_give_the_decoders_numbers_and_gradients(decoder, seen):
    features = seen[0].clone().requires_grad_()
    told, plain = decoder(features, seen[1][:, None]), decode(decoder, features, seen[1][:, None], torch.float32)
    assert (told[0] > 3e6).any(), "some exponents are held at their bound"
    for one, other in zip(told, plain, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
        gradients = [torch.autograd.grad(v.sum(), features, retain_graph=True)[0] for v in (one, other)]
        assert torch.allclose(*gradients, rtol=1e-3, atol=1e-5 * float(gradients[0].abs().max()))


def test_nothing_exists_outside_and_density_alone_is_the_same(decoder, seen):
    shader = Shader(decoder, Shading())
    pixels, density, _ = _shaded(shader, seen)
    assert (density[seen[2] == 0] == 0).all() and (density[seen[2] == 1] > 0).all()
    flat = seen[0].reshape(-1, 8)
    assert torch.allclose(shader.density(flat).view(40, 6) * seen[2], density, rtol=1e-4)
    assert torch.allclose(pixels.weights.sum(-1), pixels.alpha, atol=1e-5)


def test_bfloat16_is_close_to_float32(decoder, seen):
    exact, rough = (_shaded(Shader(decoder, Shading(dtype)), seen) for dtype in (torch.float32, torch.bfloat16))
    assert all(t.dtype == torch.float32 for t in (*rough[0], *rough[1:]))
    # bfloat16 has 8 bits: 2^-8 is 0.004, and a few products follow one another.
    assert (exact[0].rgb - rough[0].rgb).abs().max() < 0.02
    assert (exact[0].alpha - rough[0].alpha).abs().max() < 0.02
    assert 1e-5 < (exact[0].rgb - rough[0].rgb).abs().mean() < 0.003
    usual = slice(4, None)  # beyond the density's bound gradients are huge
    cosine = torch.nn.functional.cosine_similarity(exact[2][usual].reshape(-1), rough[2][usual].reshape(-1), dim=0)
    assert cosine > 0.99


def test_a_missing_compiler_is_one_line(monkeypatch):
    def broken(function, **more):
        def call(*arguments):
            raise RuntimeError("No working C++ compiler found\nSet TORCHDYNAMO_VERBOSE=1 for more")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(CannotCompileError, match=r"^No working C\+\+ compiler found$"):
        probe_compile(CPU)


COMPILED = """
import torch
from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.field.rays import RaySamples
from rodin_models.fit.shading import Shader, Shading

draw = torch.Generator().manual_seed(0)
decoder = Decoder(DecoderSettings(channels=8, hidden=32, colour_hidden=16), draw).requires_grad_(False)
features, lengths = torch.randn(40, 6, 8, generator=draw), 0.1 * torch.rand(40, 6, generator=draw)
directions = torch.nn.functional.normalize(torch.randn(40, 3, generator=draw), dim=-1)
inside = (torch.rand(40, 6, generator=draw) > 0.1).float()
told = []
for compiled in (False, True):
    read = features.clone().requires_grad_()
    shader = Shader(decoder, Shading(compiled=compiled))
    pixels, density = shader.rays(read, directions, inside, RaySamples(lengths.cumsum(-1), lengths))
    (grad,) = torch.autograd.grad((pixels.rgb - 0.3).square().sum() + pixels.alpha.sum(), read)
    told.append([t.detach() for t in (*pixels, density, grad)])
print(max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*told)))
"""


@pytest.mark.slow
def test_compiled_numbers_agree():
    """In a process of its own: compilers do not look through the shape checks of the tests."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("torch compiles for CPUs with g++, and there is none")
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 1e-4
