"""Ranges that the arms of a study were searched in before they were widened, from the record."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tune_qat.config import Range, TrialConfig
from tune_qat.config.statuses import RANDOM, SEARCH
from tune_qat.study import Arm, Study
from tune_qat.study.space import Dimensions
from tune_qat.tuning.plan import option_values
from tune_qat.tuning.points import NewPart, Spaces


def spaces_of(study: Study, arm: Arm) -> dict[str, Dimensions]:
    """Return the search space of each optimizer of an arm."""
    return {name: study.dimensions(name, arm.scheme, arm.step_optimizer) for name in arm.optimizers}


def to_json(spaces: Spaces) -> str:
    """Return search spaces as the text of a column."""
    found = {one: {name: asdict(bounds) for name, bounds in space.items()} for one, space in spaces.items()}
    return json.dumps(found, sort_keys=True)


def earlier_spaces(
    study: Study, arms: Sequence[Mapping[str, Any]], trials: Sequence[Mapping[str, Any]]
) -> dict[str, Spaces]:
    """Return by arm the last other ranges that trials were drawn from, of recorded rows of `arms` and `trials`.

    They stay in the record while the study runs, so that one that is cut off still knows them when it goes on.
    """
    recorded, found = {row["arm_id"]: row for row in arms}, {}
    for arm in study.arms():
        row = recorded.get(arm.arm_id)
        drawn = [one for one in trials if one["arm_id"] == arm.arm_id and one["stage"] in (RANDOM, SEARCH)]
        if row is None or not drawn:
            continue
        last, before = _read(row["space_json"]), _read(row.get("earlier_space_json"))
        now = spaces_of(study, arm)
        changed = {optimizer: last.get(optimizer) for optimizer in now} != now
        earlier = last if changed and (not before or _reached(NewPart(last, before), drawn)) else before
        if earlier:
            found[arm.arm_id] = earlier
    return found


def _reached(part: NewPart, trials: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether one of the trials lies in the new part of ranges."""
    configs = (TrialConfig.from_dict(json.loads(row["params_json"])) for row in trials)
    return any(part.holds(config.optimizer, option_values(config)) for config in configs)


def _read(text: str | None) -> Spaces:
    spaces = json.loads(text or "{}")
    return {one: {name: Range(**bounds) for name, bounds in space.items()} for one, space in spaces.items()}
