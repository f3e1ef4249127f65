"""Seconds of simulating a study of 10,000 trials, with the formula's curves and with recorded ones.

python -m benchmarks.simulate [--trials N] [--save]

`quickstart`'s 20 arms (ten optimizers at two bit widths), a TPE sampler and an ASHA for each, four workers. The
recorded curves are those of 41 trials an arm, which stand in memory; the two differ in nothing else.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import Bar, Report, interleaved, parser, spread, table
from tune_qat.simulate.curves import Curves
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.loop import Run, Simulation, simulate
from tune_qat.simulate.recorded_curves import Group, Recorded, RecordedTrial
from tune_qat.study import Study
from tune_qat.tuning.plan import DataDraws, RecordedData
from tune_qat.tuning.sampler import ArmSampler

WORKERS = 4
RANDOM = 16
BAR = Bar(figure="seconds of 10,000 simulated trials", limit=60.0)


def study_of(search: int) -> Study:
    """With so many search trials an arm."""
    return Study.load("quickstart", {"stages.random": RANDOM, "stages.search": search})


def recorded(study: Study) -> Recorded:
    """What the formula would leave behind of a study, as a record."""
    form = ClosedForm.of(study)
    done = simulate(study, form, workers=WORKERS)
    trials: dict[Any, list[RecordedTrial]] = {}
    for run in done.runs:
        if run.plan.stage != "pretrain":
            trials.setdefault((run.plan.config.optimizer, run.plan.config.scheme, ""), []).append(_as_recorded(run))
    return Recorded(
        objective=form.objective,
        data=DataDraws.of_study(
            study, lambda options: RecordedData(data_fingerprint="stand-in", split_fingerprint="stand-in")
        ),
        starts=[form.start_sha256(0)],
        groups={key: Group(found, {key[0]: study.dimensions(key[0])}, 1) for key, found in trials.items()},
        pretrained={done.runs[0].plan.trial_key: done.runs[0].curve},
        stopped_early=True,
    )


def _as_recorded(run: Run) -> RecordedTrial:
    return RecordedTrial(
        trial_key=run.plan.trial_key,
        arm_id=run.plan.arm_id,
        stage=run.plan.stage,
        config=run.plan.config,
        status=run.status,
        metrics=tuple(run.curve.metrics[: run.epoch]),
        seconds=tuple(run.curve.seconds[: run.epoch]),
        device_seconds=tuple(run.curve.device_seconds[: run.epoch]),
    )


class Side:
    """One kind of curves; keeps its last simulation, and the CPU seconds of every one and of its samplers."""

    def __init__(self, study: Study, curves: Curves) -> None:
        self._study, self._curves = study, curves
        self.done: Simulation
        self.cpu: list[float] = []
        self.sampling: list[float] = []

    def seconds(self) -> float:
        """Of one simulation."""
        with sampling_time() as spent:
            began, busy = time.perf_counter(), time.process_time()
            self.done = simulate(self._study, self._curves, workers=WORKERS)
            seconds = time.perf_counter() - began
            self.cpu.append(time.process_time() - busy)
        self.sampling.append(sum(spent))
        return seconds


@contextmanager
def sampling_time() -> Iterator[list[float]]:
    """CPU seconds of every call of a sampler while it is open."""
    spent: list[float] = []
    before = {name: getattr(ArmSampler, name) for name in ("propose", "tell")}

    def timed(call: Any) -> Any:
        def run(*args: Any) -> Any:
            began = time.process_time()
            try:
                return call(*args)
            finally:
                spent.append(time.process_time() - began)

        return run

    for name, call in before.items():
        setattr(ArmSampler, name, timed(call))
    try:
        yield spent
    finally:
        for name, call in before.items():
            setattr(ArmSampler, name, call)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--trials", type=int, default=10_000, help="of each simulation, about")
    given = options.parse_args()
    arms = len(study_of(1).arms())
    study = study_of(max(1, given.trials // arms - 1 - RANDOM - 3))
    sides = {"formula": Side(study, ClosedForm.of(study)), "recorded curves": Side(study, recorded(study_of(24)))}
    out = Report("simulate", "Simulated studies", rounds=given.rounds, save=given.save)
    found = interleaved({name: side.seconds for name, side in sides.items()}, given.rounds)
    rows = []
    for name, side in sides.items():
        trials = len(side.done.runs)
        rows.append(
            [
                name,
                trials,
                sum(run.epoch for run in side.done.runs),
                found.spread(name),
                spread(side.cpu[1:]),
                spread(side.sampling[1:]),
                f"{1000 * (spread(side.cpu[1:]).median - spread(side.sampling[1:]).median) / trials:.2f}",
            ]
        )
    out.add(f"{arms} arms, {WORKERS} workers, {given.rounds} rounds after one to warm up")
    out.add(
        table(["curves", "trials", "epochs", "seconds", "CPU seconds", "of these Optuna", "all else, ms a trial"], rows)
    )
    out.check([])
    if given.trials == 10_000:
        out.bars(*((BAR, found.spread(name).median) for name in sides))
    out.close()


if __name__ == "__main__":
    main()
