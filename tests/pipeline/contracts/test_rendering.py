"""Events of a Blender process: one line each, read back as they were; what a reader does not know is passed over."""

import json

import pytest
from pydantic import ValidationError

from pipeline.contracts.rendering import (
    AvatarGivenUp,
    AvatarPublished,
    FrameWritten,
    WorkerDone,
    WorkerStarted,
    parse_event,
)


@pytest.mark.parametrize(
    "event",
    [
        WorkerStarted(),
        FrameWritten(avatar=12, view=3),
        AvatarPublished(avatar=12),
        AvatarGivenUp(avatar=12),
        WorkerDone(),
    ],
)
def test_an_event_is_one_line_that_gives_it_back(event) -> None:
    line = event.to_line()
    assert line.endswith("\n") and line.count("\n") == 1
    assert parse_event(line) == event and parse_event(line.encode()) == event
    told = json.loads(line)
    assert parse_event(json.dumps({"avatar": None, "view": None, "words": "of another version"} | told)) == event


@pytest.mark.parametrize("line", ["", "rubbish", "[1]", '{"event": "lunch"}', '{"event": "frame", "avatar": 1}', "{}"])
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValidationError):
        parse_event(line)
