"""What a scene is made of, as plain arrays: the boundary between geometry (numpy) and Blender.

Metres, in the world's axes. Colours are linear Rec.709.
"""

from dataclasses import dataclass, field

import numpy as np

from blender_scripts.body.makehuman import Floats, Ints


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


def linear(srgb: tuple[float, float, float] | Floats) -> Floats:
    """sRGB 0..1 to linear."""
    c = np.asarray(srgb, float)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def smoothstep(low: float | Floats, high: float | Floats, value: Floats) -> Floats:
    """0 at ``low``, 1 at ``high`` (which may be the smaller), smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
