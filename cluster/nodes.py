"""Which nodes a task may run on: by their CPUs and GPUs, and by the kind that a cluster gives them.

Nodes are of a kind where they have a custom resource of its name, ``render`` or ``train``, however much of it:

    ray start --address=head:6379 --resources='{"render": 1}'

As soon as one node has one, a task goes to nodes of its own kind only, so that renders leave the spare cores of GPU
nodes alone; a node with both takes both. On a cluster without kinds, and on this machine, any node will do. The files
in this folder mark the head, which has no CPUs for tasks, as ``train``: kinds are known before a worker has joined.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from pipeline.contracts.errors import ResourceError

KINDS: Final = ("render", "train")
"""Of nodes."""
MARK: Final = 0.001
"""What a task takes of its kind's resource, which is a mark and no amount: CPUs limit what runs side by side."""


class Asking(Protocol):
    """What a task asks of its node."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def num_cpus(self) -> float:
        """CPUs that Ray keeps for it."""

    @property
    def num_gpus(self) -> float:
        """Asked for only where a node of its kind has a GPU at all."""

    @property
    def node_kind(self) -> str:
        """One of ``KINDS``, or empty: any node will do."""


@dataclass(frozen=True)
class Nodes:
    """What the living nodes have, by Ray's names of resources."""

    resources: Sequence[Mapping[str, float]]

    @classmethod
    def now(cls) -> "Nodes":
        """Those of the current session."""
        return cls([node["Resources"] for node in ray.nodes() if node["Alive"]])

    @cached_property
    def _has_kinds(self) -> bool:
        return any(known in node for node in self.resources for known in KINDS)

    @cached_property
    def _with_gpu(self) -> Sequence[Mapping[str, float]]:
        return [node for node in self.resources if node.get("GPU", 0.0) > 0]

    def marks(self, kind: str) -> dict[str, float]:
        """What keeps a task on nodes of its kind; nothing where the cluster has no kinds."""
        return {kind: MARK} if kind and self._has_kinds else {}

    def has_gpu(self, kind: str) -> bool:
        """Whether a node that such a task may run on has a GPU."""
        return any(all(mark in node for mark in self.marks(kind)) for node in self._with_gpu)

    def asked(self, task: Asking) -> dict[str, float]:
        """All that a task asks for."""
        gpus = task.num_gpus if self.has_gpu(task.node_kind) else 0.0
        return {"CPU": task.num_cpus, "GPU": gpus, **self.marks(task.node_kind)}

    def hold(self, task: Asking) -> bool:
        """Whether some node is large enough for a task."""
        asked = self.asked(task)
        return any(all(node.get(name, 0.0) >= need for name, need in asked.items()) for node in self.resources)


def wait_for_nodes(tasks: Iterable[Asking], wait_s: float) -> Nodes:
    """The nodes, once one is large enough for each task.

    Raises ``ResourceError`` where none is after ``wait_s`` seconds; Ray would wait without end.
    """
    unlike = {(task.num_cpus, task.num_gpus, task.node_kind): task for task in reversed(tuple(tasks))}

    def homeless(nodes: Nodes) -> list[Asking]:
        return [task for task in reversed(unlike.values()) if not nodes.hold(task)]

    nodes = grown(lambda nodes: [[nodes.asked(task)] for task in homeless(nodes)], wait_s)
    first = next(iter(homeless(nodes)), None)
    if first is None:
        return nodes
    asked = nodes.asked(first)
    kind = next(iter(nodes.marks(first.node_kind)), "")
    sizes = ", ".join(sorted({_size(node) for node in nodes.resources}))
    raise ResourceError(
        f"{first.name} needs {asked['CPU']:g} CPUs and {asked['GPU']:g} GPUs on one node"
        f"{kind and f' of kind {kind}'}, and the nodes have {sizes or 'nothing'}: lower what it needs, or add a larger "
        "node" + (f""" (ray start --resources='{{"{kind}": 1}}')""" if kind else "")
    )


def grown(lacking: Callable[[Nodes], Sequence[Sequence[Mapping[str, float]]]], wait_s: float) -> Nodes:
    """The nodes, once ``lacking`` finds that they lack nothing, or as they are after ``wait_s`` seconds.

    It returns what is to be held together, each as a list of resources by name. That is asked for meanwhile, since a
    cluster that grows by itself grows for what is asked for, and knows nothing of a driver that looks on. What asks are
    placement groups, which end with this call, and with a driver that is killed.
    """
    deadline = time.monotonic() + wait_s
    asking: dict[str, PlacementGroup] = {}
    try:
        while True:
            nodes = Nodes.now()
            lacks = lacking(nodes)
            if not lacks or time.monotonic() >= deadline:
                return nodes
            for bundles in lacks:
                needs = [{name: need for name, need in bundle.items() if need} for bundle in bundles]
                if all(needs) and str(needs) not in asking:
                    asking[str(needs)] = placement_group(needs)
            time.sleep(1.0)
    finally:
        for group in asking.values():
            remove_placement_group(group)


def _size(node: Mapping[str, float]) -> str:
    kinds = " and ".join(kind for kind in KINDS if kind in node)
    return f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" + (f" ({kinds})" if kinds else "")
