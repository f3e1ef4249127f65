"""Findings from the facts about machines: good, worth knowing, or to be fixed."""

from collections.abc import Callable, Mapping
from typing import Any

from tune_qat.results.provenance import library_versions, other_versions

OK, NOTE, FAIL = "ok", "note", "FAIL"
Finding = tuple[str, str]
"""Kind (one of the three) and text."""
Facts = Mapping[str, Mapping[str, Any]]
"""Facts by node and name; an `Exception` in place of one that could not be read."""
FULL_DISK = 0.05
"""Free share of a disk below which Ray gives a node no more work."""
LITTLE_DISK = 10e9
BUSY_GPU = 0.9
"""Free share of a GPU's memory below which something else uses it."""
CLOCKS_S = 2.0


def versions(facts: Facts) -> Finding:
    """Check whether all nodes have the libraries of this process."""
    ours = library_versions()

    def judge(theirs: Mapping[str, Any]) -> Finding:
        other = other_versions(theirs, ours)
        if other:
            return FAIL, f"{other}; install the versions of constraints.txt everywhere"
        return OK, ", ".join(f"{name} {version}" for name, version in ours.items())

    return _of_all(facts, "versions", lambda node, value: judge(value))


def cpus(facts: Facts, counted: Mapping[str, float]) -> Finding:
    """Check whether Ray counts on more CPUs than a node may use."""

    def judge(node: str, limit: float | None) -> Finding:
        have, count = facts[node]["cpus"], counted.get(node, 0.0)
        allowed = have if limit is None else min(have, limit)
        if count > allowed + 0.5:
            return FAIL, (
                f"Ray counts on {count:g} CPUs, but only {allowed:g} may be used, so trials would compete; start Ray "
                f"with --num-cpus={max(1, int(allowed))}, or run with --max-concurrent {max(1, int(allowed))}"
            )
        return OK, f"{count:g} CPUs for trials" + ("" if limit is None else f" of {limit:g} that are allowed")

    return _of_all(facts, "cpu_limit", judge)


def shared_memory(facts: Facts, wanted: Mapping[str, float | None]) -> Finding:
    """Check whether Ray's object store, which carries the decoded data, fits into shared memory."""

    def judge(node: str, size: int) -> Finding:
        store = wanted.get(node)
        if store is not None and store > size:
            return NOTE, (
                f"/dev/shm has {_gb(size)}, and Ray's object store {_gb(store)}: what does not fit goes to "
                "disk, which is slow; give the container more (docker run --shm-size)"
            )
        return OK, f"/dev/shm has {_gb(size)}"

    return _of_all(facts, "shared_memory", judge)


def disk(facts: Facts) -> Finding:
    """Check whether the disks have room for the record and for Ray's own files."""

    def judge(folder: str, free: int, total: int) -> Finding:
        text = f"{_gb(free)} of {_gb(total)} free in {folder}"
        if free < FULL_DISK * total:
            return FAIL, f"{text}: Ray gives no work to a node with less than 5 %; remove files, or set RAY_TMPDIR"
        return (NOTE if free < LITTLE_DISK else OK), text

    return _of_all(facts, "disks", lambda node, value: _worst([judge(one, *sizes) for one, sizes in value.items()]))


def gpus(facts: Facts) -> Finding:
    """List the GPUs, and check whether something else uses them."""

    def judge(found: list[tuple[str, int, int]]) -> Finding:
        if not found:
            return NOTE, "torch can use none: trials run on CPUs"
        texts = [f"{name}, {_gb(free)} of {_gb(total)} free" for name, free, total in found]
        busy = any(free < BUSY_GPU * total for _, free, total in found)
        return (NOTE if busy else OK), "; ".join(texts) + (" (something else uses them)" if busy else "")

    return _of_all(facts, "gpus", lambda node, value: judge(value))


def compiler(facts: Facts) -> Finding:
    """Check whether training steps can be compiled."""

    def judge(problem: str) -> Finding:
        if problem:
            return NOTE, f"Inductor cannot compile here, so training steps run eagerly ({problem}); install g++ for it"
        return OK, "Inductor compiles"

    return _of_all(facts, "compiler", lambda node, value: judge(value))


def clocks(facts: Facts, asked: float, answered: float) -> Finding:
    """Check how far clocks are apart, from times read between two readings of this machine's clock."""

    def judge(told: float) -> Finding:
        apart = max(asked - told, told - answered, 0.0)
        if apart > CLOCKS_S:
            return NOTE, f"{apart:.0f} s from this machine's; only the stamps in the record depend on them"
        return OK, f"within {CLOCKS_S:g} s"

    return _of_all(facts, "time", lambda node, value: judge(value))


def _of_all(facts: Facts, name: str, judge: Callable[[str, Any], Finding]) -> Finding:
    """Return the worst finding of all nodes; nodes are named if they differ."""
    found: dict[Finding, list[str]] = {}
    for node, known in facts.items():
        value = known[name]
        finding = (NOTE, f"cannot be read ({value})") if isinstance(value, Exception) else judge(node, value)
        found.setdefault(finding, []).append(node)
    kind, _ = _worst(list(found))
    shown = {text: nodes for (its_kind, text), nodes in found.items() if its_kind == kind}
    if len(found) == 1:
        return kind, next(iter(shown)) + (f", on all {len(facts)} nodes" if len(facts) > 1 else "")
    return kind, "; ".join(f"{', '.join(nodes)}: {text}" for text, nodes in shown.items())


def _worst(findings: list[Finding]) -> Finding:
    """Return the worst kind, with the texts of all findings of that kind."""
    kind = max((kind for kind, _ in findings), key=(OK, NOTE, FAIL).index, default=OK)
    return kind, "; ".join(text for its_kind, text in findings if its_kind == kind)


def _gb(size: float) -> str:
    return f"{size / 1e9:,.1f} GB"
