import io
import shutil

import numpy as np
import pytest
import torch
from support.shown_run import SAMPLE, make_shown_run

from pipeline.commands.export.mesh import encode_glb, export_mesh, linear_from_srgb, mesh_path
from pipeline.commands.export.mesh_request import MeshRequest
from pipeline.commands.gallery import Gallery
from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.errors import DataError, ResourceError
from pipeline.contracts.naming import RunLayout
from pipeline.run.run import Run
from rodin_models.field.mesh import Mesh

trimesh = pytest.importorskip("trimesh")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return Gallery.open(make_shown_run(tmp_path_factory.mktemp("shown")))


@pytest.mark.parametrize("name", ["a000000", SAMPLE])
def test_a_solid_cube_is_exported_in_metres(gallery, tmp_path, name):
    path = tmp_path / "new" / "cube.glb"
    extent = gallery.run.config.render.extent_m
    said = export_mesh(gallery.exhibit(name), extent, MeshRequest(16), path)
    read = trimesh.load(path, force="mesh")
    # Its density is about 400 and no texel lets the surface's length of 1/64 become half transparent.
    assert np.allclose(read.bounds, [[-extent] * 3, [extent] * 3], atol=0.02 * extent)
    assert read.is_watertight and read.volume > 0.9 * (2 * extent) ** 3
    assert f"{len(read.faces)} triangles" in said and "pieces below 1 % of the largest are left out" in said
    assert list(path.parent.iterdir()) == [path], "nothing half written stays"


def test_the_default_file_is_in_the_run(gallery):
    assert mesh_path(gallery.run.layout, "a000000") == gallery.run.layout.root / "meshes" / "a000000.glb"
    assert mesh_path(gallery.run.layout, SAMPLE) == gallery.run.layout.root / "meshes" / "noise-avatar-000.glb"


def test_a_glb_keeps_frame_and_16_bits_of_linear_colour():
    """Three corners marked red on the left (+x), green on top (+y) and dark blue in front (+z)."""
    vertices = np.eye(3, dtype=np.float32)
    colours = np.diag([1.0, 1.0, 0.1]).astype(np.float32)
    faces, normals = np.array([[0, 1, 2]], np.int32), np.full((3, 3), 3**-0.5, np.float32)
    scene = trimesh.load(io.BytesIO(encode_glb(Mesh(vertices, faces, normals, colours), "a")), file_type="glb")
    (read,) = scene.geometry.values()
    assert np.array_equal(read.vertices, vertices) and np.array_equal(read.faces, faces)
    assert np.allclose(scene.graph[scene.graph.nodes_geometry[0]][0], np.eye(4))
    stored = np.asarray(read.visual.vertex_attributes["color"])
    assert stored.dtype == np.uint16
    # IEC 61966-2-1: ((0.1 + 0.055) / 1.055) ** 2.4 = 0.010023, of 65535: 657
    assert np.array_equal(stored, [[65535, 0, 0, 65535], [0, 65535, 0, 65535], [0, 0, 657, 65535]])


def test_the_transfer_function():
    values = np.linspace(0, 1, 101, dtype=np.float32)
    linear = linear_from_srgb(values)
    back = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.allclose(back, values, atol=1e-4)
    assert (np.diff(linear) > 0).all()


def test_names_of_what_is_there(gallery):
    assert gallery.names() == ("a000000", SAMPLE), "avatar 1 has failed"
    assert len(gallery.training_views("a000000")) == gallery.run.config.render.train_views
    assert gallery.training_views(SAMPLE) == ()


@pytest.mark.parametrize("name", ["a000001", "noise/avatar-007", "../run/samples/noise/avatar-000", "noise"])
def test_what_is_not_there(gallery, name):
    with pytest.raises(DataError, match="has no"):
        gallery.exhibit(name)


@pytest.mark.parametrize("data", [b"", b"no array", None])
def test_a_damaged_sample(gallery, data):
    folder = gallery.run.layout.samples / "damaged" / "avatar-000"
    folder.mkdir(parents=True)
    try:
        path = folder / "planes.npy"
        if data is None:
            np.save(path, np.zeros((3, 2, 8, 8), np.float16))
        else:
            path.write_bytes(data)
        with pytest.raises(DataError, match="generate it again"):
            gallery.exhibit("damaged/avatar-000")
    finally:
        shutil.rmtree(folder.parent)


def test_an_avatar_of_another_decoder_is_not_shown(gallery, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(gallery.run.layout.root, root)
    ledger = root / "ledger" / "decoder" / "decoder.json"
    before = ledger.read_text()
    sha256 = gallery_sha(before)
    ledger.write_text(before.replace(sha256, "0" * 64))
    with pytest.raises(DataError, match="under its decoder; fitted are none"):
        Gallery.open(Run(RunLayout(root), gallery.run.config)).exhibit("a000000")


def gallery_sha(text):
    return text.split('"decoder_sha256": "')[1].split('"')[0]


def test_thin_air_is_an_error_and_no_file(tmp_path):
    thin = Gallery.open(make_shown_run(tmp_path, density=1.0))
    with pytest.raises(DataError, match="no surface"):
        export_mesh(thin.exhibit("a000000"), 0.25, MeshRequest(16), tmp_path / "x.glb")
    assert not (tmp_path / "x.glb").exists()


def test_a_place_that_cannot_be_written(gallery, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="--file"):
        export_mesh(gallery.exhibit("a000000"), 0.25, MeshRequest(16), tmp_path / "file" / "x.glb")


def test_a_picture_shows_the_cube_where_it_is(gallery):
    """From the front at distance 3 the cube's front face is 2 away and fills the middle."""
    camera = Camera.look_at(orbit_position(0.0, 0.0, 3.0), np.zeros(3), fov_deg=90.0, width=24, height=16)
    rgb, depth = gallery.picture(gallery.exhibit("a000000"), camera)
    assert rgb.shape == (16, 24, 3) and rgb.dtype == np.uint8
    assert np.allclose(depth[6:10, 10:14], 2.0, atol=0.05)
    assert np.isinf(depth[0]).all() and (rgb[0] > 250).all()
    assert torch.is_tensor(gallery.exhibit("a000000").planes)
