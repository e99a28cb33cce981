"""A field in eight bits, and its bytes."""

import gzip

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.web_fields import blob, small_decoder, unpacked

from pipeline.report.web.field import (
    DENSEST,
    THINNEST,
    LiveField,
    live_cells,
    live_decoder,
    live_planes,
    packed,
)
from pipeline.report.web.page import LiveAvatar, StartCamera, web_page
from pipeline.stages.live import decoder_blocks
from rodin_models.field.decoder import fourier_embedding


def plain_eight_bits(planes):
    """Equation (1), channel by channel in float64: what the planes become."""
    result = np.empty(planes.shape)
    for plane in range(3):
        for channel in range(planes.shape[1]):
            values = planes[plane, channel].astype(np.float64)
            step = (values.max() - values.min()) / 255
            result[plane, channel] = values.min() + step * np.round((values - values.min()) / (step or 1))
    return result


@given(st.integers(0, 2**31), st.sampled_from((1e-3, 1.0, 300.0)))
def test_planes_are_those_of_the_plain_way_and_at_most_half_a_step_off(seed, size):
    planes = (np.random.default_rng(seed).normal(size=(3, 5, 4, 6)) * size).astype(np.float16)
    planes[1, 2] = 0.25  # one that says nothing
    live = live_planes(planes)
    step = live.scale[..., None, None]
    assert np.allclose(live.full(), plain_eight_bits(planes), atol=1e-5 * size)
    assert (np.abs(live.full() - planes.astype(np.float32)) <= 0.5001 * step + 1e-6 * size).all()
    assert np.array_equal(live.full()[1, 2], planes[1, 2].astype(np.float32)) and live.scale[1, 2] == 0
    assert live.levels.min() == 0 and live.levels.max() == 255


def test_cells_keep_what_is_empty_and_their_density_to_three_percent():
    density = np.geomspace(THINNEST, DENSEST, 27).astype(np.float32).reshape(3, 3, 3)
    density[0, 0, 0], density[0, 0, 1], density[0, 0, 2] = -1, 0, 1e6
    found = live_cells(density, (-1, -1, -1), (1, 1, 1), 5).density()
    assert found[0, 0, 0] == -1 and found[0, 0, 1] == 0 and found[0, 0, 2] == pytest.approx(DENSEST)
    # 253 steps over a factor of 200 000 are factors of exp(12.2 / 253) = 1.049; the nearest is half as far.
    assert np.allclose(found.reshape(-1)[3:], density.reshape(-1)[3:], rtol=0.025)


@pytest.mark.parametrize(("channels", "hidden", "colour_hidden"), [(4, 8, 4), (6, 10, 7)])
@pytest.mark.parametrize(("octaves", "direction_octaves"), [(1, 1), (0, 0), (2, 3)])
def test_blocks_of_weights_make_the_decoders_own_numbers(channels, hidden, colour_hidden, octaves, direction_octaves):
    """The shader's loops in numpy, over blocks of fours."""
    sizes = {"hidden": hidden, "colour_hidden": colour_hidden, "octaves": octaves}
    decoder = small_decoder(channels, direction_octaves=direction_octaves, **sizes)
    shape, blocks = decoder_blocks(decoder).shape, decoder_blocks(decoder).blocks
    fours, rows, seen = shape["channels"], shape["hidden"], shape["colour_hidden"]
    feature = torch.randn(channels, generator=torch.Generator().manual_seed(3))
    along = torch.nn.functional.normalize(torch.tensor((0.3, -0.5, 0.8)), dim=0)
    embedded = [feature] + [wave(feature * np.pi * 2**o) for o in range(octaves) for wave in (torch.sin, torch.cos)]
    padded = [np.pad(part.numpy(), (0, 4 * fours - channels)).reshape(fours, 4) for part in embedded]
    rest = blocks["rest"].reshape(-1, 4)
    hidden_rows = rest[:rows].copy()
    for part, values in enumerate(padded):
        matrices = blocks[f"trunk{part}"].reshape(fours, rows, 4, 4)
        hidden_rows += np.einsum("jico,jc->io", matrices, values)
    hidden_rows = np.maximum(hidden_rows, 0)
    bias = rest[-1]
    density = np.exp(bias[3] + (rest[rows : 2 * rows] * hidden_rows).sum())
    direction = fourier_embedding(along, direction_octaves).numpy()
    first = 2 * rows + seen
    terms = rest[first : first + len(direction) * seen].reshape(len(direction), seen, 4)
    colour_rows = rest[2 * rows : first] + np.einsum("dko,d->ko", terms, direction)
    colour_rows += np.einsum("kico,ic->ko", blocks["colourFeature"].reshape(seen, rows, 4, 4), hidden_rows)
    weights = rest[first + len(direction) * seen : -1].reshape(3, seen, 4)
    rgb = 1 / (1 + np.exp(-bias[:3] - (weights * np.maximum(colour_rows, 0)).sum((1, 2))))
    expected = decoder(feature[None], along[None])
    assert density == pytest.approx(float(expected[0][0]), rel=1e-4)
    assert np.allclose(rgb, expected[1][0].numpy(), atol=1e-5)


def test_the_bytes_are_the_field_and_always_the_same():
    _, _, field, _ = blob()
    head, data = packed(field)
    found = unpacked(head, gzip.decompress(data))
    assert np.array_equal(found["planes"], field.planes.levels) and np.array_equal(found["cells"], field.cells.levels)
    assert np.array_equal(found["scale"], field.planes.scale.reshape(-1))
    assert all(np.array_equal(found[name], block) for name, block in field.decoder.blocks.items())
    assert packed(field)[1] == data


@pytest.mark.parametrize(("side", "channels", "megabytes"), [(128, 32, 3), (256, 32, 12)])
def test_even_planes_of_noise_keep_within_the_size_of_a_page(side, channels, megabytes):
    noise = np.random.default_rng(0).integers(0, 256, (3, channels, side, side), np.uint8).astype(np.float16)
    cells = np.random.default_rng(1).uniform(0, 10, (64, 64, 64)).astype(np.float32)
    decoder = decoder_blocks(small_decoder(channels, hidden=64, colour_hidden=64))
    field = LiveField(live_planes(noise), live_cells(cells, (-1, -1, -1), (1, 1, 1), 111), decoder, 24)
    page = web_page([LiveAvatar("a", "", (), bytes(30_000), StartCamera(4.6, 30), field)], "a")
    assert len(page.encode()) < megabytes * 10**6


@pytest.mark.parametrize(("change", "reason"), [({"hidden": 1024}, "trunk0"), ({"octaves": 5}, "5 octaves")])
def test_a_decoder_that_no_browser_takes(change, reason):
    given = {"channels": 32, "octaves": 1, "direction_octaves": 1, "hidden": 16} | change
    parts = 1 + 2 * given["octaves"]
    weights = {
        "trunk.weight": np.zeros((given["hidden"], parts * given["channels"]), np.float32),
        "trunk.bias": np.zeros(given["hidden"], np.float32),
        "density.weight": np.zeros((1, given["hidden"]), np.float32),
        "density.bias": np.zeros(1, np.float32),
        "colour_feature.weight": np.zeros((8, given["hidden"]), np.float32),
        "colour_feature.bias": np.zeros(8, np.float32),
        "colour_direction.weight": np.zeros((8, 9), np.float32),
        "colour.weight": np.zeros((3, 8), np.float32),
        "colour.bias": np.zeros(3, np.float32),
    }
    with pytest.raises(ValueError, match=reason):
        live_decoder(
            weights, channels=given["channels"], octaves=given["octaves"], direction_octaves=given["direction_octaves"]
        )
