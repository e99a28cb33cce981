"""From the coverages of segmentation classes to an image of ids.

Every shader writes 1 into the AOV pass of its class, so a pass holds the share of the pixel's samples that met the
class first; the largest share gives the pixel's id, alpha that of the background. Strands thinner than a pixel count
that way, and no value is ever a mixture. Clear surfaces (corneas, lenses) write nothing: what lies behind them does.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.contracts.conventions import SEGMENTATION_CLASSES


def pass_name(name: str) -> str:
    """Name of the class's AOV pass."""
    return f"class {name}"


SPARSE: Final = {"brows": 3.0, "facial hair": 3.0}
"""What the share of a class counts, where it is not 1: see ``conventions.SEGMENTATION_CLASSES``."""


def encode_segmentation(coverage: npt.NDArray[np.float32], alpha: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Shares [row, column, class without background] to ids; background where alpha is 0.

    What the classes leave is no background: reflections on clear surfaces belong to none. Alpha says how much is.
    """
    assert coverage.shape[-1] == len(SEGMENTATION_CLASSES) - 1
    background = 1 - alpha[..., None] / 255
    counted = coverage * np.array([SPARSE.get(name, 1.0) for name in SEGMENTATION_CLASSES[1:]])
    ids = np.concatenate((background, counted), -1).argmax(-1)
    return np.where(alpha > 0, ids, 0).astype(np.uint8)
