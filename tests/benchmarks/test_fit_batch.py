import json

import pytest
import torch
from support.textured_ellipsoid import make_views

from benchmarks import fit_batch
from benchmarks.subject import Subject
from rodin_models.field.decoder import Decoder, DecoderSettings
from rodin_models.fit.settings import FitSettings
from rodin_models.fit.shading import Shading


@pytest.mark.seconds
def test_batches_are_measured_on_a_cpu(capsys):
    draw = torch.Generator().manual_seed(0)
    decoder = Decoder(DecoderSettings(channels=4, hidden=16, colour_hidden=8), draw).requires_grad_(False)
    planes = 0.05 * torch.randn(3, 4, 16, 16, generator=draw)
    subject = Subject(make_views(6, 32), make_views(1, 16, seed=9), decoder, planes)
    settings = FitSettings(resolution=16, steps=10, rays=100, samples=4, hull_resolution=16, empty_points=16)
    more = dict(wanted=(5.0, 60.0), every=4, render_samples=4, seed=0)
    fit_batch.run([subject], settings, Shading(), (1, 3), **more)
    lines = capsys.readouterr().out.splitlines()
    assert sum("step 10:" in line for line in lines) == 2, "the last step is measured too"
    told = json.loads(lines[-1])
    assert told["precision"] == "float32" and "CPU threads" in told["device"]
    for row, batch in zip(told["batches"], (1, 3), strict=True):
        assert row["batch"] == batch and "kernel_share" not in row
        assert 0 < row["setup_s"] < row["s_per_avatar_to_5_db"] <= row["s_per_avatar_all_steps"]
        assert row["s_per_avatar_to_60_db"] is None and row["avatars_per_hour_to_60_db"] is None
        assert row["psnr_db"] > 5
