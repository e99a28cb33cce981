"""Shapes in the signatures of rodin_models are checked at every call of every test.

Here and not beside the tests of rodin_models: the hook works only on modules that are not imported yet.
"""

import signal

import pytest
from jaxtyping import install_import_hook

install_import_hook("rodin_models", "beartype.beartype")

# A shell that starts the tests in the background has SIGINT ignored, and every process below would inherit that:
# tests that interrupt a process need it as it is in a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where processes share the tests, a file goes to one of them whole, and so does what shares one finished run."""
    for item in items:
        shares = "finished" in getattr(item, "fixturenames", ())
        together = "finished" if shares else str(item.path.relative_to(item.config.rootpath))
        item.add_marker(pytest.mark.xdist_group(together))
