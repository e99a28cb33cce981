import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.session import SessionInfo, ray_session


@pytest.fixture(scope="module")
def session() -> Iterator[SessionInfo]:
    """One local session with two CPUs for the tests of a module that run tasks; it takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        # Workers import the functions of these test modules by name, and know the driver's environment only.
        here = str(Path(__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))))
        with ray_session(None, num_cpus=2) as info:
            yield info
