"""The PLY of an avatar: what a reader of 3D Gaussians finds in it."""

import math
import re

import numpy as np
import pytest
import torch
from support.commands import rodin_passes, rodin_refuses
from support.shown_run import SAMPLE, make_shown_run

from pipeline.commands.export import splats
from pipeline.commands.export.splats import PROPERTIES, encode_ply
from rodin_models.field.splats import Splats


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_shown_run(tmp_path_factory.mktemp("shown"))


def read_ply(data):
    """Columns by name, as the header says."""
    head, body = data.split(b"end_header\n", 1)
    lines = head.decode("ascii").split("\n")
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    (count,) = [int(line.split()[2]) for line in lines if line.startswith("element vertex")]
    names = [line.split()[2] for line in lines if line.startswith("property float")]
    table = np.frombuffer(body, np.dtype([(name, "<f4") for name in names]))
    assert len(table) == count
    return table


def test_positions_are_metres_with_y_down_and_colours_opacities_and_sizes_as_viewers_read_them():
    one = Splats(torch.tensor([[0.5, 0.25, 1.0]]), 0.01, torch.tensor([0.75]), torch.tensor([[1.0, 0.5, 0.0]]))
    (row,) = read_ply(encode_ply(one, 0.2))
    assert [row[name] for name in "xyz"] == pytest.approx([-0.1, -0.05, 0.2])
    assert 1 / (1 + math.exp(-row["opacity"])) == pytest.approx(0.75)
    assert np.exp([row[f"scale_{axis}"] for axis in range(3)]) == pytest.approx([0.002] * 3)
    assert [row[f"rot_{number}"] for number in range(4)] == [1, 0, 0, 0]
    # Degree 0 of real spherical harmonics is 1 / (2 sqrt(pi)) = 0.28209479 everywhere.
    assert [0.5 + 0.28209479 * row[f"f_dc_{c}"] for c in range(3)] == pytest.approx([1.0, 0.5, 0.0], abs=1e-6)
    assert row.dtype.names == PROPERTIES


@pytest.mark.seconds
def test_an_avatar_of_a_run_is_a_file_that_says_how_near_it_is(run, monkeypatch):
    monkeypatch.setattr(splats, "SIDE", 48)
    monkeypatch.setattr(splats, "VIEWS", 8)
    said = rodin_passes("export", "splats", "--out", run.layout.root, "--avatar", "0", "--resolution", "24")
    path = run.layout.root / "splats" / "a000000.ply"
    assert list(path.parent.iterdir()) == [path] and str(path) in said
    table = read_ply(path.read_bytes())
    assert f"{len(table)} Gaussians" in said
    assert float(re.search(r"([\d.]+) dB to the field in 8 views", said).group(1)) > 15
    extent = run.config.render.extent_m
    for axis in "xyz":  # it is a solid cube
        assert table[axis].min() == pytest.approx(-extent, rel=0.05)
        assert table[axis].max() == pytest.approx(extent, rel=0.05)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say whose"),
        (("--sample", SAMPLE, "--file", "x.glb"), "is no name of a .ply file"),
    ],
)
def test_what_cannot_be(run, words, said):
    assert said in rodin_refuses("export", "splats", "--out", run.layout.root, *words)
