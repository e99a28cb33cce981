import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from jsonschema import ValidationError

import cluster
from cluster.nodes import KINDS

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


@pytest.mark.parametrize("name", ["aws.yaml", "slurm.sh", "Dockerfile"])
def test_the_extras_exist(name: str) -> None:
    known = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extras in re.findall(r"rodin-pipe\[([a-z,]+)\]", (FOLDER / name).read_text()):
        assert set(extras.split(",")) <= set(known)


def test_images_have_the_version_of_ray_that_is_tested() -> None:
    text = (FOLDER / "aws.yaml").read_text() + (FOLDER / "kuberay.yaml").read_text()
    versions = re.findall(r"rayproject/ray:([\d.]+)-py311", text) + re.findall(r'rayVersion: "([\d.]+)"', text)
    versions += re.findall(r"ARG RAY=([\d.]+)-py311", (FOLDER / "Dockerfile").read_text())
    assert len(versions) >= 5
    assert set(versions) == {ray.__version__}


def test_the_launcher_takes_its_file() -> None:
    from ray.autoscaler._private.util import fillout_defaults, validate_config

    (config,) = documents("aws.yaml")
    filled = {"cluster_synced_files": [], **config}  # what `ray up` adds to it
    validate_config(filled)
    with pytest.raises(ValidationError, match="workers"):
        validate_config({**filled, "workers": 3})
    types = fillout_defaults(config)["available_node_types"]
    assert types["head"]["resources"]["CPU"] == 0
    assert types["train"]["resources"]["GPU"] == 1
    assert [kinds(types[name]["resources"]) for name in ("head", "render", "train")] == [
        ["train"],
        ["render"],
        ["train"],
    ]
    assert all(types[name]["min_workers"] >= 1 for name in ("render", "train"))


def kinds(resources: dict[str, float]) -> list[str]:
    return [kind for kind in KINDS if kind in resources]


POD: dict[str, Any] = {}
"""What Kubernetes' own schema is asked about."""
FIELDS = {
    "RayJob": {"apiVersion": str, "kind": str, "metadata": dict, "spec": "RayJobSpec"},
    "RayJobSpec": {
        "activeDeadlineSeconds": int,
        "backoffLimit": int,
        "entrypoint": str,
        "entrypointNumCpus": float,
        "entrypointResources": str,
        "jobId": str,
        "metadata": dict,
        "rayClusterSpec": "RayClusterSpec",
        "runtimeEnvYAML": str,
        "shutdownAfterJobFinishes": bool,
        "submissionMode": str,
        "submitterPodTemplate": POD,
        "suspend": bool,
        "ttlSecondsAfterFinished": int,
    },
    "RayClusterSpec": {
        "autoscalerOptions": dict,
        "enableInTreeAutoscaling": bool,
        "headGroupSpec": "HeadGroupSpec",
        "rayVersion": str,
        "workerGroupSpecs": ["WorkerGroupSpec"],
    },
    "HeadGroupSpec": {"enableIngress": bool, "rayStartParams": {str: str}, "serviceType": str, "template": POD},
    "WorkerGroupSpec": {
        "groupName": str,
        "idleTimeoutSeconds": int,
        "maxReplicas": int,
        "minReplicas": int,
        "numOfHosts": int,
        "rayStartParams": {str: str},
        "replicas": int,
        "template": POD,
    },
}
"""Fields of ray.io/v1 and their types, as KubeRay's API reference names them. No package that can be installed holds
the schema of its CRD, so this says less than the operator would: nothing of ranges and of what excludes what."""


def faults(value: Any, kind: Any, where: str) -> list[str]:
    """What is wrong with a part of a RayJob."""
    if kind is POD:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **value}
        try:
            kubernetes_validate.validate(pod, "1.32", strict=True)
        except kubernetes_validate.ValidationError as error:
            return [f"{where}: {error.message}"]
        return []
    if isinstance(kind, list):
        return [fault for i, item in enumerate(value) for fault in faults(item, kind[0], f"{where}[{i}]")]
    if isinstance(kind, str):
        return [
            fault
            for name, item in value.items()
            for fault in (
                faults(item, FIELDS[kind][name], f"{where}.{name}")
                if name in FIELDS[kind]
                else [f"{where}: {kind} has no {name}"]
            )
        ]
    if isinstance(kind, dict):
        return [f"{where}.{name} is no text" for name, item in value.items() if not isinstance(item, str)]
    return [] if type(value) is kind else [f"{where} is {value!r}, no {kind.__name__}"]


def test_the_job_has_the_fields_that_the_operator_documents() -> None:
    claim, job = documents("kuberay.yaml")
    kubernetes_validate.validate(claim, "1.32", strict=True)
    assert faults(job, "RayJob", "job") == []
    job["spec"]["shutDownAfterJobFinishes"] = True
    job["spec"]["backoffLimit"] = "2"
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]
    head["rayStartParams"]["num-cpus"] = 0
    head["template"]["spec"]["containers"][0]["volumeMount"] = []
    assert [fault.partition(":")[0] for fault in faults(job, "RayJob", "job")] == [
        "job.spec.backoffLimit is '2', no int",
        "job.spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus is no text",
        "job.spec.rayClusterSpec.headGroupSpec.template",
        "job.spec",
    ]


def test_pods_are_of_kinds_and_have_the_image_of_theirs() -> None:
    _, job = documents("kuberay.yaml")
    cluster_spec = job["spec"]["rayClusterSpec"]
    stages = re.findall(r"^FROM .* AS (\w+)$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    for group in (cluster_spec["headGroupSpec"], *cluster_spec["workerGroupSpecs"]):
        # The text goes through a shell, which takes one pair of quotes.
        (marked,) = shlex.split(group["rayStartParams"]["resources"])
        (kind,) = kinds(json.loads(marked))
        assert kind == group.get("groupName", "train") and kind in stages
        assert group["template"]["spec"]["containers"][0]["image"].endswith(f"-{kind}")


def test_images_are_made_of_what_is_there_and_know_what_blender_needs() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((FOLDER.parent / name).exists() for name in source.split()), source
    needed = re.findall(r"lib\w+\d", (FOLDER / "aws.yaml").read_text())
    assert set(needed) == set(re.findall(r"lib\w+\d", text)) and len(needed) == 7


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
