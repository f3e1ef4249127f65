"""Curves of a record, read for a simulation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import accumulate, chain
from typing import Any

import duckdb

from tune_qat.config import TrialConfig, UsageError
from tune_qat.config.statuses import COMPLETED, PRETRAIN, STOPPED, WITH_CURVE
from tune_qat.results.reader import check_files, read_rows, while_compacted
from tune_qat.results.views import connect, read_sql, vanished
from tune_qat.simulate.recorded_curves import Group, Key, Recorded, RecordedTrial, keys_of
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Arm, Study
from tune_qat.study.arms import variant_in
from tune_qat.study.starts import starts_of
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import DataDraws, Planner, RecordedData

Epochs = dict[str, list[tuple[float | None, float]]]
"""Metric of each epoch, and device seconds since the trial's start, by trial key."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Curves of a record, with counts of the trials that they come from."""

    curves: Recorded
    workers: int
    """Most trials that ran at once."""
    trials: int
    epochs: int
    stopped: int
    """Number of trials that ASHA stopped."""


def load(results: StoragePath, study: Study) -> Loaded:
    """Load the curves of a study's record that fit `study`.

    Raises:
        UsageError: an arm of the study has no recorded trial that fits it.
        TuneQatError: as `results.views.connect`.
    """
    recorded = {row["repeat"]: row for row in reversed(read_rows(results, "arms", study.name))}
    arm = recorded[min(recorded)]
    rows, epochs = while_compacted(partial(_read, results, study.name))
    used = [row for row in rows if row["status"] in WITH_CURVE and row["trial_key"] in epochs]
    made = (row for row in used if row["stage"] == PRETRAIN and row["status"] == COMPLETED)
    starts = [row for row in made if TrialConfig.of_record(row["trial_key"], row["params_json"]).worsening is None]
    of_repeat = {repeat: recorded.get(repeat, arm) for repeat in study.repeat_numbers}
    curves = Recorded(
        objective=Objective.of_record(arm),
        data=DataDraws.of_study(study, partial(_fingerprints, study, of_repeat)),
        starts=[of_repeat[start.repeats[0]]["init_checkpoint_sha256"] for start in starts_of(study)],
        groups={},
        pretrained={row["trial_key"]: _trial(row, epochs).curve for row in starts},
        costs=read_rows(results, "costs", study.name),
        stopped_early=arm["scheduler"] == "asha",
    )
    if study.training.init == "pretrain" and not curves.pretrained:
        raise UsageError(f"The record of study {study.name!r} does not have its pretrained start yet.")
    by_group = _fitting(study, curves, used, epochs)
    trials = list(chain.from_iterable(by_group.values()))
    return Loaded(
        curves=replace(curves, groups=_groups(study, by_group, curves.objective.sign)),
        workers=most_at_once((row["started_at"], row["finished_at"]) for row in rows),
        trials=len(trials),
        epochs=sum(len(trial.metrics) for trial in trials),
        stopped=sum(trial.status == STOPPED for trial in trials),
    )


def most_at_once(spans: Iterable[tuple[datetime | None, datetime | None]]) -> int:
    """Return the largest number of spans that overlap at one moment, at least 1."""
    steps = []
    for begin, end in spans:
        if begin is not None and end is not None:
            steps += [(begin, 1), (end, -1)]
    # At the same moment an end comes before a begin.
    return max(accumulate(change for _, change in sorted(steps)), default=1)


def _read(results: StoragePath, study_id: str) -> tuple[list[dict[str, Any]], Epochs]:
    """Read the study's trials and their epochs; raise FileNotFoundError if a file was compacted away meanwhile."""
    try:
        return _ask(results, study_id)
    except duckdb.Error as error:
        if vanished(error):
            raise FileNotFoundError(str(error)) from error
        # Raises an error that names a damaged file.
        check_files(results)
        raise


def _ask(results: StoragePath, study_id: str) -> tuple[list[dict[str, Any]], Epochs]:
    with connect(results) as connection:
        found = connection.execute(read_sql(__file__, "trials"), [study_id])
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
        epochs: Epochs = {}
        question = "SELECT trial_key, val_metric, device_s FROM epochs WHERE study_id = ? ORDER BY trial_key, epoch"
        for key, metric, device_s in connection.execute(question, [study_id]).fetchall():
            epochs.setdefault(key, []).append((metric, device_s))
    return rows, epochs


