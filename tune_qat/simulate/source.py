"""Source of a simulation: a record, or a study file with curves of a formula."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.results.origin import refuse_imported
from tune_qat.results.reader import read_rows
from tune_qat.simulate import formula as closed_form
from tune_qat.simulate.curves import Curves
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.load import Loaded, load
from tune_qat.storage.paths import StoragePath, storage_path
from tune_qat.study import Study
from tune_qat.study.file import bundled, is_study, recorded_study
from tune_qat.study.mixed import budgets_of
from tune_qat.tuning.begun import over
from tune_qat.tuning.own_code import planned_with

WORKERS = 2
"""Trials at once in a study without a record."""
SEARCHED = (
    'A study that searches bits of layers (quantization.mixed, by = "search") cannot be simulated: no curve is known '
    'of bits that were not trained. Simulate it with by = "hessian", or without quantization.mixed.'
)
STAND_IN = "[stand-in, no measurement] "


@dataclass(frozen=True, kw_only=True)
class Source:
    """Study with the curves to simulate it."""

    study: Study
    curves: Curves
    record: Loaded | None
    """Record of the curves; None if they are a formula's."""
    where: str

    @property
    def label(self) -> str:
        """Label of every block of the report; empty for a record."""
        return "" if self.record else STAND_IN

    @property
    def workers(self) -> int:
        """Default number of trials at once."""
        return self.record.workers if self.record else WORKERS

    @property
    def margin(self) -> float:
        """Difference that does not matter, in the metric's unit."""
        return self.study.judgement.margin if self.record else closed_form.MARGIN


def find(source: str, study_id: str | None, overrides: Mapping[str, Any]) -> Source:
    """Find a results folder that holds a record, or else a study file.

    Raises:
        UsageError: neither or both; several studies in the record and none named; invalid `overrides`.
    """
    results = storage_path(source)
    rows = {row["study_id"]: row for row in read_rows(results, "studies")}
    if rows and is_study(source):
        raise UsageError(f"{source!r} is a bundled study and a results folder. Name the folder as ./{source}.")
    if rows:
        return _record(results, rows, study_id, overrides)
    if not is_study(source):
        hint = did_you_mean(source, bundled())
        raise UsageError(
            f"{source!r} is neither a results folder that holds a record, nor a bundled study, nor a TOML file.{hint}"
        )
    if study_id is not None:
        raise UsageError(f"--study {study_id} chooses a study of a record, but {source!r} is a study file.")
    study = with_layers(without_controls(Study.load(source, overrides)))
    return Source(study=study, curves=ClosedForm.of(study), record=None, where=source)


def without_controls(study: Study) -> Study:
    """Return a study without its worsened controls and calibrated models: no curve says what these are."""
    stages = study.stages.model_copy(update={"calibrated": False})
    return study.model_copy(update={"controls": [], "stages": stages})


def with_layers(study: Study) -> Study:
    """Return a study whose mixed schemes have the bits of a layer that stands for all: a formula knows no layers."""
    part = study.quantization
    if part.mixed is None:
        return study
    if part.mixed.by == "search":
        raise UsageError(SEARCHED)
    bits = {name: {f"layers of {name}": part.mixed.candidates[0]} for name in budgets_of(part.mixed)}
    return study.going_on(replace(study.begun, mixed=bits))


def _record(
    results: StoragePath, rows: Mapping[str, Any], study_id: str | None, overrides: Mapping[str, Any]
) -> Source:
    if study_id is None and len(rows) > 1:
        raise UsageError(f"{results} holds several studies: name one with --study, of {', '.join(sorted(rows))}.")
    name = study_id or next(iter(rows))
    if name not in rows:
        parts = sorted(row["study_id"] for row in read_rows(results, "arms", columns=["whole"]) if row["whole"] == name)
        if parts:
            files = ", ".join(dict.fromkeys(parts))
            raise UsageError(f"{name!r} is a whole study, and a file of it is simulated by itself (--study): {files}.")
        raise UsageError(
            f"{results} holds no study {name!r}.{did_you_mean(name, rows)} It has {', '.join(sorted(rows))}."
        )
    refuse_imported(results, name, "simulated")
    if "name" in overrides:
        raise UsageError("--set name: the name is that of the recorded study.")
    study = recorded_study(Study, rows[name]["definition_json"], overrides, f"study {name} in {results}")
    study = without_controls(over(study, [rows[name]], read_rows(results, "arms", name)))
    if study.quantization.mixed is not None and study.quantization.mixed.by == "search":
        raise UsageError(SEARCHED)
    study, _ = planned_with(study, results, accept=False)
    record = load(results, study)
    return Source(study=study, curves=record.curves, record=record, where=str(results))
