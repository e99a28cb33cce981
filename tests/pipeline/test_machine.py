import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import machine as module
from pipeline.contracts.errors import ResourceError
from pipeline.machine import (
    EXTRAS,
    available_bytes,
    available_to_this_process,
    extra_of,
    free_bytes,
    package_versions,
    processor_name,
    require_disk,
)

GIB = 2**30


@pytest.fixture
def machine(tmp_path):
    """A machine with 8 GiB available, whose files a test changes: (proc, cgroups)."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: {16 * 2**20} kB\nMemAvailable: {8 * 2**20} kB\n")
    return proc, cgroups


def group(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def test_without_control_groups_it_is_the_kernels_estimate(machine):
    assert available_bytes(*machine) == 8 * GIB


def test_the_tightest_group_counts_and_idle_cache_does_not(machine):
    proc, cgroups = machine
    (proc / "self" / "cgroup").write_text("0::/jobs/fit\n")
    group(cgroups, {"memory.stat": "anon 1"})
    group(cgroups / "jobs" / "fit", {"memory.max": "max", "memory.current": GIB})
    assert available_bytes(*machine) == 8 * GIB
    statistics = f"anon {2 * GIB}\ninactive_file {GIB}"
    group(cgroups / "jobs", {"memory.max": 5 * GIB, "memory.current": 3 * GIB, "memory.stat": statistics})
    assert available_bytes(*machine) == (5 - 3 + 1) * GIB
    group(cgroups / "jobs" / "fit", {"memory.max": 2 * GIB})
    assert available_bytes(*machine) == 1 * GIB
    group(cgroups / "jobs" / "fit", {"memory.current": 3 * GIB})
    assert available_bytes(*machine) == 0


def test_groups_of_the_first_version(machine):
    proc, cgroups = machine
    (proc / "self" / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/docker\n")
    files = {"memory.limit_in_bytes": 4 * GIB, "memory.usage_in_bytes": 3 * GIB}
    group(cgroups / "memory" / "docker", files | {"memory.stat": f"total_inactive_file {GIB}"})
    assert available_bytes(*machine) == 2 * GIB


def test_what_the_process_holds_already_is_its_own():
    held = torch.ones(50 * 2**20)
    assert available_to_this_process(torch.device("cpu")) > held.nbytes
    assert available_bytes() > 0


def test_disk_space_is_that_of_the_nearest_folder_there_is(tmp_path: Path) -> None:
    missing = tmp_path / "not" / "yet"
    assert free_bytes(missing) > 0
    require_disk(missing, 1)
    with pytest.raises(ResourceError, match=r"needs 1048576 TiB and .* free"):
        require_disk(missing, 2**60)


def test_versions_and_processor_for_a_ledger() -> None:
    assert package_versions(("numpy",)) == {"python": platform.python_version(), "numpy": np.__version__}
    with pytest.raises(ResourceError, match="no-such-package is not installed"):
        package_versions(("no-such-package",))
    assert processor_name().strip() and "\n" not in processor_name()


HELD_AND_LET_GO = """
from pipeline.machine import forget_peak_memory, peak_memory
forget_peak_memory()
before = peak_memory()
held = bytearray(64 << 20)
held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
del held
print(peak_memory() - before)
"""


def test_the_peak_of_memory_sees_what_was_held_and_let_go():
    # A process of its own: where the kernel lets nobody forget a peak, an earlier one of this process would hide it.
    done = subprocess.run([sys.executable, "-c", HELD_AND_LET_GO], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 48 << 20


def test_extras_are_those_of_the_project_and_name_what_a_missing_module_needs():
    project = tomllib.loads((Path(module.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    for extra, packages in EXTRAS.items():
        brought = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in project["optional-dependencies"][extra]}
        assert set(packages) <= brought, f"[{extra}] brings what it is said to bring"
    told = {module: extra_of(module) for module in ("bpy", "torch", "skimage", "viser", "cv2", "zipp")}
    assert told == {
        "bpy": "render", "torch": "train", "skimage": "view", "viser": "view", "cv2": "evaluate", "zipp": "train"
    }  # fmt: skip
