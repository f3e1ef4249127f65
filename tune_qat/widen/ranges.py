"""A study with wider ranges: derived from best values near an edge, or given by the user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import ValidationError

import analysis
from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.results.origin import refuse_imported
from tune_qat.results.places import with_places
from tune_qat.results.views import read_sql
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Arm, Study
from tune_qat.study.arms import OWN
from tune_qat.study.file import recorded_values
from tune_qat.study.search_sections import BatchSizes
from tune_qat.study.space import BATCH_SIZE, BITS_INDEX, MULTIPLIER, RATE, STEP_RATE
from tune_qat.widen.edges import calling, recorded_studies, reserves
from tune_qat.widen.notes import kept, moves
from tune_qat.widen.trials import planned, recorded

Span = tuple[float, float]
OF_THE_STUDY = {BATCH_SIZE, BITS_INDEX, MULTIPLIER}
"""Dimensions whose ranges do not belong to one optimizer."""
LARGEST_BATCH = 1_000_000
"""Largest batch size that a study file allows."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The wishes of the user; None where the edges in the record decide."""

    arms: Sequence[str] = ()
    """Ids of the arms whose edges count; empty for all."""
    learning_rate: Span | None = None
    batch_size: Span | None = None
    trials: int | None = None
    """Number of search trials of an arm in the wider study."""


@dataclass(frozen=True, kw_only=True)
class Widened:
    """A wider study, its file's values, and notes on the changes."""

    study: Study
    values: Mapping[str, Any]
    """Values of its file, without those equal to the default."""
    notes: Sequence[str]
    """Sentences on the moved ranges, and on their effect on recorded trials."""


def widen(results: StoragePath, name: str | None, wanted: Wanted) -> Widened:
    """Return the study as it was last run, with wider ranges and more search trials.

    The name stays, since trials only count in a study of their name. The ranges of the learning rate and of options
    belong to an optimizer, and so to all its arms; those of the batch size and the quantizers' learning rate belong to
    the study. The `default` stage keeps its batch size.

    If the number of search trials is not given, it grows with the searched area (log learning rate x powers of two x
    the axes of what else is searched), so that the new part gets as many trials for its size as the old one has,
    rounded up: the study begins with them. Arms have equal budgets, so the arm that grows most decides; in joint mode,
    the mean over the optimizers of an arm. The number of random trials does not grow.

    Raises:
        UsageError: several studies and no name, or one in several files; an unknown study or arm; ranges that do not
            move; a number of trials with which nothing new would be run; a study of another version.
        TuneQatError: the folder holds no record.
    """
    asked = analysis.answers(results)
    row = _one(recorded_studies(asked, name), name, results)
    refuse_imported(results, row.study_id, "widened")
    study, values = _as_last_run(with_places(results, row.study_id, row.definition_json))
    arms = _chosen(study, wanted.arms)
    edges = asked.frame("edge_of_range")
    edges = edges[(edges["study_id"] == row.shown) & edges["arm_id"].isin([arm.arm_id for arm in arms])]
    own = _of_optimizers(study, arms, edges, wanted.learning_rate)
    rates = _step_rates(arms, edges)
    sizes, clipped = _batch_sizes(study, edges, wanted.batch_size, _train_size(asked, study.name))
    if not own and not sizes and not rates:
        raise UsageError(_nothing_moves(study, wanted, clipped, edges))
    _set_ranges(values, own, rates)
    _set_sizes(values, study, sizes)
    wide = Study.model_validate(values)
    fit, lost = recorded(asked, study, wide)
    values["stages"]["search"] = planned(study, wide, wanted.trials, fit, lost)
    wide = Study.model_validate(values)
    return Widened(study=wide, values=values, notes=[*moves(study, wide), *clipped, *kept(study, wide, lost.total())])


def _one(studies: pd.DataFrame, name: str | None, results: StoragePath) -> Any:
    if len(studies) != 1:
        known = ", ".join(studies["study_id"]) or "none"
        if name is not None:
            raise UsageError(f"Study {name!r} lies in several files, each widened by itself (--study): {known}.")
        raise UsageError(f"{results} holds several studies ({known}). Say which: --study NAME.")
    return next(studies.itertuples())


def _as_last_run(definition_json: str) -> tuple[Study, dict[str, Any]]:
    """Return the study, and its values without those equal to the default."""
    values = recorded_values(definition_json)
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"The study in the record is not one of this version of tune-qat ({where} {first['msg']}). "
            "Use the version that ran it, or edit its study file by hand."
        ) from None
    plain = study.model_dump(exclude_defaults=True)
    return study, {"name": plain.pop("name"), **plain}


def _chosen(study: Study, names: Sequence[str]) -> list[Arm]:
    arms = {arm.arm_id: arm for arm in study.arms()}
    for name in names:
        if name not in arms:
            hint = did_you_mean(name, arms)
            raise UsageError(f"Study {study.name!r} has no arm {name!r} (--arm).{hint} Its arms: {', '.join(arms)}.")
    return [arm for arm in arms.values() if not names or arm.arm_id in names]


