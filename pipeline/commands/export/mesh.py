"""``rodin-pipe export``: a fitted or a generated avatar as a coloured mesh in a GLB file.

GLB is binary glTF 2.0: metres, +y up, +z to the front, which are the world's axes. A vertex's colour is linear there,
in 16 bits, since 8 linear bits would band in dark hair; a texture is sRGB. The light is in the colours already, so the
one material is unlit (KHR_materials_unlit, with a matt one for viewers that do not know it).
"""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.commands.export.mesh_request import MeshRequest
from pipeline.commands.gallery import Exhibit
from pipeline.contracts.errors import ConfigError, DataError, ResourceError
from pipeline.contracts.naming import RunLayout
from pipeline.io.files import is_folder
from pipeline.io.publish import publish_bytes
from rodin_models.field.mesh import SMALLEST_SHARE, Mesh, extract_mesh
from rodin_models.field.texture import Texture, bake_texture

SUFFIX = ".glb"
_UNSIGNED_SHORT = 5123
_MATERIAL: dict[str, Any] = {
    "name": "avatar",
    "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
    "extensions": {"KHR_materials_unlit": {}},
}


def mesh_path(layout: RunLayout, name: str) -> Path:
    """Where an avatar's mesh goes by default: ``meshes/`` of the run."""
    return layout.root / "meshes" / (name.replace("/", "-") + SUFFIX)


def check_mesh_path(path: Path) -> None:
    """Raises ``ConfigError`` unless ``path`` can be a mesh's file name."""
    if path.suffix.lower() != SUFFIX or is_folder(path):
        raise ConfigError(f"--file {path} is no name of a {SUFFIX} file")


def export_mesh(exhibit: Exhibit, extent_m: float, request: MeshRequest, path: Path) -> str:
    """Publish the mesh of an avatar as ``path``, ``extent_m`` metres a world unit; returns what to say of it.

    Raises ``DataError`` when the avatar has no surface, ``ResourceError`` when the file cannot be written.
    """
    field, device, name = exhibit.field(), exhibit.planes.device, exhibit.name
    mesh = extract_mesh(
        field, extent_m=extent_m, resolution=request.resolution, triangles=request.most_triangles, device=device
    )
    if not len(mesh.faces):
        raise DataError(f"{name} has no surface: its planes are too thin to be seen; no mesh is written")
    said = f"{len(mesh.faces)} triangles, {len(mesh.vertices)} vertices"
    if request.texture is None:
        data = encode_glb(mesh, name)
    else:
        texture = bake_texture(field, mesh, extent_m=extent_m, side=request.texture, device=device)
        data = encode_textured_glb(texture, name)
        said += f", a texture of {request.texture} x {request.texture}, {100 * texture.share:.0f} % of it used"
    try:
        publish_bytes(path, data)
    except OSError as error:
        raise ResourceError(f"{path} cannot be written ({error.strerror}): give another --file") from None
    said += f"; pieces below {100 * SMALLEST_SHARE:g} % of the largest are left out"
    return f"{path}: {said}; any glTF viewer, such as Blender, opens it"


def encode_glb(mesh: Mesh, name: str) -> bytes:
    """The bytes of a GLB file with one mesh in it, its vertices coloured."""
    import trimesh

    solid = trimesh.Trimesh(
        mesh.vertices,
        mesh.faces,
        vertex_normals=mesh.normals,
        vertex_colors=np.round(mesh.colours * 255).astype(np.uint8),
        process=False,
    )
    linear = np.concatenate((linear_from_srgb(mesh.colours), np.ones_like(mesh.colours[:, :1])), 1)

    def finish(buffers: MutableMapping[Any, bytes], tree: MutableMapping[str, Any]) -> None:
        (primitive,) = tree["meshes"][0]["primitives"]
        _set_colours(buffers, tree["accessors"], primitive["attributes"]["COLOR_0"], linear)
        primitive["material"] = 0
        tree["materials"] = [_MATERIAL]
        tree["extensionsUsed"] = list(_MATERIAL["extensions"])

    data: bytes = trimesh.exchange.gltf.export_glb(
        trimesh.Scene({name: solid}), include_normals=True, buffer_postprocessor=finish
    )
    return data


def encode_textured_glb(texture: Texture, name: str) -> bytes:
    """The bytes of a GLB file with one mesh in it and its base colour as a PNG."""
    import trimesh
    from PIL import Image

    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(texture.image))
    # trimesh counts v upwards and writes it downwards, as glTF has it.
    upwards = np.stack((texture.uv[:, 0], 1 - texture.uv[:, 1]), 1)
    solid = trimesh.Trimesh(
        texture.mesh.vertices,
        texture.mesh.faces,
        vertex_normals=texture.mesh.normals,
        visual=trimesh.visual.TextureVisuals(uv=upwards, material=material),
        process=False,
    )

    def finish(buffers: MutableMapping[Any, bytes], tree: MutableMapping[str, Any]) -> None:
        del buffers
        (made,) = tree["materials"]
        texturing = {"baseColorTexture": made["pbrMetallicRoughness"]["baseColorTexture"]}
        tree["materials"] = [_MATERIAL | {"pbrMetallicRoughness": _MATERIAL["pbrMetallicRoughness"] | texturing}]
        tree["extensionsUsed"] = list(_MATERIAL["extensions"])

    data: bytes = trimesh.exchange.gltf.export_glb(
        trimesh.Scene({name: solid}), include_normals=True, buffer_postprocessor=finish
    )
    return data


def linear_from_srgb(srgb: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The inverse of the sRGB transfer function (IEC 61966-2-1), values in [0, 1]."""
    linear: npt.NDArray[np.float32] = np.where(
        srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    ).astype(np.float32)
    return linear


def _set_colours(
    buffers: MutableMapping[Any, bytes], accessors: Mapping[Any, dict[str, Any]], index: int, rgba: npt.NDArray[Any]
) -> None:
    """Put 16-bit colours where trimesh put 8-bit ones: it knows no others."""
    accessor = list(accessors.values())[index]
    accessor["componentType"] = _UNSIGNED_SHORT
    for bound in ("min", "max"):
        accessor.pop(bound, None)
    # Four times two bytes a vertex: the buffer stays aligned.
    buffers[list(buffers)[accessor["bufferView"]]] = np.round(rgba * 65535).astype("<u2").tobytes()
