"""Decoders and planes for pages that draw them: of any shape, with matter in the middle."""

import numpy as np
import torch

from pipeline.stages.live import live_field
from rodin_models.field.decoder import Decoder, DecoderSettings


def small_decoder(channels, *, hidden=16, colour_hidden=12, octaves=1, direction_octaves=1):
    """As it was drawn, but that its first hidden unit is the first channel, which says how dense it is."""
    settings = DecoderSettings(channels, hidden, colour_hidden, octaves, direction_octaves)
    decoder = Decoder(settings, torch.Generator().manual_seed(1)).requires_grad_(False)
    decoder.trunk.weight[0] = 0
    decoder.trunk.weight[0, 0] = 1
    decoder.density.weight.mul_(0.1)
    decoder.density.weight[0, 0] = 4.0
    decoder.density.bias.fill_(-4.0)
    decoder.colour_direction.weight.mul_(8)
    decoder.colour.weight.mul_(3)
    return decoder


def blob(channels=6, side=32, *, samples=24, **shape):
    """Planes that are dense around the middle and coloured in waves; their decoder, live field and occupancy."""
    decoder = small_decoder(channels, **shape)
    ticks = (torch.arange(side) * 2 + 1) / side - 1
    waves = torch.randn(3, channels, 6, 6, generator=torch.Generator().manual_seed(2))
    planes = 0.5 * torch.nn.functional.interpolate(waves, size=(side, side), mode="bicubic")
    planes[:, 0] = 1.5 - 3 * (ticks[:, None] ** 2 + 0.7 * ticks[None] ** 2)
    planes = planes.half().float()
    field, occupancy = live_field(planes, decoder, samples)
    return planes, decoder, field, occupancy


def unpacked(head, data):
    """What data.js makes of a field's bytes, by its name there."""
    found, at = {}, 0
    sizes = [*head["blocks"].items(), ("scale", 3 * head["channels"]), ("offset", 3 * head["channels"])]
    for name, size in sizes:
        found[name] = np.frombuffer(data, "<f4", size, at)
        at += 4 * size
    for name, shape in (("cells", (head["cells"],) * 3), ("planes", (3, head["channels"], head["side"], head["side"]))):
        size = int(np.prod(shape))
        found[name] = np.cumsum(np.frombuffer(data, np.uint8, size, at), dtype=np.uint8).reshape(shape)
        at += size
    assert at == len(data)
    return found
