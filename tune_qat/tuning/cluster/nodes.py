"""What every node of a cluster has to have before the first trial: the same code, the results and the data."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_qat.config import TuneQatError
from tune_qat.results.provenance import library_versions, other_versions
from tune_qat.storage.paths import StoragePath, write_whole
from tune_qat.storage.probe import probe
from tune_qat.study import Study
from tune_qat.training.workload import Workload

WAIT_S = 120.0
"""Longest wait for a node's answer: it starts a process for it."""
SETTLE_S = 5.0
"""Longest wait for what another node has just written: network file systems remember for seconds what was not there."""
SHARE = "Use a folder that all nodes see (NFS, a mounted volume), or object storage (s3://bucket/folder, gs://...)."


class OtherVersions(TuneQatError):
    """A node would train with other libraries than the driver's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What one node said."""

    node: str
    """Its address."""
    value: Any
    problem: str
    """Why there is no value; empty where there is one."""


def ask_nodes(question: Callable[..., Any], *given: Any) -> list[Answer]:
    """Call a function with the same arguments on every living node, all at once, outside of what trials hold."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = [
        (
            node["NodeManagerAddress"],
            ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(*given),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    until = time.monotonic() + WAIT_S
    return [_answer(node, reference, until) for node, reference in asked]


def check_versions() -> None:
    """`TuneQatError` naming every node whose library versions are not those of this process, or that cannot say."""
    problems = [f"  {answer.node}: {found}" for answer in ask_nodes(library_versions) if (found := _versions(answer))]
    if problems:
        raise TuneQatError(
            "Nodes of the cluster have other library versions than this machine; their curves could not be compared:\n"
            + "\n".join(problems)
            + "\nInstall the same versions everywhere (constraints.txt names them), and run again."
        )


def _versions(answer: Answer) -> str:
    if answer.problem:
        return f"cannot say ({answer.problem})"
    return other_versions(answer.value, library_versions())


def check_own(ours: Mapping[str, str | None]) -> None:
    """`OtherVersions` if this process, on a node that joined later, has not the library versions of the driver."""
    found = other_versions(library_versions(), ours, "where the study was started")
    if found:
        raise OtherVersions(
            f"A node that joined the cluster has other library versions: {found}. Its curves could not be compared. "
            "Install the same versions everywhere (constraints.txt names them), and run again."
        )


def check_results(results: StoragePath) -> None:
    """`TuneQatError` naming every node that does not see what is written to the results here, or the other way round.

    Leaves no file behind: neither here nor on a node whose folder of this name is another one.
    """
    with probe(results) as name:
        answers = ask_nodes(_see_and_answer, results.absolute(), name)
        problems = [f"  {answer.node}: {found}" for answer in answers if (found := _unseen(answer, results))]
        for answer in answers:
            if answer.value:
                with suppress(OSError):
                    (results / answer.value).unlink(missing_ok=True)
    if problems:
        raise TuneQatError(
            f"Nodes of the cluster do not share --results {results} with this machine; their trials would be lost:\n"
            + "\n".join(problems)
            + f"\n{SHARE}"
        )


def check_data(study: Study, work: Workload) -> None:
    """`TuneQatError` naming every node that lacks a file which its trials open themselves.

    That is decoded images that stay on disk, and a checkpoint that the study starts from. Other data is decoded once
    and sent to the nodes.
    """
    files, start = work.mapped_files(), study.training.init_path
    if not files and start is None:
        return
    problems = [f"  {answer.node}: {answer.problem}" for answer in ask_nodes(_open, files, start) if answer.problem]
    if problems:
        raise TuneQatError(
            "Nodes of the cluster lack files that trials of this study read:\n"
            + "\n".join(problems)
            + "\nPut them on storage that all nodes see under the same path."
        )


def _answer(node: str, reference: Any, until: float) -> Answer:
    import ray

    try:
        return Answer(node=node, value=ray.get(reference, timeout=max(1.0, until - time.monotonic())), problem="")
    except ray.exceptions.GetTimeoutError:
        return Answer(node=node, value=None, problem=f"no answer within {WAIT_S:.0f} s")
    except Exception as error:  # a node without this package, one that is lost, whatever the function raises
        return Answer(node=node, value=None, problem=_reason(error))


def _reason(error: Exception) -> str:
    """An error of a node in one line: the first of one that is for people, the last of a traceback."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, TuneQatError):
        return str(cause).partition("\n")[0]
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _see_and_answer(results: StoragePath, name: str) -> str:
    """On a node: the name of what it has written itself, or nothing where it does not see `name`."""
    import ray

    if not appears(results, name):
        return ""
    own = f"{name}.{ray.get_runtime_context().get_node_id()}"
    write_whole(results / own, own.encode())
    return own


def _unseen(answer: Answer, results: StoragePath) -> str:
    if answer.problem:
        return answer.problem
    if not answer.value:
        return "does not find what was written here"
    return "" if appears(results, answer.value) else "what it writes is not found here"


def appears(results: StoragePath, name: str) -> bool:
    """Whether the probe `name` can be read, now or within `SETTLE_S`."""
    until = time.monotonic() + SETTLE_S
    while True:
        with suppress(FileNotFoundError):
            return (results / name).read_bytes() == name.encode()
        if time.monotonic() > until:
            return False
        time.sleep(0.5)


def _open(files: Any, start: str | None) -> None:
    """On a node: open what its trials would."""
    for file in files:
        file.open()
    if start is not None and not Path(start).is_file():
        raise TuneQatError(f"{start} (training.init_path) does not exist")
