"""What a cluster loses while tasks run: nodes, whose tasks begin again elsewhere, and its head, which ends the run.

A head that is gone takes its cluster with it. Ray's own way to tell is to end the process after a minute, by a line of
its log; asked for its nodes it answers nothing at all meanwhile. So the head's port is tried before each question.
"""

import socket
import time
from typing import Any

import ray
from ray.util.client import ray as client

from cluster.progress import ProgressBoard
from pipeline.contracts.errors import ResourceError

NODES_POLL_S = 2.0
"""How often it is looked whether nodes died."""
MOST_LOST = 20
"""How often one task may lose its node and begin again, which says nothing against the task; spot machines go by the
hour. A task that brings its nodes down ends by it."""
HEAD_GONE_S = 20.0
"""How long nobody may listen at the head's address. Ray ends the process after 60."""


class Deaths:
    """The nodes that are alive, looked at now and then."""

    def __init__(self) -> None:
        self._alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        self._told: set[str] = set()  # told of already, whatever Ray still says of them
        self._looked_at = self._heard_at = time.monotonic()
        # A client of a proxy (ray://) does not know the head's address, and loses its session with the proxy.
        self._head = None if client.is_connected() else str(ray.get_runtime_context().gcs_address)

    def lost(self, board: ProgressBoard, now: float, *, last: bool) -> list[str]:
        """A line for each node that died since the last look: where it was, and which tasks begin again.

        Looks every :data:`NODES_POLL_S`, and at the ``last`` call in any case. Raises ``ResourceError`` where the head
        has not been there for :data:`HEAD_GONE_S`.
        """
        if now - self._looked_at < NODES_POLL_S and not last:
            return []
        self._looked_at = now
        if self._head is not None and _failure(self._head) is not None:
            if now - self._heard_at > HEAD_GONE_S:
                raise ResourceError(
                    f"the head of the Ray cluster at {self._head} is gone: start a cluster again, and the same "
                    "command goes on; what is done stays done"
                )
            return []
        self._heard_at = now
        nodes = [node for node in ray.nodes() if node["NodeID"] not in self._told]
        alive = {node["NodeID"] for node in nodes if node["Alive"]} - self._refusing(nodes, board, now)
        dead = [node for node in nodes if node["NodeID"] in self._alive - alive]
        self._told |= {node["NodeID"] for node in dead}
        self._alive = alive
        return [
            f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]}) died: "
            + (f"{', '.join(again)} begin{'s' * (len(again) == 1)} again elsewhere" if again else "no task ran there")
            + f"; {len(self._alive)} node{'s' * (len(self._alive) != 1)} left"
            for node, again in ((node, board.lost_with(node["NodeID"], now)) for node in dead)
        ]

    def _refusing(self, nodes: list[dict[str, Any]], board: ProgressBoard, now: float) -> set[str]:
        """Of the nodes that a task has left lately, those where nothing of Ray's listens any more: a short task can
        have begun again and ended elsewhere before Ray itself knows of the death. A machine that does not even refuse
        leaves it open.
        """
        left = board.lately_left(now) if self._head is not None else ()
        asked = [node for node in nodes if node["Alive"] and node["NodeID"] in left]
        failures = {
            node["NodeID"]: _failure(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}") for node in asked
        }
        return {node for node, failure in failures.items() if isinstance(failure, ConnectionRefusedError)}


def _failure(address: str) -> OSError | None:
    """Why nobody can be reached there; None where somebody listens."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except OSError as error:
        return error
    return None
