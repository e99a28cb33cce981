"""Records: exact round trips through JSON, strictness, and generators by name."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.contracts.camera import Camera, orbit_position
from pipeline.contracts.conventions import PLANE_AXES, PLANE_NAMES
from pipeline.contracts.planes import DecoderReport, FitReport, FitShardReport, PlaneSpec
from pipeline.contracts.randomness import generator_for, seed_for
from pipeline.contracts.record import Record, validation_summary
from pipeline.contracts.rendering import (
    AvatarFailure,
    AvatarJob,
    RenderedAvatar,
    RenderedFile,
    RenderJob,
    RenderReport,
    RenderSettings,
    SampleRecord,
    Split,
    ViewSpec,
    WorkerResult,
)
from pipeline.people.draw import draw_avatar

numbers = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-300, max_value=1e300)
counts = st.integers(0, 2**63)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
seconds = st.dictionaries(texts, numbers, max_size=3)
versions = st.dictionaries(texts, texts, max_size=3)
splits = st.sampled_from(get_args(Split))
specs = st.builds(draw_avatar, st.integers(0, 2**40), st.integers(0, 10**6))
cameras = st.builds(
    lambda azimuth, elevation, size: Camera.look_at(
        orbit_position(azimuth, elevation, 5.0), np.zeros(3), fov_deg=30.0, width=size, height=size
    ),
    st.floats(-180, 180),
    st.floats(-80, 80),
    st.integers(1, 4096),
)
views = st.builds(ViewSpec, view=st.integers(0, 999), camera=cameras, split=splits)
failures = st.builds(AvatarFailure, avatar=counts, reason=texts, log_tail=texts)
fits = st.builds(
    FitReport,
    avatar=counts,
    source_sha256=texts,
    psnr_db=st.none() | numbers,
    psnr_foreground_db=st.none() | numbers,
    ssim=st.none() | numbers,
    coverage=st.none() | numbers,
    steps=counts,
    seconds=numbers,
    planes_sha256=texts,
)
records = st.one_of(
    cameras,
    specs,
    st.builds(
        RenderJob,
        shard=counts,
        avatars=st.lists(
            st.builds(
                AvatarJob,
                avatar=counts,
                spec=specs,
                views=st.lists(views, max_size=2).map(tuple),
                held_out=st.booleans(),
            ),
            max_size=2,
        ).map(tuple),
        settings=st.builds(
            RenderSettings,
            samples=st.integers(1, 2**40),
            denoise=st.booleans(),
            max_bounces=counts,
            extent_m=positive,
            depth_scale=positive,
            threads=st.integers(1, 999),
            device=st.sampled_from(["auto", "cpu", "cuda", "optix"]),
        ),
        output=texts,
    ),
    st.builds(
        SampleRecord,
        schema_version=counts,
        avatar_id=texts,
        view=counts,
        split=splits,
        held_out_avatar=st.booleans(),
        camera=cameras,
        caption=texts,
        extent_m=numbers,
        depth_scale=numbers,
        alpha=texts,
        colour_transform=texts,
    ),
    st.builds(
        RenderedAvatar,
        avatar=counts,
        files=st.lists(st.builds(RenderedFile, name=texts, sha256=texts, size=counts), max_size=3).map(tuple),
        seconds=seconds,
    ),
    st.builds(
        WorkerResult,
        done=st.lists(counts, max_size=3).map(tuple),
        failures=st.lists(failures, max_size=2).map(tuple),
        versions=versions,
        device=texts,
        seconds=seconds,
    ),
    st.builds(
        RenderReport,
        schema_version=counts,
        fingerprint=texts,
        shard=counts,
        done=st.lists(counts, max_size=3).map(tuple),
        failures=st.lists(failures, max_size=2).map(tuple),
        tar_sha256=texts,
        tar_bytes=counts,
        avatar_sha256=versions,
        specs=st.lists(specs, max_size=2).map(tuple),
        seconds=seconds,
        started_at=numbers,
        finished_at=numbers,
        attempts=counts,
        versions=versions,
        processor=texts,
        device=texts,
    ),
    st.builds(
        PlaneSpec,
        resolution=st.integers(1, 4096),
        base_resolution=st.integers(1, 4096),
        channels=st.integers(1, 999),
        extent_m=positive,
    ),
    st.builds(
        FitShardReport,
        schema_version=counts,
        fingerprint=texts,
        shard=counts,
        decoder_sha256=texts,
        fits=st.lists(fits, max_size=2).map(tuple),
        failures=st.lists(failures, max_size=2).map(tuple),
        started_at=numbers,
        finished_at=numbers,
        versions=versions,
        processor=texts,
    ),
    st.builds(
        DecoderReport,
        schema_version=counts,
        fingerprint=texts,
        avatars=st.lists(counts, max_size=3).map(tuple),
        sources=versions,
        decoder_sha256=texts,
        psnr_db=st.none() | numbers,
        steps=counts,
        started_at=numbers,
        finished_at=numbers,
        seconds=numbers,
        versions=versions,
        processor=texts,
    ),
)


@given(records)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
def test_every_record_comes_back_from_json_exactly(record: Record) -> None:
    text = record.to_json()
    assert type(record).from_json(text) == record
    assert type(record).from_json(text).to_json() == text
    assert text.endswith("}\n")


def plane_spec(**changes: object) -> dict:
    return {"resolution": 128, "base_resolution": 64, "channels": 32, "extent_m": 0.3} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"resolution": "128"},
        {"resolution": True},
        {"resolution": 128.0},
        {"extent_m": float("nan")},
        {"extent_m": float("inf")},
        {"extent_m": False},
        {"channels": None},
        {"color": 3},
    ],
)
def test_records_are_strict(changes: dict) -> None:
    with pytest.raises(ValidationError):
        PlaneSpec.model_validate(plane_spec(**changes))


def test_records_are_frozen() -> None:
    spec = PlaneSpec.model_validate(plane_spec())
    with pytest.raises(ValidationError, match="frozen"):
        spec.resolution = 3  # type: ignore[misc]


def test_a_missing_metric_is_null_and_nan_is_refused() -> None:
    text = '{"avatar": 1, "reason": NaN}'
    with pytest.raises(ValidationError):
        AvatarFailure.from_json(text)


def test_the_summary_of_problems_is_one_line_with_place_and_value() -> None:
    with pytest.raises(ValidationError) as caught:
        PlaneSpec.model_validate(plane_spec(resolution="a\nb" * 100, channels=-1, color=3, base_resolution=0))
    summary = validation_summary(caught.value, limit=3)
    assert "\n" not in summary
    assert "resolution: " in summary and "channels: " in summary and "found -1" in summary
    assert "and 1 more" in summary
    assert len(summary) < 400


def test_the_three_planes_see_all_three_pairs_of_axes() -> None:
    assert {frozenset(axes) for axes in PLANE_AXES} == {frozenset(pair) for pair in ((0, 1), (1, 2), (0, 2))}
    assert len(PLANE_NAMES) == len(PLANE_AXES) == 3


def test_seeds_differ_by_each_of_their_three_names() -> None:
    seeds = [seed_for(run, index, purpose) for run in range(8) for index in range(8) for purpose in ("a", "b", "1/a")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_named_generator_does_not_depend_on_other_draws() -> None:
    first = generator_for(3, 5, "hair").random(4)
    generator_for(3, 4, "hair").random(100)
    np.testing.assert_array_equal(generator_for(3, 5, "hair").random(4), first)
    assert not np.array_equal(generator_for(3, 6, "hair").random(4), first)