def _of_optimizers(
    study: Study, arms: Sequence[Arm], edges: pd.DataFrame, rate: Span | None
) -> dict[str, dict[str, Span]]:
    """Return the ranges that move, by optimizer; one that finds its own rate gets no given `rate`."""
    old = {o: study.dimensions(o) for o in dict.fromkeys(name for arm in arms for name in arm.optimizers)}
    if rate is not None and not any(RATE in ranges for ranges in old.values()):
        raise UsageError(f"--learning-rate: {', '.join(old)} is searched without a learning rate.")
    moved: dict[str, dict[str, Span]] = {}
    for optimizer, ranges in old.items():
        for name in ranges.keys() - OF_THE_STUDY:
            rows = edges[(edges["optimizer"] == optimizer) & (edges["dimension"] == name)]
            new = (rate if name == RATE else None) or _widest(rows)
            if new is not None and new != (ranges[name].low, ranges[name].high):
                moved.setdefault(optimizer, {})[name] = new
    return moved


def _step_rates(arms: Sequence[Arm], edges: pd.DataFrame) -> dict[str, Span]:
    """Return the ranges of the quantizers' rates that move, by who moves the quantizers."""
    found = {}
    for level in dict.fromkeys(arm.step_optimizer for arm in arms):
        ids = [arm.arm_id for arm in arms if arm.step_optimizer == level]
        new = _widest(edges[edges["arm_id"].isin(ids) & edges["dimension"].isin([MULTIPLIER, STEP_RATE])])
        if new is not None:
            found[level] = new
    return found


def _batch_sizes(
    study: Study, edges: pd.DataFrame, given: Span | None, train_size: int
) -> tuple[tuple[int, int] | None, Sequence[str]]:
    """Return the new range (None if it does not move), and a note if the data is too small for all of it."""
    old = study.space.batch_size
    new = given or _widest(edges[edges["dimension"] == BATCH_SIZE])
    if new is None:
        return None, []
    most = 2 ** (min(train_size, LARGEST_BATCH).bit_length() - 1)
    if new[0] > most:
        raise UsageError(f"--batch-size: an epoch has {train_size} samples, which does not fill a batch of {new[0]:g}.")
    said = [f"Batch sizes end at {most}: the training split has {train_size} samples."] if new[1] > most else []
    low, high = int(new[0]), int(min(new[1], most))
    return (None if (low, high) == (old.low, old.high) else (low, high)), said


def _widest(edges: pd.DataFrame) -> Span | None:
    """Return a range wide enough for all of these rows; None if none of them calls for one."""
    if not calling(edges).any():
        return None
    # Six digits: in floats, a tenth of 1e-5 is a little more than 1e-6.
    return float(f"{edges['wide_low'].min():.6g}"), float(f"{edges['wide_high'].max():.6g}")


def _train_size(asked: analysis.Answers, study: str) -> int:
    """Return the number of samples in an epoch, which for super-resolution are patches."""
    found = asked.frame(read_sql(__file__, "epoch_samples"))
    return int(found[found["study_id"] == study]["n"].max())


def _nothing_moves(study: Study, wanted: Wanted, clipped: Sequence[str], edges: pd.DataFrame) -> str:
    of = f" of {', '.join(wanted.arms)}" if wanted.arms else ""
    if wanted.learning_rate or wanted.batch_size:
        why = f"These are the ranges that study {study.name!r} has already."
    else:
        why = f"Study {study.name!r}: no best value{of} lies near an edge of its range. See `tune-qat edges`."
        clipped = [*clipped, *reserves(edges)]
    return " ".join(
        [why, *clipped, "Other ranges: --learning-rate LOW:HIGH, --batch-size LOW:HIGH. More trials: tune-qat run."]
    )


def _set_ranges(values: dict[str, Any], own: Mapping[str, Mapping[str, Span]], rates: Mapping[str, Span]) -> None:
    """Write new ranges into the values of a study file: those of optimizers, and those of the quantizers' rates."""
    space = values["space"]
    for optimizer, ranges in own.items():
        written = space.setdefault("per_optimizer", {}).setdefault(optimizer, {})
        written.update({name: {"low": low, "high": high} for name, (low, high) in sorted(ranges.items())})
    for level, (low, high) in rates.items():
        # Arms in which quantizers share the weights' optimizer and rate search a multiple of it by another key, if any.
        place, key = (space, MULTIPLIER) if level == OWN else (space.setdefault("step_rates", {}), level)
        place[key] = {"low": low, "high": high}


def _set_sizes(values: dict[str, Any], study: Study, sizes: tuple[int, int] | None) -> None:
    """Write a new range of batch sizes into the values of a study file."""
    if sizes is None:
        return
    low, high = sizes
    values["space"][BATCH_SIZE] = {"low": low, "high": high}
    # Keep the default batch size, and so the default trials, if it is in the new range.
    before = study.space.batch_size.middle
    if low <= before <= high and BatchSizes(low=low, high=high).middle != before:
        values["space"][BATCH_SIZE]["default"] = before
