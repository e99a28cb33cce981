import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

import cluster

FOLDER = Path(cluster.__file__).parent
COMMANDS = {
    "run",
    "render",
    "fit",
    "train",
    "generate",
    "evaluate",
    "inspect",
    "clean",
    "doctor",
    "submit",
}
"""The commands of rodin-pipe."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.mark.parametrize("name", ["aws.yaml", "kuberay.yaml", "slurm.sh"])
def test_the_commands_exist(name: str) -> None:
    text = (FOLDER / name).read_text()
    used = re.findall(r"(?<![\w/.-])rodin-pipe ([a-z]+)", text) + re.findall(r" -- ([a-z]+)", text)
    assert "run" in used
    assert set(used) <= COMMANDS


@pytest.mark.parametrize("name", ["aws.yaml", "kuberay.yaml", "slurm.sh"])
def test_the_extras_exist(name: str) -> None:
    for extras in re.findall(r"rodin-pipe\[([a-z,]+)\]", (FOLDER / name).read_text()):
        assert set(extras.split(",")) <= {"render", "train", "view"}


def test_images_have_the_version_of_ray_that_is_tested() -> None:
    text = (FOLDER / "aws.yaml").read_text() + (FOLDER / "kuberay.yaml").read_text()
    versions = re.findall(r"rayproject/ray:([\d.]+)-py311", text) + re.findall(r'rayVersion: "([\d.]+)"', text)
    assert len(versions) >= 4
    assert set(versions) == {ray.__version__}


def test_the_launcher_takes_its_file() -> None:
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    (config,) = documents("aws.yaml")
    validate_config({**config, "cluster_synced_files": []} if "cluster_synced_files" not in config else config)
    types = fillout_defaults(config)["available_node_types"]
    assert types["head"]["resources"]["CPU"] == 0
    assert types["train"]["resources"]["GPU"] == 1
    assert all(types[name]["min_workers"] >= 1 for name in ("render", "train"))


def test_every_pod_sees_the_runs() -> None:
    claim, job = documents("kuberay.yaml")
    assert (claim["kind"], job["kind"]) == ("PersistentVolumeClaim", "RayJob")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    cluster_spec = job["spec"]["rayClusterSpec"]
    groups = [cluster_spec["headGroupSpec"], *cluster_spec["workerGroupSpecs"]]
    assert len(groups) == 3
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        (volume,) = pod["volumes"]
        assert mount["name"] == volume["name"]
        assert mount["mountPath"] == "/runs"
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "--out /runs/" in job["spec"]["entrypoint"]


def test_the_batch_script_is_one() -> None:
    assert (FOLDER / "slurm.sh").stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(FOLDER / "slurm.sh")], check=True)


def test_the_batch_script_needs_a_run_folder() -> None:
    done = subprocess.run(
        ["bash", str(FOLDER / "slurm.sh")], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "set RUN to the run folder" in done.stderr
