"""How much memory a process may still take: of the machine, of its control groups, of a CUDA device."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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
