"""What a scene is made of, as plain arrays: the boundary between geometry (numpy) and Blender.

Metres, in the world's axes. Colours are linear Rec.709.
"""

from dataclasses import dataclass, field

from blender_scripts.geometry.arrays import Floats, Ints


@dataclass(frozen=True, eq=False)
class MeshPart:
    """A surface with one material."""

    name: str
    vertices: Floats
    faces: Ints
    """(face, 3) or (face, 4)."""
    material: str
    """Key of ``materials.BUILDERS``."""
    label: str | None
    """Its segmentation class, a name of ``conventions.SEGMENTATION_CLASSES``; ``None`` for what is seen through."""
    colours: Floats
    """(vertex, 3)."""
    fields: dict[str, Floats] = field(default_factory=dict)
    """Named attributes for the shader: (vertex,) or (vertex, 3)."""
    settings: dict[str, float] = field(default_factory=dict)
    """Numbers for the shader."""
    shadow: bool = True


@dataclass(frozen=True, eq=False)
class StrandPart:
    """Hairs: polylines with a radius."""

    name: str
    label: str
    """Its segmentation class."""
    points: Floats
    """(strand, point, 3)."""
    radii: Floats
    """(strand, point) in metres."""
    colours: Floats
    """(strand, 3)."""
    material: str = "hair"
    settings: dict[str, float] = field(default_factory=dict)


Part = MeshPart | StrandPart
