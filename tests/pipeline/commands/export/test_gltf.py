"""Meshes as other programs read them."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image
from support.commands import rodin_passes
from support.gltf import validated
from support.shown_run import SAMPLE, make_shown_run

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("xatlas")
pytest.importorskip("fast_simplification")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return make_shown_run(tmp_path_factory.mktemp("shown")).layout.root


def export(out, path, *more):
    words = ("--sample", SAMPLE, "--resolution", "24", "--file", path, *more)
    return rodin_passes("export", "glb", "--out", out, *words)


def parts(path):
    """The JSON of a GLB file, and its binary chunk."""
    data = path.read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def test_a_texture_is_in_the_file_with_normals_and_one_material(out, tmp_path):
    path = tmp_path / "a.glb"
    said = export(out, path, "--texture", "64", "--triangles", "500")
    assert "a texture of 64 x 64" in said and "pieces below 1 % of the largest are left out" in said
    tree, binary = parts(path)
    (mesh,), (material,), (image,) = tree["meshes"], tree["materials"], tree["images"]
    assert set(mesh["primitives"][0]["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0"}
    assert material["pbrMetallicRoughness"]["baseColorTexture"] == {"index": 0}
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"] == list(material["extensions"])
    view = tree["bufferViews"][image["bufferView"]]
    start = view.get("byteOffset", 0)
    picture = Image.open(io.BytesIO(binary[start : start + view["byteLength"]]))
    assert picture.size == (64, 64) and image["mimeType"] == "image/png"
    read = trimesh.load(path, force="mesh")
    assert 0 < len(read.faces) <= 500
    extent = 0.25
    assert np.allclose(read.bounds, [[-extent] * 3, [extent] * 3], atol=0.02)


def test_v_runs_downwards_as_gltf_has_it():
    from pipeline.commands.export.mesh import encode_textured_glb
    from rodin_models.field.mesh import Mesh
    from rodin_models.field.texture import Texture

    corners = np.eye(3, dtype=np.float32)
    mesh = Mesh(corners, np.array([[0, 1, 2]], np.int32), np.full((3, 3), 3**-0.5, np.float32), corners)
    uv = np.array([[0.0, 0.25], [1.0, 0.25], [0.5, 0.75]], np.float32)
    data = encode_textured_glb(Texture(mesh, uv, np.zeros((4, 4, 3), np.uint8), 1.0), "a")
    length = struct.unpack_from("<I", data, 12)[0]
    tree, binary = json.loads(data[20 : 20 + length]), data[28 + length :]
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"]]
    start = tree["bufferViews"][accessor["bufferView"]].get("byteOffset", 0)
    assert np.array_equal(np.frombuffer(binary, np.float32, 6, start).reshape(3, 2), uv)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [(), ("--triangles", "400"), ("--texture", "128"), ("--texture", "64", "--triangles", "300")]
)
def test_the_khronos_validator_finds_nothing(out, tmp_path, more):
    export(out, tmp_path / "a.glb", *more)
    issues = validated(tmp_path / "a.glb")["issues"]
    assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"]
