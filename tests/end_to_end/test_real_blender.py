"""Two avatars through the command line with the real worker, and the check of this machine."""

import pytest
from support.commands import rodin_passes, rodin_refuses
from support.tiny import arguments, tiny_config

from pipeline.contracts.naming import RunLayout
from pipeline.io.shards import read_avatar
from pipeline.run.run import Run

pytestmark = [pytest.mark.blender, pytest.mark.ray, pytest.mark.slow]
SETTINGS = ("render.num_avatars=2", "render.train_views=1", "render.held_out_views=1", "render.samples=4")


def test_render_two_avatars(tmp_path):
    layout = RunLayout(tmp_path / "run")
    rodin_passes("render", "--out", layout.root, *arguments("", *SETTINGS))
    config = tiny_config("", *SETTINGS)
    (report,) = Run(layout, config).render_reports().values()
    assert report.done == (0, 1) and not report.failures
    assert "bpy" in report.versions
    for avatar in report.done:
        samples = read_avatar(layout.shard(0), avatar)
        assert [sample.record.split for sample in samples] == ["train", "held_out", "frontal"]
        for sample in samples:
            covered = sample.rgba[..., 3] > 127
            assert 0.15 < covered.mean() < 0.95, "a head with shoulders fills a part of the image"
            assert (sample.depth[sample.rgba[..., 3] == 255] > 0).all()
            assert (sample.depth[sample.rgba[..., 3] == 0] == 0).all()
            assert sample.rgba[covered][:, :3].std() > 10, "it is shaded and coloured"
    text = rodin_passes("inspect", "--out", layout.root)
    assert "2 avatars in 1 shards" in text
    assert (layout.report / "renders.png").is_file()
    rodin_passes("export", "person", "--out", layout.root, "--avatar", "1")
    length = (layout.root / "meshes" / "a000001-person.glb").read_bytes()[8:12]
    assert int.from_bytes(length, "little") == (layout.root / "meshes" / "a000001-person.glb").stat().st_size
    assert "rendered no a000007" in rodin_refuses("export", "person", "--out", layout.root, "--avatar", "7")
    line = rodin_refuses("export", "person", "--out", layout.root, "--avatar", "1", "--file", layout.root / "x.obj")
    assert "x.obj is no name of a .glb file" in line


def test_doctor_finds_this_machine_sound(tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise RuntimeError('a file of somebody else')\n")
    monkeypatch.chdir(tmp_path)
    text = rodin_passes("doctor", "--out", tmp_path / "run")
    assert "FAIL" not in text
    assert "rendered a 64-pixel frame" in text and "Ray:" in text and "disk:" in text
