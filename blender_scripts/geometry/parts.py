"""What a scene is made of, as plain arrays: the boundary between geometry (numpy) and Blender.

Metres, in the world's axes. Colours are linear Rec.709. Names are for readers: Blender's objects and glTF's nodes have
them, and what a part is to the others is its role.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from blender_scripts.geometry.arrays import Floats, Ints
from blender_scripts.geometry.material import Hair, Material

MeshRole = Literal["skin", "garment", "inner garment", "cap", "piece"]
"""``skin``: the one with every vertex of ``body.topology``, on which landmarks lie. ``garment``: cloth whose every edge
is covered by another piece; ``inner garment``: what is worn under it. ``cap``: closes something where the bust ends.
``piece``: anything else.
"""
StrandRole = Literal["grown", "tied"]
"""``grown``: each strand has its root in the skin. ``tied``: gathered hair, which need only touch the rest."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MeshPart:
    """A surface with one material."""

    name: str
    role: MeshRole = "piece"
    vertices: Floats
    faces: Ints
    """(face, 3) or (face, 4)."""
    material: Material
    label: str | None
    """Its segmentation class, a name of ``conventions.SEGMENTATION_CLASSES``; ``None`` for what is seen through."""
    face_labels: dict[str, Floats] = field(default_factory=dict)
    """Of a part whose faces differ in class, each class's share (face,) in 0..1; it counts instead of ``label``."""
    colours: Floats
    """(vertex, 3)."""
    fields: dict[str, Floats] = field(default_factory=dict)
    """Named attributes for the shader: (vertex,) or (vertex, 3)."""
    shadow: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class StrandPart:
    """Hairs: polylines with a radius."""

    name: str
    role: StrandRole = "grown"
    label: str
    """Its segmentation class."""
    points: Floats
    """(strand, point, 3)."""
    radii: Floats
    """(strand, point) in metres."""
    colours: Floats
    """(strand, 3)."""
    material: Hair = field(default_factory=Hair)


Part = MeshPart | StrandPart


def skin_of(parts: Iterable[Part]) -> MeshPart:
    """The skin among an avatar's parts."""
    return next(part for part in parts if isinstance(part, MeshPart) and part.role == "skin")
