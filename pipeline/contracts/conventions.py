"""Axes, units, colour and plane order: each convention is a named constant with a sentence.

World frame
    Right-handed. +x points to the avatar's left, +y up, +z out of the face. The unit is ``extent_m``
    metres: one number per run maps head and shoulders into the cube [-1, 1]^3.
Cameras
    OpenCV: x right, y down, z forward. ``cam2world`` is 4x4 and rigid, in world units. Pixel (column j, row i)
    is centred at (j + 0.5, i + 0.5).
Depth
    z-depth: the coordinate along the camera's z axis, in world units, not the distance along the ray.
"""

from typing import Final

SCHEMA_VERSION: Final = 1
"""Version of every file layout in a run; readers refuse another one."""

PLANE_NAMES: Final = ("uv", "wu", "vw")
"""Order of the three planes: front, bottom, side."""

PLANE_AXES: Final = ((0, 1), (2, 0), (1, 2))
"""World axes (a, b) of each plane, x = 0, y = 1, z = 2: a runs along columns, b along rows, both increasing.

All three unordered pairs differ, so every pair of axes is seen by one plane.
"""

TEXEL_RULE: Final = "texel i of N is centred at (2 i + 1) / N - 1 (grid_sample with align_corners=False)"
"""Where a plane's texels sit in [-1, 1], at every resolution."""

COLOUR_TRANSFORM: Final = "scene-linear Rec.709 through the sRGB transfer function (IEC 61966-2-1), no tone mapping"
"""What was applied to the linear render to get 8-bit colour."""

ALPHA: Final = "straight"
"""RGB is not multiplied by alpha; where alpha is 0, RGB is 0."""

BACKGROUND: Final = 1.0
"""Images are composited over white wherever a background is needed."""

DEPTH_LEVELS: Final = 65535
"""Largest value of the 16-bit depth image. Depth = value * depth_scale; 0 means no surface."""
