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

SCHEMA_VERSION: Final = 2
"""Version of every file layout in a run; readers refuse another one."""

PEOPLE_VERSION: Final = 2
"""Version of how people are drawn, built and photographed: another one makes other pixels of the same configuration.

Only the fingerprint of rendered shards has it, so a new one makes renders stale and nothing unreadable.
"""

PLANE_NAMES: Final = ("uv", "wu", "vw")
"""Order of the three planes: front, bottom, side."""

PLANE_AXES: Final = ((0, 1), (2, 0), (1, 2))
"""World axes (a, b) of each plane, x = 0, y = 1, z = 2: a runs along columns, b along rows, both increasing.

All three unordered pairs differ, so every pair of axes is seen by one plane.
"""

TEXEL_RULE: Final = "texel i of N is centred at (2 i + 1) / N - 1 (grid_sample with align_corners=False)"
"""Where a plane's texels sit in [-1, 1], at every resolution."""

KNEE: Final = 0.5
"""Linear value from which on highlights roll off: x becomes K + (1 - K)(1 - exp(-(x - K) / (1 - K))), smooth at K."""

COLOUR_TRANSFORM: Final = (
    f"scene-linear Rec.709; above K = {KNEE} each channel becomes K + (1 - K)(1 - exp(-(x - K) / (1 - K))); "
    "then the sRGB transfer function (IEC 61966-2-1)"
)
"""What was applied to the linear render to get 8-bit colour."""

ALPHA: Final = "straight"
"""RGB is not multiplied by alpha; where alpha is 0, RGB is 0."""

BACKGROUND: Final = 1.0
"""Images are composited over white wherever a background is needed."""

DEPTH_LEVELS: Final = 65535
"""Largest value of the 16-bit depth image. Depth = value * depth_scale; 0 means no surface."""

NORMAL_ENCODING: Final = "8-bit RGB = round(127.5 (n + 1)), n unit in the camera's axes (x right, y down, z forward)"
"""How ``normal.png`` holds shading normals; a surface that faces the camera has z = -1. (0, 0, 0): no surface."""

SEGMENTATION_CLASSES: Final = (
    "background",
    "skin",
    "lips",
    "eyes",
    "teeth",
    "brows",
    "hair",
    "facial hair",
    "garment",
    "glasses",
    "hat",
    "earrings",
    "mouth interior",
)
"""Names of the ids of ``segmentation.png``: the class that covers most of the pixel, never a mixture.

Hairs of brows and beards count threefold, because they stand sparse on the skin whose region they mark.
Lashes count as eyes, the lenses of glasses as what is seen through them; the mouth's interior is tongue and lining.
"""

LANDMARK_ORDER: Final = (
    ("jaw", 0, 17),
    ("right brow", 17, 22),
    ("left brow", 22, 27),
    ("nose bridge", 27, 31),
    ("nostrils", 31, 36),
    ("right eye", 36, 42),
    ("left eye", 42, 48),
    ("outer lips", 48, 60),
    ("inner lips", 60, 68),
)
"""The 68 face landmarks of iBUG 300-W: groups with their first index and the one after their last.

Right and left are the avatar's own. The jaw and the brows run from the avatar's right to its left, eyes and lips
clockwise in the image, from their right-most corner as the avatar has it.
"""
