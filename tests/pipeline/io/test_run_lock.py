"""The lock of a run: one holder, who is named, and who cannot outlive his process."""

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.contracts.errors import RunLockedError
from pipeline.io import run_lock as module
from pipeline.io.run_lock import run_lock


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    lock = tmp_path / "run" / ".lock"
    with run_lock(lock), pytest.raises(RunLockedError) as caught, run_lock(lock):
        pass
    assert str(os.getpid()) in str(caught.value) and os.uname().nodename in str(caught.value)
    assert re.search(r"started \d{4}-\d\d-\d\d", str(caught.value)) and "\n" not in str(caught.value)
    with run_lock(lock):
        pass


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    code = (
        "import sys, time; from pathlib import Path; from pipeline.io.run_lock import run_lock\n"
        "with run_lock(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    root = Path(module.__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], cwd=root, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(RunLockedError, match=str(holder.pid)), run_lock(lock):
            pass
        holder.kill()
    with run_lock(lock):
        pass


def test_a_holder_without_a_name_is_still_one_line(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RunLockedError, match="only just started"), run_lock(lock):
            pass
