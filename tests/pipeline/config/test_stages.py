"""Settings of single stages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config.stages import IngestConfig


@given(st.builds(IngestConfig, tolerance=st.integers(0, 100), captions=st.just(())))
def test_settings_round_trip(settings):
    assert IngestConfig.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    "fields",
    [
        dict(centre=(0.0, 0.0, 0.0)),
        dict(half_side=1.0),
        dict(centre=(0.0, 0.0), half_side=1.0),
        dict(captures=("a", "b"), captions=("one",)),
        dict(background="mauve"),
    ],
)
def test_settings_that_do_not_fit_together(fields):
    with pytest.raises(ValidationError):
        IngestConfig(**fields)
