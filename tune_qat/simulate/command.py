"""Output of `tune-qat simulate`: a study replayed on a simulated clock, and the ASHA setting to choose."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tune_qat.config import UsageError
from tune_qat.simulate import rungs as kept
from tune_qat.simulate import summary
from tune_qat.simulate.compare import Setting, compare
from tune_qat.simulate.loop import Simulation, simulate
from tune_qat.simulate.source import Source, find
from tune_qat.simulate.text import report, setting_name

__all__ = ["describe", "find"]


def describe(
    source: Source,
    *,
    workers: int | None = None,
    time_budget: float | None = None,
    seeds: int | None = None,
    form: str = "table",
    say: Callable[[str], Any] = lambda text: None,
) -> str:
    """Return the report as a table or as JSON.

    Args:
        source: result of `find`.
        workers: trials at once; None for `source.workers`.
        time_budget: simulated seconds after which trials should have ended.
        seeds: seeds of every ASHA setting; None compares no settings.
        form: table or json.
        say: called with a sentence for every setting that is done.

    Raises `UsageError` where settings of early stopping are to be compared and the study has several objectives.
    """
    if seeds is not None and source.study.search.objectives is not None:
        raise UsageError("--compare compares settings of early stopping, and with search.objectives there is none.")
    given = workers or source.workers
    done = simulate(source.study, source.curves, workers=given, time_budget=time_budget)
    settings: list[Setting] = []
    if seeds is not None:
        found = kept.evidence(done)
        options: dict[str, Any] = {"workers": given, "seeds": seeds, "time_budget": time_budget}
        for setting in compare(source.study, source.curves, found, **options):
            settings.append(setting)
            say(f"{setting_name(setting)}: {setting.epochs:.0f} epochs")
    if form == "json":
        return json.dumps(_values(source, done, settings), indent=2)
    return report(source, done, settings, workers_given=workers is not None, at_equal_time=time_budget is not None)


def _values(source: Source, done: Simulation, settings: Sequence[Setting]) -> dict[str, Any]:
    return {
        "study": source.study.name,
        "source": source.where,
        "stand_in": source.record is None,
        "seed": source.study.seed,
        "workers": done.workers,
        "rungs": list(source.study.rungs),
        "epochs_from": summary.sources(done),
        "cost": summary.cost(done),
        "arms": summary.arms(done),
        **({"fronts": summary.fronts(done)} if done.queue.objectives.several else {}),
        "over_time": summary.over_time(done, source.margin),
        "rank_correlations": [asdict(row) for row in kept.rungs(done.study, kept.whole_curves(done))],
        "earliest_rung": asdict(earliest) if (earliest := kept.earliest(done)) else None,
        "settings": [asdict(one) for one in settings],
    }
