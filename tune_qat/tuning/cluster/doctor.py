"""Checks of a machine or a cluster before a study: a line for each, with advice if it fails."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tune_qat import data
from tune_qat.config import TuneQatError
from tune_qat.config.own_parts import is_own
from tune_qat.storage.paths import storage_path
from tune_qat.storage.probe import probe
from tune_qat.study import Study
from tune_qat.tuning.cluster import findings, machine
from tune_qat.tuning.cluster.address import authentication, check_address, check_reachable, token_source
from tune_qat.tuning.cluster.connect import cluster
from tune_qat.tuning.cluster.findings import FAIL, NOTE, OK
from tune_qat.tuning.cluster.nodes import Answer, appears, ask_nodes, check_results

HERE = "this machine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    kind: str
    name: str
    text: str

    @property
    def failed(self) -> bool:
        return self.kind == FAIL

    def __str__(self) -> str:
        return f"{self.kind:5} {self.name:15} {' '.join(self.text.split())}"


def examine(*, address: str, results: str | None, study: Study | None, data_dir: str | Path | None) -> Iterator[Line]:
    """Yield the line of each check as soon as it is done; a check that raises an error fails alone."""
    yield _guarded("authentication", lambda: _authentication(address))
    with ExitStack() as session:
        connected = _guarded("ray", lambda: _connect(session, address))
        yield connected
        if address == "local" or not connected.failed:
            yield from _machines(address, results, connected=not connected.failed)
            if results is not None:
                yield _guarded("results", lambda: _results(results, shared=address != "local"))
        else:
            yield Line(kind=NOTE, name="nodes", text="nodes and results cannot be checked without a Ray session")
    if study is not None:
        yield _guarded("data", lambda: _data(study, data_dir))


def _guarded(name: str, check: Callable[[], tuple[str, str]]) -> Line:
    try:
        kind, text = check()
    except TuneQatError as error:
        kind, text = FAIL, str(error)
    except Exception as error:  # the other checks still run
        kind, text = FAIL, f"{type(error).__name__}: {error}"
    return Line(kind=kind, name=name, text=text)


def _authentication(address: str) -> tuple[str, str]:
    if address == "local":
        return OK, "a session on this machine has a token of its own"
    if os.environ.get("RAY_AUTH_MODE") == "token":
        source = token_source()
        if source is None:
            return FAIL, authentication()
        return OK, f"RAY_AUTH_MODE=token, with the token in {source}"
    return NOTE, "RAY_AUTH_MODE is not token: anyone who reaches the cluster may run code on it. " + authentication()


def _connect(session: ExitStack, address: str) -> tuple[str, str]:
    began = time.monotonic()
    check_address(address)
    check_reachable(address)
    session.enter_context(cluster(address))
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    what = "starts here" if address == "local" else f"at {address}: {len(alive)} node{'s' * (len(alive) != 1)}"
    return OK, f"{ray.__version__} {what}, after {time.monotonic() - began:.1f} s"


def _machines(address: str, results: str | None, *, connected: bool) -> Iterator[Line]:
    """Yield the checks of all nodes, or of this machine alone."""
    folder = results if results and "://" not in results else None
    asked, alone = time.time(), address == "local"
    if alone:
        answers = [Answer(node=HERE, value=machine.describe(folder), problem="")]
    else:
        answers = ask_nodes(machine.describe, folder)
    answered = time.time()
    silent = [f"{answer.node}: {answer.problem}" for answer in answers if answer.problem]
    if silent:
        yield Line(kind=FAIL, name="nodes", text=f"no answer: {'; '.join(silent)}. Install tune-qat there, as here.")
    facts = {answer.node: answer.value for answer in answers if not answer.problem}
    by_id = _counted() if connected else {}
    if alone:
        counted = dict.fromkeys([HERE], *by_id.values()) if by_id else {}
    else:
        counted = {answer.node: by_id[answer.node_id] for answer in answers if answer.node_id in by_id}
    for name, check in {
        "versions": lambda: findings.versions(facts),
        "cpus": lambda: findings.cpus(facts, {node: count for node, (count, _) in counted.items()}),
        "shared memory": lambda: findings.shared_memory(facts, {node: size for node, (_, size) in counted.items()}),
        "disk": lambda: findings.disk(facts),
        "gpus": lambda: findings.gpus(facts),
        "compiler": lambda: findings.compiler(facts),
        "clocks": lambda: findings.clocks(facts, asked, answered),
    }.items():
        yield _guarded(name, check)


def _counted() -> dict[str, tuple[float, float]]:
    """Return the CPUs and the bytes of the object store that Ray counts on, by the node's identity."""
    import ray

    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    return {node: (has.get("CPU", 0.0), has.get("object_store_memory", 0.0)) for node, has in nodes.items()}


def _results(typed: str, *, shared: bool) -> tuple[str, str]:
    results = storage_path(typed)
    if shared:
        check_results(results)
        return OK, f"what is written to {results} is seen on every node"
    with probe(results) as name:
        if not appears(results, name):
            return FAIL, f"{results} does not give back what is written to it. Name another place."
    return OK, f"{results} can be written to"


def _data(study: Study, data_dir: str | Path | None) -> tuple[str, str]:
    name = study.workload.dataset
    folder = data.check_present(name, data_dir=data_dir, default_data_dir=study.data_dir)
    without_folder = "is read by code of yours" if is_own(name) else "comes with a library"
    return OK, f"{name} is in {folder}" if folder else f"{name} {without_folder}"
