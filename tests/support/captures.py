"""Captures in the NeRF layout, as others make them: a textured ellipsoid in a world of its own, z up."""

import io
import json
import math

import numpy as np
from PIL import Image

from support.textured_ellipsoid import look_at_origin, photograph

SIZE = 48
FOCAL = SIZE / 2 / math.tan(math.radians(15))
Z_UP = np.array(((1.0, 0, 0), (0, 0, -1), (0, 1, 0)))
"""Our world (y up) to Blender's."""
CENTRE = np.array((3.0, -1.0, 2.0))
"""Where our origin lies in the capture's world."""
SCALE = 2.5
"""The capture's units a unit of ours."""
OPENGL = np.diag((1.0, -1, -1, 1))


def poses(count, *, seed=0):
    """OpenCV cam2world of cameras all around, in our world."""
    generator = np.random.default_rng(seed)
    return [look_at_origin(360 * (i + 0.3) / count, float(generator.uniform(-30, 50)), 4.0) for i in range(count)]


def transform_matrix(cam2world):
    """As a file of the layout has it: OpenGL axes, the capture's world."""
    matrix = np.eye(4)
    matrix[:3, :3] = Z_UP @ (cam2world @ OPENGL)[:3, :3]
    matrix[:3, 3] = SCALE * Z_UP @ cam2world[:3, 3] + CENTRE
    return matrix.tolist()


def encode(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def levels(rgba):
    """[0, 1] with colour where alpha is 0, as many renderers leave it there."""
    pixels = np.round(rgba * 255).astype(np.uint8)
    pixels[pixels[..., 3] == 0] = (7, 8, 9, 0)
    return pixels


def over(rgba, colour):
    """Composited, uint8 RGB."""
    blended = rgba[..., :3] * rgba[..., 3:] + np.array(colour) / 255 * (1 - rgba[..., 3:])
    return np.round(blended * 255).astype(np.uint8)


def write_capture(folder, *, train=10, test=3, picture=levels, suffix=".png", lens=None, **more):
    """A folder with ``train`` and ``test`` frames; ``picture`` makes the stored image of float RGBA."""
    folder.mkdir(parents=True)
    lens = {"camera_angle_x": math.radians(30)} if lens is None else lens
    matrices = poses(train + test)
    held_out = {round((i + 0.5) * (train + test) / test) for i in range(test)} if test else set()
    frames = {"train": [], "test": []}
    for number, matrix in enumerate(matrices):
        split = "test" if number in held_out else "train"
        name = f"{split}/r_{number}"
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(picture(photograph(matrix, FOCAL, SIZE)), "JPEG" if suffix == ".jpg" else "PNG"))
        frames[split].append({"file_path": f"./{name}", "transform_matrix": transform_matrix(matrix)})
    for split, of_split in frames.items():
        if of_split:
            document = {**lens, **more, "frames": of_split}
            (folder / f"transforms_{split}.json").write_text(json.dumps(document))
    return folder


def edit(folder, change, split="train"):
    """Change a transforms file: ``change`` gets its tree."""
    path = folder / f"transforms_{split}.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    return folder
