"""Photographs of a run as tensors: what the stages share when they read renders."""

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.contracts.camera import Camera
from pipeline.contracts.conventions import BACKGROUND
from pipeline.contracts.rendering import Split
from pipeline.io.shards import Sample, read_avatar, read_view
from pipeline.run.photographs import photographs_of
from pipeline.run.run import Run
from rodin_models.fit.views import Views


def read_samples(run: Run, avatar: int, splits: tuple[Split, ...]) -> tuple[Sample, ...]:
    """The samples of one avatar from the run's (or the other run's) shards, in order of view."""
    return read_avatar(photographs_of(run, avatar), avatar, splits)


def read_one(run: Run, avatar: int, view: int) -> Sample:
    """One view of one avatar."""
    return read_view(photographs_of(run, avatar), avatar, view)


def read_views(run: Run, avatar: int, splits: tuple[Split, ...], device: torch.device) -> Views:
    """One avatar's views as the tensors that fitting takes."""
    return views_of(read_samples(run, avatar, splits), device, depth=run.config.fit.depth)


def views_of(samples: Sequence[Sample], device: torch.device, *, depth: bool = False) -> Views:
    """Samples of one size as the tensors that fitting takes, with depth if it is wanted and all of them have it."""
    levels = [s.depth * np.float32(s.record.depth_scale) for s in samples if s.depth is not None]
    return Views(
        rgba=torch.from_numpy(np.stack([sample.rgba for sample in samples])).to(device),
        cam2world=torch.from_numpy(np.stack([s.record.camera.matrix() for s in samples])).float().to(device),
        intrinsics=torch.tensor([intrinsics(s.record.camera) for s in samples], device=device),
        depth=torch.from_numpy(np.stack(levels)).to(device) if depth and len(levels) == len(samples) else None,
    )


def intrinsics(camera: Camera) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) in pixels."""
    return camera.fx, camera.fy, camera.cx, camera.cy


def rgb_tensor(sample: Sample, device: torch.device) -> torch.Tensor:
    """A sample over white as (3, height, width) in [0, 1]."""
    rgba = torch.from_numpy(sample.rgba.copy()).to(device).float() / 255
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    return (rgb * alpha + BACKGROUND * (1 - alpha)).permute(2, 0, 1)
