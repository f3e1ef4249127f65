"""Summary of an import, for people: the source of each value."""

import shlex
from collections import Counter
from collections.abc import Mapping

from tune_qat.config.statuses import ERROR, INTERRUPTED, STOPPED
from tune_qat.importing.found import FoundStudy
from tune_qat.importing.roles import LEARNING_RATE, OPTIMIZER, Taken
from tune_qat.importing.rows import Rows
from tune_qat.storage.paths import StoragePath

_WORDS = {STOPPED: "stopped early", ERROR: "failed", INTERRUPTED: "not ended"}


def summary(
    study: FoundStudy, study_id: str, taken: Mapping[str, Taken], rows: Rows, results: StoragePath, again: bool
) -> str:
    """Return a line for the source of each value, the number of trials left out, and a command to go on with."""
    counts = Counter(row["status"] for row in rows.trials)
    ended = ", ".join(f"{number} {_WORDS.get(status, status)}" for status, number in counts.most_common())
    waiting = study.planned - len(study.trials)
    lines = {
        "metric": f"{study.metric}, {'larger' if study.sign > 0 else 'smaller'} is better",
        **{name.replace("_", " "): _source(one) for name, one in taken.items()},
        "trials": ended or "none",
        "left out": f"{rows.left_out} that ended before they had a learning rate, an optimizer and a batch size"
        if rows.left_out
        else "",
        "lost": study.lost,
        "not started": str(waiting) if waiting else "",
        "trivial score": "unknown: trials that failed are counted, and have no score (--trivial SCORE)"
        if rows.arm["trivial_score"] is None
        else f"{rows.arm['trivial_score']:g}",
    }
    spelt = {theirs: ours for theirs, ours in rows.optimizers.items() if theirs != ours}
    if spelt:
        lines["optimizer"] += f" ({', '.join(f'{theirs} is {ours}' for theirs, ours in spelt.items())})"
    width = max(map(len, lines))
    done = "imported again" if again else "imported"
    title = f"study {study_id}: {done} from {study.origin}, {study.name!r} in {study.shown_in}"
    body = [f"  {name:{width}}  {line}" for name, line in lines.items() if line]
    ask = f"tune-qat query {shlex.quote(str(results))} learning_rate"
    return "\n".join([title, *body, "", f"ask      {ask}"])


def _source(taken: Taken) -> str:
    if taken.fixed is not None:
        return f"{taken.fixed} in all trials, as given"
    if taken.names:
        return ", ".join(taken.names)
    if taken.role.name.endswith("_bits"):
        return f"32, not quantized: nothing says otherwise ({taken.role.option})"
    return "" if taken.role in (OPTIMIZER, LEARNING_RATE) else "unknown"
