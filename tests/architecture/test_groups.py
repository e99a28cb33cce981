"""Where processes share the tests, what shares fixtures is done by one of them."""

import subprocess
import sys
from pathlib import Path

from support.groups import FIRST, WHOLE_FOLDERS, group_of, rank

ROOT = Path(__file__).parents[2]
TESTS = """
import os
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(6))
def test_who(number):
    (Path(__file__).parent / f"{Path(__file__).stem}-{os.environ['PYTEST_XDIST_WORKER']}").touch()
"""


def test_a_group_is_a_file_or_a_folder_that_shares_a_run() -> None:
    assert group_of("tests/docs/test_fences.py::test_x[a::b/c]") == "tests/docs/test_fences.py"
    assert group_of("tests/end_to_end/test_redo.py::test_x") == "tests/end_to_end"
    assert [rank(group) for group in FIRST] == list(range(len(FIRST))) and rank("tests/docs/test_x.py") == len(FIRST)


def test_what_is_named_exists() -> None:
    assert [name for name in (*WHOLE_FOLDERS, *FIRST) if not (ROOT / name).exists()] == []


def test_no_two_processes_share_a_file(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"test_{name}.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(
        "from support.groups import Groups\n\n"
        "def pytest_xdist_make_scheduler(config, log):\n    return Groups(config, log)\n"
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "xdist",
            "-n2",
            "--dist=loadfile",
            f"--rootdir={tmp_path}",
            str(tmp_path),
        ],
        env={"PYTHONPATH": str(ROOT / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        check=True,
        timeout=60,
    )
    done = sorted(path.name for path in tmp_path.glob("test_*-gw*"))
    assert [name.partition("-")[0] for name in done] == ["test_a", "test_b", "test_c"], "each by one process"
    assert len({name.partition("-")[2] for name in done}) == 2, "and both had something to do"
