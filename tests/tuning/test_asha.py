"""ASHA beside Ray Tune's own, decision for decision."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import ASHAScheduler

from tune_qat.tuning.asha import Asha, cutoff
from tune_qat.tuning.objective import OBJECTIVE

NO_CONTROLLER: Any = None


def named(trial: int) -> Any:
    """All that an ASHA asks a trial for."""
    return SimpleNamespace(trial_id=str(trial))


def rays(epochs: int, grace: int, factor: float) -> ASHAScheduler:
    # One bracket: more would be drawn from numpy's global, unseeded state.
    return ASHAScheduler(
        time_attr="epoch", metric=OBJECTIVE, mode="max", max_t=epochs + 1, grace_period=grace, reduction_factor=factor,
        brackets=1,
    )  # fmt: skip


@pytest.mark.parametrize(("grace", "factor", "rungs"), [(1, 3, (1, 3, 9)), (2, 2, (2, 4, 8, 16)), (4, 4, (4, 16))])
def test_decisions_are_rays_for_trials_side_by_side(grace: int, factor: int, rungs: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    # Rounded, so that values meet each other and their cutoffs.
    curves = (generator.uniform(size=(300, 20)).cumsum(axis=1) * generator.uniform(size=(300, 1))).round(1)
    ours, theirs, stopped = Asha("arm", rungs, factor), rays(20, grace, factor), 0
    waiting, running = list(range(300)), dict[int, int]()
    while waiting or running:
        while waiting and len(running) < 5:
            trial = waiting.pop(0)
            running[trial] = 0
            theirs.on_trial_add(NO_CONTROLLER, named(trial))
        trial = int(generator.choice(list(running)))
        running[trial] += 1
        result = {"epoch": running[trial], OBJECTIVE: float(curves[trial, running[trial] - 1])}
        one, ended = named(trial), generator.uniform() < 0.02 or running[trial] == 20
        decision = ours.put(str(trial), running[trial], result[OBJECTIVE])
        if ended:  # by itself, diverged or at its last epoch
            theirs.on_trial_complete(NO_CONTROLLER, one, result)
        else:
            ended = decision is not None and decision.stops
            assert theirs.on_trial_result(NO_CONTROLLER, one, result) == ("STOP" if ended else "CONTINUE")
            stopped += ended
        if ended:
            del running[trial]
    assert 100 < stopped < 300, "some are stopped and some are not"


def test_a_value_counts_once_in_a_rung_and_nowhere_else() -> None:
    asha = Asha("arm", (1, 3), 3)
    first = asha.put("one", 1, 0.5)
    assert first is not None and (first.stops, first.cutoff, first.n_in_rung) == (False, None, 0)
    assert asha.put("one", 1, 0.1) is None
    assert asha.put("one", 2, 0.1) is None
    second = asha.put("two", 1, 0.4)
    assert second is not None and (second.stops, second.cutoff, second.n_in_rung) == (True, 0.5, 1)
    assert (asha.rungs[1].values, asha.rungs[3].values) == ([0.4, 0.5], [])


@pytest.mark.parametrize("factor", [2, 2.5, 3, 4, 5, 7])
def test_the_cutoff_is_numpys_percentile_to_the_last_bit(factor: float) -> None:
    generator = np.random.default_rng(0)
    for size in range(1, 200):
        values = generator.normal(size=size).tolist()
        assert cutoff(sorted(values), factor) == np.percentile(values, (1 - 1 / factor) * 100)
