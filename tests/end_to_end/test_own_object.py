"""From photographs to a turntable by the command line: ingest, fit with an own decoder, then the shared one."""

import json

import pytest
from support.captures import write_capture
from support.commands import rodin_passes, rodin_refuses
from support.tiny import tree_hashes

pytestmark = pytest.mark.ray

SETTINGS = (
    "device=cpu", "planes.resolution=16", "planes.base_resolution=8", "planes.channels=4", "decoder.hidden=16",
    "decoder.colour_hidden=8", "decoder.steps_per_avatar=10", "fit.steps=10", "fit.rays=128", "fit.samples=4",
    "fit.render_samples=8", "fit.hull_resolution=16", "fit.min_psnr=0.0", "own.steps=40", "own.turntable_views=2",
)  # fmt: skip


def test_photographs_to_a_turntable(tmp_path, shared_session):
    captures = [write_capture(tmp_path / name, train=6, test=2) for name in ("egg", "other")]
    run = tmp_path / "run"
    options = [word for setting in SETTINGS for word in ("--set", setting)]
    rodin_passes("ingest", *captures, "--out", run, *options)
    output = rodin_passes("fit", "--own-decoder", "--out", run)
    for avatar in ("a000000", "a000001"):
        assert f"{avatar}: held-out PSNR" in output and str(run / "own" / avatar) in output
        metrics = json.loads((run / "own" / avatar / "metrics.json").read_text())
        assert f"{metrics['psnr_db']:.2f} dB over white" in output
    before = tree_hashes(run / "own")
    rodin_passes("fit", "--own-decoder", "--out", run)
    assert tree_hashes(run / "own") == before
    assert "--redo own" in rodin_refuses("fit", "--own-decoder", "--out", run, "--set", "own.steps=41")
    rodin_passes("fit", "--out", run)
    assert tree_hashes(run / "own") == before
    (run / "own" / "a000001" / "views.png").write_bytes(b"")
    from support.commands import rodin

    result = rodin("inspect", "--verify", "--out", run)
    assert result.exit_code == 1 and "views.png is missing or changed" in result.stdout, result.output
