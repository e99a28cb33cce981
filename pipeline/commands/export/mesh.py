"""``rodin-pipe export``: a fitted or a generated avatar as a coloured mesh in a GLB file.

GLB is binary glTF 2.0: metres, +y up, +z to the front, which are the world's axes. A vertex's colour is linear there,
in 16 bits, since 8 linear bits would band in dark hair. The light is in the colours already, so the material is unlit
(KHR_materials_unlit, with a matt one for viewers that do not know it).
"""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.commands.gallery import Gallery
from pipeline.contracts.errors import ConfigError, DataError, ResourceError
from pipeline.contracts.naming import RunLayout
from pipeline.io.publish import publish_bytes
from rodin_models.field.mesh import Mesh, extract_mesh

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
    if path.suffix.lower() != SUFFIX or path.is_dir():
        raise ConfigError(f"--file {path} is no name of a {SUFFIX} file")


def export_mesh(gallery: Gallery, name: str, resolution: int, path: Path) -> Mesh:
    """Publish the mesh of an avatar as ``path``, and return it.

    Raises ``DataError`` when the avatar is not there or has no surface, ``ResourceError`` when the file cannot be
    written.
    """
    exhibit = gallery.exhibit(name)
    mesh = extract_mesh(
        gallery.field(exhibit),
        extent_m=gallery.run.config.render.extent_m,
        resolution=resolution,
        device=gallery.device,
    )
    if not len(mesh.faces):
        raise DataError(f"{name} has no surface: its planes are too thin to be seen; no mesh is written")
    try:
        publish_bytes(path, encode_glb(mesh, name))
    except OSError as error:
        raise ResourceError(f"{path} cannot be written ({error.strerror}): give another --file") from None
    return mesh


def encode_glb(mesh: Mesh, name: str) -> bytes:
    """The bytes of a GLB file with one mesh in it."""
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
