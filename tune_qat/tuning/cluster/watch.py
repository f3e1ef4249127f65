"""Watch over a cluster's head: Ray ends a process that has not reached it for a minute, with a line of its own alone.

Calls to Ray do not return meanwhile, so that the main thread may not be able to end the study: then the watch does.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tune_qat.config import TuneQatError

LOOK_S = 2.0
"""Seconds between two looks, and for which an answer is waited for."""
BEFORE_RAY_S = 20.0
"""Seconds before Ray would end the process at which the study is given up."""
END_S = 10.0
"""Seconds that the main thread has to end the study."""


class ClusterLost(TuneQatError):
    """A cluster whose head does not answer any more."""


def patience_s() -> float:
    """Return the seconds for which a silent head is waited for: it may be restarted."""
    # Ray's own setting, and its default.
    return max(LOOK_S, float(os.environ.get("RAY_gcs_rpc_server_reconnect_timeout_s", 60)) - BEFORE_RAY_S)


@contextmanager
def watched(
    address: str,
    name: str,
    *,
    say: Callable[[str], Any],
    lost: Callable[[ClusterLost], Any],
    end: Callable[[ClusterLost], Any],
) -> Iterator[None]:
    """Watch a head while the block runs.

    Args:
        address: host:port of the head.
        name: name of the cluster in messages.
        say: function that is told, from another thread, that the head does not answer.
        lost: function that gives the study up, called from another thread.
        end: function that ends the process, called if the block has not ended `END_S` after that.
    """
    over = threading.Event()

    def watch() -> None:
        seen, said = time.monotonic(), False
        while not over.wait(LOOK_S):
            if _answers(address):
                seen, said = time.monotonic(), False
                continue
            if not said and not over.is_set():
                say(f"{name} does not answer; waiting up to {patience_s():.0f} s for it")
                said = True
            if time.monotonic() - seen > patience_s():
                error = ClusterLost(
                    f"{name} has not answered for {patience_s():.0f} s, and the study cannot go on without it. Nothing "
                    "recorded is lost: once there is a cluster, run the same command again."
                )
                lost(error)
                if not over.wait(END_S):
                    end(error)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_S).close()
    except OSError:
        return False
    return True
