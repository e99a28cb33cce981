"""Nodes that cannot write: a full disk fails every task it is given, at once, and so would take all that wait.

A task that fails for it begins again on another node, as after a death, and its node gets no more. Where no other node
is large enough it has failed, as on this machine.
"""

import errno
import os
from collections.abc import Callable
from typing import Final

import ray

from cluster.nodes import Asking, Nodes

OF_A_NODE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a file system says that is no fault of what was to be written."""
NODE_ID: Final = "ray.io/node-id"
"""The label that Ray gives each node."""


def node_fault(error: BaseException | None) -> str:
    """What of its node made a task raise, such as ``No space left on device: '/tmp/x'``; empty where nothing did."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in OF_A_NODE:
            return f"{os.strerror(error.errno)}{f': {error.filename}' if error.filename else ''}"
        error = error.__cause__ or error.__context__
    return ""


class Faults:
    """The nodes of a cluster that are not given tasks any more, and lines that tell of them."""

    def __init__(self) -> None:
        self._unfit: list[str] = []
        self._lines: list[str] = []

    def selector(self) -> dict[str, str]:
        """What keeps a task off them, as Ray's option ``label_selector``."""
        return {NODE_ID: f"!in({','.join(self._unfit)})"} if self._unfit else {}

    def leaves_another(self, task: Asking, node: str, fault: str) -> bool:
        """Take a node out, by its id, for what a task found there; whether another could do it."""
        nodes = {found["NodeID"]: found for found in ray.nodes() if found["Alive"]}
        others = Nodes([found["Resources"] for key, found in nodes.items() if key not in {*self._unfit, node}])
        if not others.hold(task):
            return False
        if node not in self._unfit:
            self._unfit.append(node)
            address = nodes[node]["NodeManagerAddress"] if node in nodes else "unknown"
            self._lines.append(
                f"node {address} ({node[:8]}) cannot write ({fault}): {task.name} begins again elsewhere, and no more "
                "tasks go there; make room on it before the next command"
            )
        return True

    def tell(self, on_line: Callable[[str], None]) -> None:
        """Call with each line that was not told yet."""
        lines, self._lines = self._lines, []
        for line in lines:
            on_line(line)