def _fitting(
    study: Study, curves: Recorded, rows: Sequence[Mapping[str, Any]], epochs: Epochs
) -> dict[Key, list[RecordedTrial]]:
    """Return by group the trials that would be the same in today's study, whatever its ranges."""
    planners = {
        repeat: Planner(study=study, work=curves, init_sha256=curves.start_sha256(number))
        for number, start in enumerate(starts_of(study))
        for repeat in start.repeats
    }
    arms, trials = _arms_by_group(study), dict[Key, list[RecordedTrial]]()
    for row in rows:
        trial = _trial(row, epochs)
        key = trial.config.optimizer, trial.config.scheme, variant_in(row["arm_id"])
        alike = arms.get(key, ())
        if row["stage"] != PRETRAIN and any(planners[arm.repeat].same(arm, row) for arm in alike):
            trials.setdefault(key, []).append(trial)
    return trials


def _fingerprints(study: Study, arms: Mapping[int, Mapping[str, Any]], options: Mapping[str, Any]) -> RecordedData:
    """Return the recorded fingerprints of the data with these options."""
    row = next(row for repeat, row in arms.items() if study.data_options(repeat) == options)
    return RecordedData(data_fingerprint=row["data_fingerprint"], split_fingerprint=row["split_fingerprint"])


def _trial(row: Mapping[str, Any], epochs: Epochs) -> RecordedTrial:
    metrics, held = zip(*epochs[row["trial_key"]], strict=True)
    device_seconds = [max(0.0, now - before) for before, now in zip([0.0, *held], held, strict=False)]
    return RecordedTrial(
        trial_key=row["trial_key"],
        arm_id=row["arm_id"],
        stage=row["stage"],
        config=TrialConfig.of_record(row["trial_key"], row["params_json"]),
        status=row["status"],
        metrics=metrics,
        # On a CPU, device seconds are process time summed over threads.
        seconds=tuple(seconds / row["processors"] for seconds in device_seconds),
        device_seconds=tuple(device_seconds),
    )


def _arms_by_group(study: Study) -> dict[Key, list[Arm]]:
    """Map each group to the arms whose trials are in it, one for each repeat."""
    found: dict[Key, list[Arm]] = {}
    for arm in study.arms():
        for key in keys_of(arm):
            found.setdefault(key, []).append(arm)
    return found


def _groups(study: Study, trials: Mapping[Key, Sequence[RecordedTrial]], sign: int) -> dict[Key, Group]:
    """Make the groups of trials; raise `UsageError` that names the arms without any."""
    needed = _arms_by_group(study)
    missing = list(dict.fromkeys(arms[0].arm_id for key, arms in needed.items() if not _lending(key, arms[0], trials)))
    if missing:
        some = "no trial with a curve" if not trials else f"no trial with a curve of {', '.join(missing)}"
        raise UsageError(
            f"The record of study {study.name!r} has {some} that would be the same trial in the study as it is "
            "simulated. --set may change stages, search, asha, ranges and the seed; with other training, quantization "
            "or fixed options it would be another trial, whose curve is not known. A study that is not complete may "
            "not have come to an arm yet."
        )
    return {key: _group(study, key, arms[0], trials, sign) for key, arms in needed.items()}


def _group(study: Study, key: Key, arm: Arm, trials: Mapping[Key, Sequence[RecordedTrial]], sign: int) -> Group:
    """Make a group of trials of its own, or of borrowed ones, which are placed by what all optimizers search."""
    lent = _lending(key, arm, trials)
    spaces = {one: study.dimensions(one, level=arm.step_optimizer) for one in {key[0], *(one for one, _, _ in lent)}}
    if len(spaces) > 1:
        common = set.intersection(*(set(space) for space in spaces.values()))
        spaces = {one: {name: space[name] for name in space if name in common} for one, space in spaces.items()}
    found = [trial for one in lent for trial in trials[one]]
    return Group(found, spaces, sign, borrowed=lent != [key])


def _lending(key: Key, arm: Arm, trials: Mapping[Key, Sequence[RecordedTrial]]) -> list[Key]:
    """Return the groups that a group takes its trials from: itself, or in a search over bits the nearest in bits.

    What the bits of a model cost it, another optimizer shows better than other bits do.
    """
    if key in trials or not arm.searches_bits:
        return [key] if key in trials else []
    optimizer, scheme, _ = key
    known = [one for one in keys_of(arm) if one in trials]

    def away(one: Key) -> tuple[int, bool]:
        bits = abs(one[1].weight_bits - scheme.weight_bits) + abs(one[1].activation_bits - scheme.activation_bits)
        return bits, one[0] != optimizer

    nearest = min(map(away, known), default=None)
    return [one for one in known if away(one) == nearest]
