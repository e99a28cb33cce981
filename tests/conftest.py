"""Shapes in the signatures of rodin_models are checked at every call of every test.

Here and not beside the tests of rodin_models: the hook works only on modules that are not imported yet.
"""

import os
import signal

import pytest
from jaxtyping import install_import_hook
from support.groups import Groups, group_of, rank

install_import_hook("rodin_models", "beartype.beartype")

# The threads of torch wait for each other in loops that take the cores from other processes of the tests. This is read
# when torch is imported, here and by every process below.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell that starts the tests in the background has SIGINT ignored, and every process below would inherit that:
# tests that interrupt a process need it as it is in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first."""
    items.sort(key=lambda item: rank(group_of(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Groups:
    """Where processes share the tests, each takes whole groups of them."""
    return Groups(config, log)
