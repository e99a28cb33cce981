"""What eight bits cost on views that no fit has read."""

import pytest
import torch

from pipeline.io.plane_store import PlaneStore
from pipeline.stages.fit.decoder_file import load_decoder
from pipeline.stages.live import live_field
from pipeline.stages.views import read_views
from rodin_models.fit.evaluation import evaluate_views

CPU = torch.device("cpu")


@pytest.mark.seconds
def test_eight_bits_cost_fits_at_most_a_fifth_of_a_decibel(made):
    run = made.run
    store = PlaneStore.open(run.layout.planes, run.config.plane_spec())
    decoder, _ = load_decoder(run.layout, CPU)
    fits = [fit for report in run.fit_reports().values() for fit in report.fits][:3]
    for fit in fits:
        planes = torch.from_numpy(store.read(fit.avatar)).float()
        field, _ = live_field(planes, decoder, 4)
        views = read_views(run, fit.avatar, ("held_out",), CPU)
        samples = run.config.fit.render_samples
        full, coarse = (
            evaluate_views(each, decoder, views, samples=samples).psnr_db
            for each in (planes, torch.from_numpy(field.planes.full()))
        )
        assert all(after >= before - 0.2 for before, after in zip(full, coarse, strict=True))
