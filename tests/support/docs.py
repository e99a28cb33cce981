"""The scripts beside the pages, which are no package."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def load_script(name):
    """``docs/<name>.py`` as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
