"""Settings that a study keeps from its begin, read from its record."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.study.begun import Begun
from tune_qat.tuning.allocated import recorded_bits, recorded_costs

Rows = Sequence[Mapping[str, Any]]


def as_begun(study: Study, results: StoragePath) -> Study:
    """Return the study as it goes on over what a results folder has of it. Raises the errors of `read_rows`."""
    return over(study, read_rows(results, "studies", study.name), read_rows(results, "arms", study.name))


def over(study: Study, studies: Rows, arms: Rows) -> Study:
    """Return the study as it goes on over its recorded rows of `studies`, one or none, and `arms`."""
    plain = study.going_on(Begun())
    same_seed = any(row["seed"] == study.seed for row in studies)
    seeds = {row["arm_id"]: row["sampler_seed"] for row in arms if same_seed and row["sampler_seed"] is not None}
    return plain.going_on(
        Begun(
            first_rung=_first_rung(plain, studies, arms),
            unchecked_rung=_unchecked_rung(plain, studies),
            design_seeds=seeds,
            mixed=recorded_bits(study, arms),
            group_costs=recorded_costs(study, arms),
        )
    )


def _first_rung(study: Study, studies: Rows, arms: Rows) -> int | None:
    """Return the first rung that a default has set before, where it is another one today; None otherwise.

    The file has left it out then as now, and the trials are as long and start alike: otherwise the user has changed it,
    or no recorded trial counts.
    """
    now = ("asha", study.training.epochs, study.training.init)
    named = any(_named(row) for row in studies)
    for arm in arms:
        before = arm["scheduler"], arm["max_epochs"], arm["init"]
        if study.stops_early and study.asha.grace_epochs is None and not named and before == now:
            return None if arm["grace_epochs"] == study.first_rung else arm["grace_epochs"]
    return None


def _unchecked_rung(study: Study, studies: Rows) -> bool:
    """Return whether the first file that ran is of a version that kept no versions, and named today's first rung.

    Only those have no date. The trials are as long and start alike.
    """
    now = (study.asha.grace_epochs, study.training.epochs, study.training.init)
    for row in studies:
        versions = json.loads(row["versions_json"] or "null")
        first = versions[0] if versions else {"first_run_at": None, "definition": json.loads(row["definition_json"])}
        asha, training = (_section(first["definition"], name) for name in ("asha", "training"))
        then = (asha.get("grace_epochs"), training.get("epochs"), training.get("init"))
        if first["first_run_at"] is None and asha.get("enabled", True) and now == then and now[0] is not None:
            return True
    return False


def _named(row: Mapping[str, Any]) -> bool:
    """Return whether the file that a study was last run with names the first rung."""
    return _section(json.loads(row["definition_json"]), "asha").get("grace_epochs") is not None


def _section(definition: Any, name: str) -> Mapping[str, Any]:
    """Return a section of a recorded study file; nothing where it has none."""
    found = definition.get(name) if isinstance(definition, dict) else None
    return found if isinstance(found, dict) else {}


def kept(study: Study) -> list[str]:
    """Return a sentence for each setting that the study keeps though a study begun now would have another."""
    first = study.begun.first_rung
    if first is None:
        return []
    today = study.going_on(Begun()).first_rung
    return [
        f"ASHA's first rung stays at epoch {first} of {study.training.epochs}, as this study began; without a record "
        f"it would be epoch {today}. asha.grace_epochs names another."
    ]
