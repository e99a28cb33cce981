"""The files of one sample: its images from the rendered passes, its record, checked and hashed. Runs in a thread."""

import hashlib
from pathlib import Path

from blender_scripts.body.landmarks import observe_landmarks
from blender_scripts.job.checks import check_frame
from blender_scripts.job.preparation import Prepared
from blender_scripts.scene.passes import encode_depth, encode_normal, encode_png, encode_rgba, read_passes
from blender_scripts.scene.segmentation import encode_segmentation
from pipeline.contracts.conventions import ALPHA, COLOUR_TRANSFORM, SCHEMA_VERSION
from pipeline.contracts.naming import format_avatar, format_sample
from pipeline.contracts.rendering import (
    AvatarJob,
    RenderedFile,
    RenderSettings,
    SampleRecord,
    ViewSpec,
    sample_suffixes,
)


def write_sample(
    folder: Path, frame: Path, job: AvatarJob, prepared: Prepared, view: ViewSpec, settings: RenderSettings
) -> list[RenderedFile]:
    """Turn the EXR at ``frame`` into the sample's files; raises ``checks.Broken`` for a frame that must not be."""
    passes, wanted = read_passes(frame), settings.passes
    rgba = encode_rgba(passes.rgba)
    alpha = rgba[..., 3]
    check_frame(rgba, passes.depth, view.view)
    files = {"rgba.png": encode_png(rgba)}
    if wanted.depth:
        files["depth.png"] = encode_png(encode_depth(passes.depth, alpha, settings.depth_scale))
    if wanted.normal:
        assert passes.normal is not None
        files["normal.png"] = encode_png(encode_normal(passes.normal, view.camera, alpha))
    if wanted.segmentation:
        assert passes.coverage is not None
        files["segmentation.png"] = encode_png(encode_segmentation(passes.coverage, alpha))
    landmarks = None
    if wanted.landmarks:
        points, normals = prepared.landmarks_world, prepared.landmark_normals
        landmarks = observe_landmarks(points, normals, view.camera, passes.depth)
    record = SampleRecord(
        schema_version=SCHEMA_VERSION,
        avatar_id=format_avatar(job.avatar),
        view=view.view,
        split=view.split,
        held_out_avatar=job.held_out,
        camera=view.camera,
        caption=prepared.spec.caption,
        caption_short=prepared.spec.caption_short,
        extent_m=settings.extent_m,
        depth_scale=settings.depth_scale,
        alpha=ALPHA,
        colour_transform=COLOUR_TRANSFORM,
        passes=wanted,
        sub_seed=prepared.draw,
        landmarks=landmarks,
    )
    files["json"] = record.to_json().encode()
    return [_write(folder, f"{format_sample(job.avatar, view.view)}.{s}", files[s]) for s in sample_suffixes(wanted)]


def _write(folder: Path, name: str, data: bytes) -> RenderedFile:
    (folder / name).write_bytes(data)
    return RenderedFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
