"""A cluster that grows by itself: no node renders until renders ask for one, and none is left when they are done.

Ray's own stand-in for a cloud gives the nodes, which are daemons on this machine, and takes them away when they idle.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import finish, started
from support.here import made_here
from support.nodes import Cluster, alive, cluster
from support.tiny import arguments, recording_blender, tree_hashes

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LARGEST = 2
"""Nodes of a kind."""
GROWS = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_FAKE_CLUSTER": "1",
    # How the stand-in knows the head, and then the others.
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": 51 * "f" + "00000",
}


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A head that does no work, which may have two nodes for renders and two for trainings."""
    kinds = {kind: {"CPU": 1, kind: 1} for kind in ("render", "train")}
    types = {
        kind: {"resources": resources, "node_config": {}, "min_workers": 0, "max_workers": LARGEST}
        for kind, resources in kinds.items()
    }
    head_type = {"resources": {"CPU": 0, "train": 1}, "node_config": {}, "max_workers": 0}
    described: dict[str, Any] = {
        "cluster_name": "growing",
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": types | {"ray.head.default": head_type},
        "head_node_type": "ray.head.default",
        "max_workers": 2 * LARGEST,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        # Ray asks for these, of which this provider makes nothing.
        **{name: {} for name in ("auth", "docker", "file_mounts", "head_node", "worker_nodes")},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        **{f"{when}_commands": [] for when in ("initialization", "setup", "head_setup", "worker_setup")},
        **{f"{kind}_start_ray_commands": [] for kind in ("head", "worker")},
        "file_mounts_sync_continuously": False,
    }
    path = tmp_path_factory.mktemp("growing") / "cluster.json"

    def describe(address: str) -> str:
        described["provider"]["gcs_address"] = address
        path.write_text(json.dumps(described))
        return f"--autoscaling-config={path}"

    with cluster('--resources={"train": 1}', describe, environment=GROWS) as head:
        yield head


def rendering(head: Cluster) -> int:
    """Living nodes that render."""
    return sum("render" in node for node in alive(head.address))


def test_it_grows_from_nothing_for_renders_and_shrinks_after_them(growing: Cluster, tmp_path: Path) -> None:
    blender = recording_blender(tmp_path / "blender", sleep_s=0.12)
    calm = made_here(tmp_path / "calm", ("render",))
    assert rendering(growing) == 0
    run, log = tmp_path / "run", tmp_path / "log"
    most = 0
    words = ("render", "--out", run, *arguments(blender), "--address", growing.address)
    with started(*words, log=log) as driver:
        deadline = time.monotonic() + 300
        while driver.poll() is None:
            assert time.monotonic() < deadline, log.read_text()
            most = max(most, rendering(growing))
        finish(driver, log=log)
    assert 1 <= most <= LARGEST
    assert tree_hashes(run / "renders") == tree_hashes(calm.renders)
    deadline = time.monotonic() + 120
    while rendering(growing):
        assert time.monotonic() < deadline, "nodes that idle stayed"
