"""Whether every node of a cluster would train with the same code."""

from collections.abc import Mapping
from typing import Any

from tune_qat.config import TuneQatError
from tune_qat.provenance import library_versions

WAIT_S = 120.0
"""Longest wait for a node's answer: it starts a process for it."""


class OtherVersions(TuneQatError):
    """A node would train with other libraries than the driver's."""


def check_versions() -> None:
    """`TuneQatError` naming every node whose library versions are not those of this process, or that cannot say."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=0)(library_versions)
    asked = {
        node["NodeManagerAddress"]: ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote()
        for node in ray.nodes()
        if node["Alive"]
    }
    problems = [f"  {address}: {found}" for address, answer in asked.items() if (found := _difference(answer))]
    if problems:
        raise TuneQatError(
            "Nodes of the cluster have other library versions than this machine; their curves could not be compared:\n"
            + "\n".join(problems)
            + "\nInstall the same versions everywhere (constraints.txt names them), and run again."
        )


def _difference(answer: Any) -> str:
    import ray

    try:
        theirs = ray.get(answer, timeout=WAIT_S)
    except Exception as error:  # a node without this package, or one that does not answer
        lines = str(error).strip().splitlines()
        return f"cannot say ({lines[-1] if lines else type(error).__name__})"
    return _other(library_versions(), theirs, "here")


def check_own(ours: Mapping[str, str | None]) -> None:
    """`OtherVersions` if this process, on a node that joined later, has not the library versions of the driver."""
    found = _other(ours, library_versions(), "where the study was started")
    if found:
        raise OtherVersions(
            f"A node that joined the cluster has other library versions: {found}. Its curves could not be compared. "
            "Install the same versions everywhere (constraints.txt names them), and run again."
        )


def _other(ours: Mapping[str, str | None], theirs: Mapping[str, str | None], where: str) -> str:
    other = [name for name in ours if ours[name] != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)} ({where} {ours[name]})" for name in other)
