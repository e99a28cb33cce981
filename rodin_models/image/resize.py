"""Pictures at another size: padded to squares, made smaller by areas or by an antialiased cubic."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def squared(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 longer longer"]:
    """Pictures padded with white to squares, in their middle."""
    height, width = rgb.shape[-2:]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    return F.pad(rgb, (left, side - width - left, top, side - height - top), value=1.0)


def resized_square(rgb: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 side side"]:
    """Pictures padded with white to squares, of ``side`` pixels a side by areas."""
    return F.interpolate(squared(rgb), (side, side), mode="area")


def at_side(image: Float[Tensor, "channel s s"], side: int) -> Float[Tensor, "channel side side"]:
    """A square picture in [0, 1] of ``side`` pixels a side, bicubic and antialiased; itself if it has them."""
    if image.shape[-1] == side:
        return image
    size = (side, side)
    return F.interpolate(image[None], size, mode="bicubic", align_corners=False, antialias=True)[0].clamp(0, 1)
