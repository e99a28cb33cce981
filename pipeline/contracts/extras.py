"""Which extra of ours brings which package that is imported only where needed; ``pyproject.toml`` has versions."""

from typing import Final

EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "render": ("bpy", "anny", "scipy", "OpenEXR"),
    "train": ("torch", "diffusers", "transformers", "safetensors", "einops", "tensorboard"),
    "view": ("trimesh", "scikit-image", "viser"),
}
"""Distributions by extra; one that several bring stands with the first."""

MODULES: Final = {"skimage": "scikit-image"}
"""Modules that are not called as their distribution is."""


def extra_of(module: str) -> str:
    """The extra to install for a module that is missing; those that only training needs are not all named."""
    package = MODULES.get(module, module)
    return next((extra for extra, packages in EXTRAS.items() if package in packages), "train")
