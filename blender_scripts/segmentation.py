"""Which class each surface belongs to, and from class coverages to an image of ids.

Every shader writes 1 into the AOV pass of its class, so a pass holds the share of the pixel's samples that met the
class first; the largest share, the background's included, gives the pixel's id. Strands thinner than a pixel count that
way, and no value is ever a mixture. Clear surfaces (corneas, lenses) write nothing: what lies behind them does.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from blender_scripts.assets import Floats
from blender_scripts.body import topology
from blender_scripts.parts import MeshPart, Part
from pipeline.contracts.conventions import SEGMENTATION_CLASSES

CLEAR: Final = ("clear", "lens")
"""Materials that are seen through."""
BY_NAME: Final = {
    "brow": "brows",
    "lash": "eyes",
    "beard": "facial hair",
    "moustache": "facial hair",
    "stubble": "facial hair",
    "facial": "facial hair",
    "upper-teeth": "teeth",
    "lower-teeth": "teeth",
    "teeth": "teeth",
    "tongue": "mouth interior",
    "gum": "mouth interior",
    "rim": "glasses",
    "bridge": "glasses",
    "arm ": "glasses",
    "temple": "glasses",
    "glasses": "glasses",
    "frame": "glasses",
    "pad": "glasses",
    "hat": "hat",
    "cap crown": "hat",
    "beanie": "hat",
    "brim": "hat",
    "visor": "hat",
    "earring": "earrings",
    "button": "garment",
    "cord": "garment",
    "zip": "garment",
    "eyeball": "eyes",
    "tear": "eyes",
    "caruncle": "eyes",
}
"""Class by how a part's name begins."""
BY_MATERIAL: Final = {
    "skin": "skin",
    "eye": "eyes",
    "hair": "hair",
    "cloth": "garment",
    "frame": "garment",
    "wet": "mouth interior",
}
"""Class of a part whose name says nothing, by its material."""


def class_of(part: Part) -> str | None:
    """Name of the class of a part; ``None`` for what is seen through, and for what is no part of an avatar."""
    if part.material in CLEAR:
        return None
    named = [name for beginning, name in BY_NAME.items() if part.name.startswith(beginning)]
    return named[0] if named else BY_MATERIAL.get(part.material)


def face_classes(part: MeshPart) -> dict[str, Floats]:
    """Of a part whose faces differ in class, each class's share (face,) in 0..1; the skin's are lips and mouth."""
    if part.name != "skin":
        return {}
    masks = topology().masks
    assert len(part.vertices) == len(masks["lips"]), "the skin has lost or gained vertices"
    lips = masks["lips"][part.faces].mean(1) > 0.5
    mouth = (masks["inside-mouth"][part.faces].mean(1) > 0.5) & ~lips
    return {"lips": lips.astype(float), "mouth interior": mouth.astype(float), "skin": (~lips & ~mouth).astype(float)}


def pass_name(name: str) -> str:
    """Name of the class's AOV pass."""
    return f"class {name}"


def encode_segmentation(coverage: npt.NDArray[np.float32], alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Shares [row, column, class without background] to ids; background where alpha is 0."""
    assert coverage.shape[-1] == len(SEGMENTATION_CLASSES) - 1
    background = 1 - coverage.sum(-1, keepdims=True)
    ids = np.concatenate((background, coverage), -1).argmax(-1)
    return np.where(alpha > 0, ids, 0).astype(np.uint8)
