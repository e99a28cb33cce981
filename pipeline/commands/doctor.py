"""``rodin-pipe doctor``: does this machine have what the pipeline needs, and what is missing by name."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.blender_process import environment
from pipeline.contracts.errors import RodinError
from pipeline.contracts.naming import RunLayout, next_command
from pipeline.contracts.units import bytes_text
from pipeline.driver.estimate import disk_bytes
from pipeline.driver.survey import survey
from pipeline.io.files import exists, own_disk, require_place
from pipeline.machine import EXTRAS, available_bytes, free_bytes, install_command
from pipeline.run.existing import configured
from pipeline.run.fingerprint import stage_fingerprints
from pipeline.run.memory_check import memory_terms, require_memory, side_by_side
from pipeline.run.run import Run
from pipeline.run.stage_table import stages_of, wanted_of

PROBE_TIMEOUT_S = 180
SYSTEM_PACKAGES = {
    "libXi.so": "libxi6",
    "libXrender.so": "libxrender1",
    "libXfixes.so": "libxfixes3",
    "libXxf86vm.so": "libxxf86vm1",
    "libXext.so": "libxext6",
    "libX11.so": "libx11-6",
    "libSM.so": "libsm6",
    "libICE.so": "libice6",
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libgomp.so": "libgomp1",
    "libxkbcommon.so": "libxkbcommon0",
}
"""Shared libraries that Blender may miss, and the Debian packages that hold them."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    ok: bool
    what: str
    required: bool = True


def examine(out: Path, preset: str, address: str | None, *, echo: Callable[[str], None]) -> bool:
    """Check everything, say it line by line, and return whether nothing required is missing."""
    healthy = True
    for finding in _findings(out, preset, address):
        mark = "ok  " if finding.ok else ("FAIL" if finding.required else "--  ")
        echo(f"{mark} {finding.what}")
        healthy = healthy and (finding.ok or not finding.required)
    return healthy


def next_of(out: Path | None, preset: str) -> str:
    """What to try on a machine that lacks nothing: the run that was asked about."""
    if out is not None and exists(RunLayout(out.resolve()).config):
        return next_command("run", "--out", out)
    return next_command("run", "--preset", preset, "--out", out or Path("runs") / preset)


def missing_system_packages(log: str) -> list[str]:
    """Debian packages that hold the shared libraries which a log says cannot be opened."""
    names = re.findall(r"(lib[\w+-]+\.so)[.\d]*: cannot open shared object file", log)
    return sorted({SYSTEM_PACKAGES.get(name, f"the package that holds {name}") for name in names})


def _findings(out: Path, preset: str, address: str | None) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding(
        sys.version_info[:2] == (3, 11),
        f"Python {version}" + ("" if sys.version_info[:2] == (3, 11) else ", 3.11 is needed"),
    )
    for extra, packages in EXTRAS.items():
        absent = [name for name in packages if _version(name) is None]
        yield Finding(
            not absent,
            f"packages of [{extra}]" + (f": missing {', '.join(absent)}; {install_command(extra)}" if absent else ""),
            required=False,
        )
    if _version("bpy") is not None:
        yield _blender()
    yield from _torch_device()
    yield _ray(address)
    yield from _memory(out, preset)
    yield _disk(out, preset)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _blender() -> Finding:
    try:
        probe = subprocess.run(
            [sys.executable, "-m", "blender_scripts.worker", "--probe"],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
            env=environment(1),
        )
    except subprocess.TimeoutExpired:
        return Finding(False, f"Blender rendered no 64-pixel frame in {PROBE_TIMEOUT_S} s")
    if probe.returncode == 0:
        answer = json.loads(probe.stdout.strip().splitlines()[-1])
        return Finding(
            bool(answer["ok"]),
            f"Blender {answer['bpy']} rendered a 64-pixel frame on {answer['device']} in {answer['seconds']:.1f} s",
        )
    packages = missing_system_packages(probe.stderr)
    remedy = f"; apt-get install {' '.join(packages)}" if packages else ""
    tail = probe.stderr.strip().splitlines()[-1:] or [f"exit code {probe.returncode}"]
    return Finding(False, f"Blender does not start: {tail[0]}{remedy}")


def _torch_device() -> Iterator[Finding]:
    if _version("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Finding(True, f"torch {torch.__version__} sees {', '.join(names)}")
    else:
        yield Finding(
            False, f"torch {torch.__version__} sees no CUDA device; fits and models use the CPU", required=False
        )


def _ray(address: str | None) -> Finding:
    from cluster.session import ray_session

    try:
        with ray_session(address) as session:
            return Finding(
                True,
                f"Ray: {session.cpus:g} CPUs, {session.gpus:g} GPUs on {session.nodes} nodes "
                f"after {session.start_seconds:.1f} s",
            )
    except RodinError as error:
        return Finding(False, f"Ray: {error}")


def _memory(out: Path, preset: str) -> Iterator[Finding]:
    config = _configured(out, preset).config
    for stage in ("decoder", "fit"):
        processes = side_by_side(stage, config, len(os.sched_getaffinity(0)))
        available = available_bytes()
        one = sum(memory_terms(stage, config).values())
        text = (
            f"memory: stage {stage} of preset {config.preset} needs {processes} x {bytes_text(one)}, "
            f"{bytes_text(available)} are available"
        )
        try:
            require_memory(stage, config, available, where="on this machine", processes=processes)
            yield Finding(True, text)
        except RodinError as error:
            # On a cluster or a GPU it is another memory that counts.
            yield Finding(False, str(error), required=False)


def _configured(out: Path, preset: str) -> Run:
    layout = RunLayout(out.resolve())
    return Run(layout, configured(layout, preset=None if exists(layout.config) else preset))


def _bucket(layout: RunLayout) -> Finding:
    try:
        require_place(layout, writes=True)
    except RodinError as error:
        return Finding(False, str(error))
    return Finding(True, f"{layout.root} is listed, read and written, on condition too")


def _disk(out: Path, preset: str) -> Finding:
    run = _configured(out, preset).snapshot()
    states = survey(run, stage_fingerprints(run.config))
    needed = sum(disk_bytes(run.config, wanted_of(stages_of("run"), run.config), states).values())
    disk = own_disk(run.layout.root)
    if disk is None:
        return _bucket(run.layout)
    free = free_bytes(disk)
    shm = Path("/dev/shm")
    memory = f"; /dev/shm has {bytes_text(shutil.disk_usage(shm).free)}" if shm.exists() else ""
    return Finding(
        free >= needed,
        f"disk: preset {run.config.preset} needs {bytes_text(needed)}, {bytes_text(free)} are free{memory}",
    )
