"""Which tests one process does together, and which of these groups begin first, where processes share the tests.

A file's tests stay together, so that what they share is made once; so do those of a folder whose files share a run.
What takes long, or mostly waits, begins first: what is left for the end is short, and both processes end together.
"""

from pathlib import PurePath

import pytest
from xdist.scheduler import LoadScopeScheduling

WHOLE_FOLDERS = ("tests/end_to_end", "tests/pipeline/io/bucket")
"""Their files share a finished run, or a server."""

FIRST = (
    "tests/end_to_end",
    "tests/blender_scripts/test_worker.py",
)
"""Groups in the order in which they begin; all others follow in the order of their names."""


def group_of(node_id: str) -> str:
    """The group of a test, by its id: its file, or the folder that shares more."""
    file = PurePath(node_id.partition("::")[0])
    return next((folder for folder in WHOLE_FOLDERS if file.is_relative_to(folder)), str(file))


def rank(group: str) -> int:
    """Where a group stands in the order."""
    return FIRST.index(group) if group in FIRST else len(FIRST)


class Groups(LoadScopeScheduling):
    """Hands out whole groups, in the order of the tests.

    xdist's own ``--dist loadgroup`` hands each test out by itself under pytest 9.2, which took away how it marks them.
    """

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
