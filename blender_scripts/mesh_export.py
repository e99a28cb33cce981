"""An avatar's mesh as binary glTF 2.0: ``python -m blender_scripts.mesh_export SPEC_JSON OUT.glb``. Needs no Blender.

One node a part, with vertex colours (linear, as glTF wants them), normals and the class of the segmentation in its
``extras``; the 68 landmarks stand in the scene's. Units are the run's world units, axes are the world's, which are
glTF's too: y up, the face looks along +z. Strands become lines, unless ``--no-strands``. Shaders' detail is left out.
"""

import argparse
import json
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from blender_scripts.body.landmarks import landmark_points
from blender_scripts.geometry.mesh import triangulate, vertex_normals
from blender_scripts.geometry.parts import MeshPart, Part, skin_of
from blender_scripts.person import build_person
from pipeline.contracts.avatar import AvatarSpec
from pipeline.contracts.conventions import LANDMARK_ORDER
from pipeline.contracts.errors import DataError, RodinError
from pipeline.contracts.record import validation_summary

FLOAT, UNSIGNED_INT = 5126, 5125
ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963
LINES, TRIANGLES = 1, 4
KINDS: Final = {1: "SCALAR", 3: "VEC3"}


class _Buffer:
    """The one binary buffer, and the views and accessors into it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: npt.NDArray[Any], target: int, bounds: bool = False) -> int:
        """Append an array; returns its accessor."""
        raw = np.ascontiguousarray(values)
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": raw.nbytes, "target": target})
        self.data += raw.tobytes()
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": FLOAT if raw.dtype == np.float32 else UNSIGNED_INT,
            "count": len(raw),
            "type": KINDS[1 if raw.ndim == 1 else raw.shape[1]],
        }
        if bounds:
            accessor |= {"min": raw.min(0).tolist(), "max": raw.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def encode_glb(parts: Sequence[Part], extent_m: float, strands: bool = True) -> bytes:
    """All parts of an avatar as one ``.glb`` file in metres, as binary glTF is; the run's ``extent_m`` is in it."""
    buffer = _Buffer()
    meshes, nodes, materials = [], [], [{"name": "opaque", "doubleSided": True, "pbrMetallicRoughness": _rough(1.0)}]
    materials.append({"name": "clear", "doubleSided": True, "alphaMode": "BLEND", "pbrMetallicRoughness": _rough(0.1)})
    for part in parts:
        if not isinstance(part, MeshPart) and not strands:
            continue
        primitive = _surface(buffer, part) if isinstance(part, MeshPart) else _lines(buffer, part)
        primitive["material"] = int(part.label is None)
        meshes.append({"name": part.name, "primitives": [primitive]})
        nodes.append({"name": part.name, "mesh": len(meshes) - 1, "extras": {"class": part.label}})
    skin = skin_of(parts)
    points = np.round(landmark_points(skin)[0], 6)
    extras = {
        "extent_m": extent_m,
        "landmarks": points.tolist(),
        "landmark_groups": {name: [first, end] for name, first, end in LANDMARK_ORDER},
    }
    document = {
        "asset": {"version": "2.0", "generator": "rodin-pipe"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes))), "extras": extras}],
        "nodes": nodes,
        "meshes": meshes,
        "materials": materials,
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = bytes(buffer.data) + b"\0" * (-len(buffer.data) % 4)
    total = 12 + 8 + len(text) + 8 + len(body)
    header = struct.pack("<4sII", b"glTF", 2, total)
    return header + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body


def _rough(opacity: float) -> dict[str, Any]:
    return {"baseColorFactor": [1.0, 1.0, 1.0, opacity], "metallicFactor": 0.0, "roughnessFactor": 0.7}


def _surface(buffer: _Buffer, part: MeshPart) -> dict[str, Any]:
    used, faces = np.unique(part.faces, return_inverse=True)
    faces = faces.reshape(part.faces.shape)
    triangles = triangulate(faces) if faces.shape[1] == 4 else faces
    vertices = part.vertices[used]
    normals = vertex_normals(vertices, triangles)
    # glTF wants unit length; a vertex of triangles without area has no direction of its own.
    normals[np.linalg.norm(normals, axis=1) < 0.5] = (0, 0, 1)
    return {
        "mode": TRIANGLES,
        "attributes": {
            "POSITION": buffer.add(vertices.astype(np.float32), ARRAY_BUFFER, bounds=True),
            "NORMAL": buffer.add(normals.astype(np.float32), ARRAY_BUFFER),
            "COLOR_0": buffer.add(np.clip(part.colours[used], 0, 1).astype(np.float32), ARRAY_BUFFER),
        },
        "indices": buffer.add(triangles.reshape(-1).astype(np.uint32), ELEMENT_BUFFER),
    }


def _lines(buffer: _Buffer, part: Part) -> dict[str, Any]:
    assert not isinstance(part, MeshPart)
    count, size = part.points.shape[:2]
    starts = (np.arange(count)[:, None] * size + np.arange(size - 1)).reshape(-1)
    points = part.points.reshape(-1, 3)
    colours = np.repeat(np.clip(part.colours, 0, 1), size, 0)
    return {
        "mode": LINES,
        "attributes": {
            "POSITION": buffer.add(points.astype(np.float32), ARRAY_BUFFER, bounds=True),
            "COLOR_0": buffer.add(colours.astype(np.float32), ARRAY_BUFFER),
        },
        "indices": buffer.add(np.stack((starts, starts + 1), -1).reshape(-1).astype(np.uint32), ELEMENT_BUFFER),
    }


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 0 when the file was written, 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m blender_scripts.mesh_export", description=__doc__)
    parser.add_argument("spec", type=Path, help="JSON of one AvatarSpec")
    parser.add_argument("out", type=Path, help="the .glb to write")
    parser.add_argument("--extent-m", type=float, default=0.25, help="metres of a world unit")
    parser.add_argument("--no-strands", action="store_true", help="leave hair, brows and lashes out")
    given = parser.parse_args(arguments)
    try:
        try:
            spec = AvatarSpec.from_json(given.spec.read_bytes())
        except FileNotFoundError:
            raise DataError(f"no avatar's spec at {given.spec}") from None
        except ValidationError as error:
            raise DataError(f"{given.spec} is no avatar's spec: {validation_summary(error)}") from None
        if not given.extent_m > 0:
            raise DataError(f"--extent-m is {given.extent_m}, not above 0")
        temporary = given.out.with_name(f".{given.out.name}.tmp")
        temporary.write_bytes(encode_glb(build_person(spec), given.extent_m, not given.no_strands))
        temporary.replace(given.out)
    except RodinError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
