"""Checks that every node of a cluster has the same libraries, the results folder and the data."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_qat.config import StudyHalted, TuneQatError
from tune_qat.results.provenance import library_versions, other_versions
from tune_qat.storage.paths import StoragePath, write_whole
from tune_qat.storage.probe import probe
from tune_qat.study import Study
from tune_qat.training.workload import Workload
from tune_qat.tuning.own_code import OwnCode

WAIT_S = 120.0
"""Longest wait for a node's answer, for which it starts a process."""
NAMED_BY = 8
"""Characters of a node's identity that tell it from others of the same address."""
SETTLE_S = 5.0
"""Longest wait for a file of another node: network file systems cache for seconds that a file does not exist."""
SHARE = "Use a folder that all nodes see (NFS, a mounted volume), or object storage (s3://bucket/folder, gs://...)."
SAME_VERSIONS = "Install the same versions everywhere (constraints.txt names them), and run again."


class OtherVersions(StudyHalted):
    """Error of a node whose libraries differ from the driver's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    node: str
    """Name of the node for people: its address, and a part of its identity where several have the same address."""
    value: Any
    problem: str
    """Reason why there is no value; empty if there is one."""
    node_id: str = ""
    """Identity of the node in the cluster; empty outside of one."""


def ask_nodes(question: Callable[..., Any], *given: Any) -> list[Answer]:
    """Call a function on every living node at the same time, with no claim on the resources of trials."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(question)
    alive = [node for node in ray.nodes() if node["Alive"]]
    asked = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(*given)
        for node in alive
    ]
    until = time.monotonic() + WAIT_S
    return [
        _answer(node["NodeID"], name, reference, until)
        for node, name, reference in zip(alive, node_names(alive), asked, strict=True)
    ]


def node_names(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each of `ray.nodes()`: no two are the same.

    It is the address where no other node has that, as raylets of one machine or behind one address may.
    """
    addresses = [node["NodeManagerAddress"] for node in nodes]
    count = Counter(addresses)
    return [
        address if count[address] == 1 else f"{address} (node {node['NodeID'][:NAMED_BY]})"
        for address, node in zip(addresses, nodes, strict=True)
    ]


def check_versions() -> None:
    """Raise `TuneQatError` that names every node whose library versions differ from this process's, or are unknown."""
    ours = library_versions()
    problems = [
        (one.node, f"versions unknown ({one.problem})" if one.problem else other_versions(one.value, ours))
        for one in ask_nodes(library_versions)
    ]
    heading = "Nodes of the cluster have other library versions than this machine; their curves could not be compared:"
    _refuse(heading, problems, SAME_VERSIONS)


def check_versions_here(ours: Mapping[str, str | None]) -> None:
    """Raise `OtherVersions` if this process, on a node that joined later, has other libraries than the driver."""
    found = other_versions(library_versions(), ours, "where the study was started")
    if found:
        raise OtherVersions(
            f"A node that joined the cluster has other library versions: {found}. Its curves could not be compared. "
            + SAME_VERSIONS
        )


def check_code(code: OwnCode) -> None:
    """Raise `TuneQatError` that names every node where the study's own parts are other ones, or do not import."""
    if code.parts:
        problems = [(answer.node, answer.problem) for answer in ask_nodes(OwnCode.opened, code)]
        advice = "What a part imports of yours has to lie in its own package: only that package is sent to the nodes."
        _refuse("Nodes of the cluster cannot use the own parts of this study:", problems, advice)


def check_results(results: StoragePath) -> None:
    """Raise `TuneQatError` that names every node which does not share the results folder with this machine.

    No file is left behind, neither here nor on a node that has another folder of this name.
    """
    with probe(results) as name:
        answers = ask_nodes(_see_and_answer, results.absolute(), name)
        problems = [(answer.node, _unseen(answer, results)) for answer in answers]
        ask_nodes(_remove_answer, results.absolute(), name)
    heading = f"Nodes of the cluster do not share --results {results} with this machine; their trials would be lost:"
    _refuse(heading, problems, SHARE)


def check_data(study: Study, works: Iterable[Workload]) -> None:
    """Raise `TuneQatError` that names every node which lacks a file that its trials open themselves.

    Such files are decoded images that stay on disk, and the study's starting checkpoint. Other data is decoded once and
    sent to the nodes.
    """
    files, start = tuple(file for work in works for file in work.mapped_files()), study.training.init_path
    if files or start is not None:
        problems = [(answer.node, answer.problem) for answer in ask_nodes(_open, files, start)]
        advice = "Put them on storage that all nodes see under the same path."
        _refuse("Nodes of the cluster lack files that trials of this study read:", problems, advice)


def _refuse(heading: str, problems: Sequence[tuple[str, str]], advice: str) -> None:
    """Raise `TuneQatError` if a node has a problem; a problem is empty where there is none."""
    lines = [f"  {node}: {problem}" for node, problem in problems if problem]
    if lines:
        raise TuneQatError("\n".join([heading, *lines, advice]))


def _answer(node_id: str, name: str, reference: Any, until: float) -> Answer:
    import ray

    value, problem = None, ""
    try:
        value = ray.get(reference, timeout=max(1.0, until - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        problem = f"no answer within {WAIT_S:.0f} s"
    except Exception as error:  # a node that is lost or lacks this package, or any error of the function
        problem = _reason(error)
    return Answer(node=name, value=value, problem=problem, node_id=node_id)


def _reason(error: Exception) -> str:
    """Return a node's error in one line: the first line of a `TuneQatError`, the last of a traceback."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, TuneQatError):
        return str(cause).partition("\n")[0]
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _see_and_answer(results: StoragePath, name: str) -> str:
    """Return, on a node, the name of a file that it has written; empty if it does not see `name`."""
    import ray

    if not appears(results, name):
        return ""
    own = f"{name}.{ray.get_runtime_context().get_node_id()}"
    write_whole(results / own, own.encode())
    return own


def _remove_answer(results: StoragePath, name: str) -> None:
    """Remove, on a node, the file that it has written: from here it may not be seen."""
    import ray

    with suppress(OSError):
        (results / f"{name}.{ray.get_runtime_context().get_node_id()}").unlink(missing_ok=True)


def _unseen(answer: Answer, results: StoragePath) -> str:
    if answer.problem:
        return answer.problem
    if not answer.value:
        return "does not find what was written here"
    return "" if appears(results, answer.value) else "what it writes is not found here"


def appears(results: StoragePath, name: str) -> bool:
    """Wait up to `SETTLE_S` until the probe `name` can be read, and tell whether it can."""
    until = time.monotonic() + SETTLE_S
    while True:
        with suppress(FileNotFoundError):
            return (results / name).read_bytes() == name.encode()
        if time.monotonic() > until:
            return False
        time.sleep(0.5)


def _open(files: Any, start: str | None) -> None:
    """Open, on a node, the files that its trials would open."""
    for file in files:
        file.open()
    if start is not None and not Path(start).expanduser().is_file():
        raise TuneQatError(f"{start} (training.init_path) does not exist")
