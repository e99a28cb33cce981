"""The machine that this process runs on: memory and disk that it may still take, its processor, what is installed.

Memory is what the machine, its control groups or a CUDA device leave.
"""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.contracts.errors import ResourceError
from pipeline.contracts.units import bytes_text


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that processes may still take on this machine: of the kernel's estimate and every control group's limit.

    What a group uses counts without the part of its page cache that the kernel would give up first.
    """
    amounts = [_meminfo(proc / "meminfo")["MemAvailable"]]
    for line in _lines(proc / "self" / "cgroup"):
        number, controllers, name = line.split(":", 2)
        if number == "0":
            root, limit, usage, idle = cgroups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, idle = cgroups / "memory", "total_inactive_file"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = root / name.lstrip("/")
        for folder in (group, *group.parents):
            most, used = _number(folder / limit), _number(folder / usage)
            if most is not None and used is not None:
                statistics = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat"))
                amounts.append(most - used + int(statistics.get(idle, 0)))
            if folder == root:
                break
    return max(0, min(amounts))


def available_to_this_process(device: Any) -> int:
    """Memory that this process may hold on a torch device, what it holds already included."""
    if device.type == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    resident = int((_lines(Path("/proc/self/statm")) or ["0 0"])[0].split()[1]) * os.sysconf("SC_PAGESIZE")
    return available_bytes() + resident


def forget_peak_memory() -> None:
    """From now on :func:`peak_memory` is about what comes; where the kernel does not allow it, about all so far."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int | None:
    """Most bytes that this process has held in memory at once; None where the kernel does not say."""
    found = [line for line in _lines(Path("/proc/self/status")) if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) * 1024 if found else None


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write to the file system ``path`` is, or will be, on."""
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def require_disk(path: Path, needed_bytes: int) -> None:
    """Raise ``ResourceError`` unless ``needed_bytes`` fit on the file system of ``path``."""
    free = free_bytes(path)
    if free < needed_bytes:
        raise ResourceError(
            f"{path} needs {bytes_text(needed_bytes)} and its file system has {bytes_text(free)} free: "
            "free some, or choose another folder or a smaller run"
        )


def require_address(host: str, port: int) -> None:
    """Raise ``ResourceError`` unless a server can listen there; port 0 is any free one."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise ResourceError(
            f"cannot listen on {host}:{port} ({error.strerror}): give another --port or --host"
        ) from None


def processor_name() -> str:
    """The CPU's model, which bytes of renders and fits may depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the installed distributions ``names``, and Python's, for a ledger.

    Raises ``ResourceError`` for one that is not installed.
    """
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise ResourceError(
                f"package {name} is not installed here: install rodin-pipe with the extra that this stage needs"
            ) from None
    return versions


def _meminfo(path: Path) -> Mapping[str, int]:
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in _lines(path))}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    """A limit or a count; ``None`` where there is no file, or no limit."""
    text = "".join(_lines(path))
    return int(text) if text.isdigit() else None


EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "render": ("bpy", "anny", "scipy", "OpenEXR"),
    "train": ("torch", "diffusers", "transformers", "safetensors", "einops", "tensorboard"),
    "view": ("trimesh", "scikit-image", "viser", "fast-simplification", "xatlas"),
    "evaluate": ("opencv-python-headless",),
    "portrait": ("opencv-python-headless",),
    "bucket": ("obstore",),
    "studio": ("gradio",),
}
"""Distributions by extra; one that several bring stands with the first."""

MODULES: Final = {
    "skimage": "scikit-image",
    "cv2": "opencv-python-headless",
    "fast_simplification": "fast-simplification",
}
"""Modules that are not called as their distribution is."""


def install_command(extra: str) -> str:
    """What installs an extra, such as ``portrait``, from a checkout."""
    return f"pip install -e '.[{extra}]'"


def extra_of(module: str) -> str:
    """The extra to install for a module that is missing; those that only training needs are not all named."""
    package = MODULES.get(module, module)
    return next((extra for extra, packages in EXTRAS.items() if package in packages), "train")
