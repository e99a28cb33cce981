"""The GLB of an avatar: what another library reads is what the renderer was given."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from blender_scripts.body.landmarks import landmark_points
from blender_scripts.geometry.parts import MeshPart, Part, StrandPart
from blender_scripts.mesh_export import encode_glb, main
from blender_scripts.person import build_person
from pipeline.people.draw import draw_avatar

pytestmark = pytest.mark.seconds
EXTENT_M = 0.25


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    return build_person(draw_avatar(0, 3))


def test_trimesh_reads_every_surface_with_its_vertices_and_colours(parts: list[Part], tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(encode_glb(parts, EXTENT_M, strands=False))
    scene = trimesh.load(path, process=False)
    surfaces = [part for part in parts if isinstance(part, MeshPart)]
    assert set(scene.geometry) == {part.name for part in surfaces}
    for part in surfaces:
        mesh, used = scene.geometry[part.name], np.unique(part.faces)
        np.testing.assert_allclose(mesh.vertices, part.vertices[used], atol=1e-6)
        assert len(mesh.faces) == len(part.faces) * (part.faces.shape[1] - 2)
        colours = np.asarray(mesh.visual.vertex_attributes["color"], float)[:, :3]
        np.testing.assert_allclose(colours, part.colours[used].clip(0, 1), atol=0.01)
    assert np.abs(scene.bounds).max() < EXTENT_M


def test_strands_are_lines_and_landmarks_stand_in_the_scene(parts: list[Part]) -> None:
    data = encode_glb(parts, EXTENT_M)
    magic, version, total = struct.unpack_from("<4sII", data)
    assert (magic, version, total) == (b"glTF", 2, len(data))
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length])
    strands = [part for part in parts if isinstance(part, StrandPart)]
    lines = {m["name"]: p for m in document["meshes"] for p in m["primitives"] if p["mode"] == 1}
    assert set(lines) == {part.name for part in strands}
    for part in strands:
        segments = document["accessors"][lines[part.name]["indices"]]["count"] / 2
        assert segments == len(part.points) * (part.points.shape[1] - 1)
    told = np.array(document["scenes"][0]["extras"]["landmarks"])
    np.testing.assert_allclose(told, landmark_points(parts[0])[0], atol=1e-5)
    classes = {node["name"]: node["extras"]["class"] for node in document["nodes"]}
    assert classes["garment"] == "garment" and classes["hair"] == "hair" and classes["cornea l"] is None


def test_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(draw_avatar(0, 3).to_json())
    assert main([str(spec), str(tmp_path / "a.glb")]) == 0
    assert (tmp_path / "a.glb").read_bytes()[:4] == b"glTF"
    spec.write_text(spec.read_text()[:-40])
    assert main([str(spec), str(tmp_path / "b.glb")]) == 2
    assert main([str(tmp_path / "none.json"), str(tmp_path / "b.glb")]) == 2
    assert capsys.readouterr().err.count("\n") == 2 and not (tmp_path / "b.glb").exists()
