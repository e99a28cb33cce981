"""What a mesh is to be like, as it is asked for; nothing heavy is imported."""

from dataclasses import dataclass
from typing import Final

TEXTURED_TRIANGLES: Final = 20_000
"""Most of a mesh with a texture, where nothing else is asked for: its colours need no vertices."""


@dataclass(frozen=True)
class MeshRequest:
    """Of a mesh of planes."""

    resolution: int = 128
    """Cells along each side of the cube."""
    triangles: int | None = None
    """Most of them; without it what the cells give, and :data:`TEXTURED_TRIANGLES` with a texture."""
    texture: int | None = None
    """Texels along each side of a texture; without it vertices are coloured."""

    @property
    def most_triangles(self) -> int | None:
        """How many triangles there may be."""
        return self.triangles or (TEXTURED_TRIANGLES if self.texture else None)
