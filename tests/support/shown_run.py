"""A run with something to show, made by hand: a solid cube as avatar 0 and as a sample; avatar 1 is not fitted."""

from pathlib import Path

import numpy as np
import torch

from pipeline.contracts.conventions import SCHEMA_VERSION
from pipeline.contracts.naming import RunLayout, format_shard
from pipeline.contracts.planes import DecoderReport, FitReport, FitShardReport
from pipeline.contracts.rendering import AvatarFailure
from pipeline.io.ledger import write_ledger
from pipeline.io.plane_store import PlaneStore, create_plane_store
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.run import Run, decoder_sha256
from pipeline.stages.fit.settings import decoder_settings
from pipeline.stages.render import render_shard
from pipeline.stages.work import WorkItem
from rodin_models.checkpoint import save_state
from rodin_models.field.decoder import Decoder
from support.fake_blender import make_fake_blender
from support.tiny import tiny_config

SAMPLE = "noise/avatar-000"
COMMON = {"schema_version": SCHEMA_VERSION, "fingerprint": "f", "started_at": 0.0, "finished_at": 0.0}
WHO = {"versions": {}, "processor": "p"}


def make_shown_run(folder: Path, *, density: float = 400.0) -> Run:
    """``density`` is the cube's, about, per world unit."""
    config = tiny_config(make_fake_blender(folder), "render.num_avatars=2")
    layout = RunLayout(folder / "run")
    render_shard(
        WorkItem(Run(layout, config), "render", stage_fingerprints(config)["render"], 0), lambda done, total: None
    )
    layout.config.write_text(config.to_toml())

    generator = torch.Generator().manual_seed(0)
    decoder = Decoder(decoder_settings(config), generator)
    with torch.no_grad():
        decoder.density.bias.fill_(float(np.log(density)))
        decoder.density.weight.mul_(0.01)
    spec = config.plane_spec()
    shape = (3, spec.channels, spec.resolution, spec.resolution)
    layout.decoder.mkdir()
    save_state(
        layout.decoder,
        {
            "settings": vars(decoder_settings(config)),
            "decoder": dict(decoder.state_dict()),
            "mean_planes": torch.zeros(shape),
        },
    )
    sha256 = decoder_sha256(layout.decoder)
    decoder_fields = {"avatars": (0,), "sources": {}, "psnr_db": None, "steps": 1, "seconds": 1.0}
    write_ledger(
        layout.ledger("decoder", "decoder"),
        DecoderReport(**COMMON, **WHO, **decoder_fields, decoder_sha256=sha256),
    )

    planes = torch.randn(shape, generator=generator).half().numpy()
    create_plane_store(layout.planes, spec, 2, sha256)
    base = planes[:, :, :: spec.resolution // spec.base_resolution, :: spec.resolution // spec.base_resolution]
    stored = PlaneStore.open(layout.planes).write(0, planes, base)
    measures = dict.fromkeys(("psnr_db", "psnr_foreground_db", "ssim", "coverage"))
    fit = FitReport(avatar=0, source_sha256="", **measures, steps=1, seconds=1.0, planes_sha256=stored)
    failure = AvatarFailure(avatar=1, reason="made so")
    fits = FitShardReport(**COMMON, **WHO, shard=0, decoder_sha256=sha256, fits=(fit,), failures=(failure,))
    write_ledger(layout.ledger("fit", format_shard(0)), fits)

    sample = layout.samples / SAMPLE / "planes.npy"
    sample.parent.mkdir(parents=True)
    np.save(sample, planes)
    return Run(layout, config)
