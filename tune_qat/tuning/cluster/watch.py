"""Watch over what a driver cannot live without: Ray ends it, with lines of its own alone, some time after their death.

Calls to Ray do not return meanwhile, so that the main thread may not be able to end the study: then the watch does.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tune_qat.config import TuneQatError

LOOK_S = 2.0
"""Seconds between two looks, and for which an answer is waited for."""
BEFORE_RAY_S = 20.0
"""Seconds before the end that Ray sets at which a silent head is given up: until then it may have been restarted."""
NODE_S = 3.0
"""Seconds of silence after which this machine's node is given up, which nobody restarts; Ray takes about fourteen."""
END_S = 6.0
"""Seconds that the main thread has to end the study."""


class ClusterLost(TuneQatError):
    """A cluster whose head, or whose node on this machine, does not answer any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Server that a driver needs."""

    name: str
    address: str
    """Host and port."""
    patience_s: float

    def answers(self) -> bool:
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_S).close()
        except OSError:
            return False
        return True


def needed(address: str) -> list[Place]:
    """Return the head of the connected cluster, and the node that this driver has joined it by."""
    import ray

    context = ray.get_runtime_context()
    own = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    # Ray's own setting, and its default.
    ray_s = float(os.environ.get("RAY_gcs_rpc_server_reconnect_timeout_s", 60))
    here = "The Ray session on this machine"
    head = here if address == "local" else f"The head of the Ray cluster at {address}"
    node = here if address == "local" else "The Ray node on this machine"
    return [
        Place(name=head, address=str(context.gcs_address), patience_s=max(LOOK_S, ray_s - BEFORE_RAY_S)),
        Place(name=node, address=f"{own['NodeManagerAddress']}:{own['NodeManagerPort']}", patience_s=NODE_S),
    ]


@contextmanager
def watched(
    places: Sequence[Place],
    *,
    say: Callable[[str], Any],
    lost: Callable[[ClusterLost], Any],
    end: Callable[[ClusterLost], Any],
) -> Iterator[None]:
    """Watch these places while the block runs.

    Args:
        places: the servers that must answer.
        say: function that is told, from another thread, of one that does not.
        lost: function that gives the study up, called from another thread.
        end: function that ends the process, called if the block has not ended `END_S` after that.
    """
    over = threading.Event()

    def watch() -> None:
        error = _first_lost(places, say, over)
        if error is not None:
            lost(error)
            if not over.wait(END_S):
                end(error)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _first_lost(places: Sequence[Place], say: Callable[[str], Any], over: threading.Event) -> ClusterLost | None:
    """Wait until a place has been silent for its patience, or all is over."""
    silent: dict[Place, float] = {}
    while not over.wait(LOOK_S):
        for place in places:
            if place.answers():
                silent.pop(place, None)
                continue
            if place not in silent and not over.is_set():
                say(f"{place.name} does not answer; waiting up to {place.patience_s:.0f} s for it")
            since = silent.setdefault(place, time.monotonic())
            if time.monotonic() - since > place.patience_s:
                return ClusterLost(
                    f"{place.name} has not answered for {place.patience_s:.0f} s, and the study cannot go on without "
                    "it. Nothing recorded is lost: once there is a cluster, run the same command again."
                )
    return None
