"""What a study keeps of its begin: the first rung, where a default has set it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.records import record_of
from tests.helpers.rows import filled, write
from tests.helpers.studies import tiny_study
from tests.tuning.test_rung_check import Bench
from tests.tuning.test_rung_check import study as checked
from tune_qat.study import Study
from tune_qat.study.begun import Begun
from tune_qat.tuning.begun import as_begun, kept


def study(**changes: Any) -> Study:
    """Nine epochs behind a trained start: half of them, where the file names no first rung."""
    return tiny_study(**{"training": {"epochs": 9}, "asha": {}, **changes})


def recorded(results: Path, before: Study, **arms: Any) -> None:
    values = {"scheduler": "asha", "max_epochs": 9, "init": "pretrain", "grace_epochs": 1, **arms}
    record_of(before, results, **values)


def test_a_new_study_has_todays_default(tmp_path: Path) -> None:
    found = as_begun(study(), tmp_path)
    assert found == study() and found.first_rung == 5 and kept(found) == []


def test_one_begun_with_an_earlier_default_keeps_it_and_says_so(tmp_path: Path) -> None:
    recorded(tmp_path, study())
    found = as_begun(study(), tmp_path)
    assert found.rungs == (1, 3)
    assert kept(found) == [
        "ASHA's first rung stays at epoch 1 of 9, as this study began; without a record it would be epoch 5. "
        "asha.grace_epochs names another."
    ]
    assert as_begun(found, tmp_path).rungs == (1, 3), "and again, after it has gone on"


@pytest.mark.parametrize(
    ("today", "arms", "rung"),
    [
        ({"asha": {"grace_epochs": 3}}, {}, 3),  # the file decides
        ({"asha": {"enabled": False}}, {}, 5),
        ({}, {"scheduler": "none"}, 5),  # nothing was stopped
        ({}, {"max_epochs": 27, "grace_epochs": 3}, 5),  # trials of another length, none of which counts
        ({}, {"init": "scratch"}, 5),
        ({}, {"grace_epochs": 5}, 5),
        ({"training": {"epochs": 9, "init": "scratch"}}, {"init": "scratch"}, 1),
    ],
)
def test_otherwise_it_has_todays(tmp_path: Path, today: dict[str, Any], arms: dict[str, Any], rung: int) -> None:
    recorded(tmp_path, study(), **arms)
    found = as_begun(study(**today), tmp_path)
    assert found.first_rung == rung and found.begun.first_rung is None and kept(found) == []


def test_a_rung_that_the_file_named_and_does_not_name_any_more_is_gone(tmp_path: Path) -> None:
    recorded(tmp_path, study(asha={"grace_epochs": 1}))
    assert as_begun(study(), tmp_path).first_rung == 5


class TestARungThatTheFileNamed:
    """Under an earlier version nobody checked it: the study goes on with it, as it began."""

    def test_is_known_from_a_record_without_versions(self, tmp_path: Path) -> None:
        early = study(asha={"grace_epochs": 1})
        recorded(tmp_path, early)
        found = as_begun(early, tmp_path)
        assert found.begun.unchecked_rung and found.first_rung == 1 and found.begun.first_rung is None

    @pytest.mark.parametrize("today", [{"asha": {"grace_epochs": 2}}, {"training": {"epochs": 27}}])
    def test_another_one_is_checked(self, tmp_path: Path, today: dict[str, Any]) -> None:
        recorded(tmp_path, study(asha={"grace_epochs": 1}))
        assert not as_begun(study(**{"asha": {"grace_epochs": 1}, **today}), tmp_path).begun.unchecked_rung

    @pytest.mark.parametrize(("begun", "known"), [(None, True), ("2026-11-30T00:00:00+00:00", False)])
    def test_stays_known_when_versions_are_kept(self, tmp_path: Path, begun: str | None, known: bool) -> None:
        """The version of before is the first one then, without a date; one with a date ran under the check."""
        early = study(asha={"grace_epochs": 1})
        recorded(tmp_path, early)
        definition = early.model_dump(mode="json")
        versions = [{"first_run_at": begun, "definition": definition}, {"first_run_at": "x", "definition": definition}]
        row = {"definition_json": early.model_dump_json(), "versions_json": json.dumps(versions)}
        write(tmp_path, early.name, "studies", "study", filled("studies", **row))
        assert as_begun(early, tmp_path).begun.unchecked_rung is known

    def test_is_warned_of_where_the_random_trials_refute_it(self) -> None:
        bench = Bench(checked().going_on(Begun(unchecked_rung=True)))
        bench.until_random()
        bench.end_all()
        assert bench.start() == ["search"] * 10 and not bench.errors
        assert "loses the best trials" in bench.said[0] and bench.said[0].endswith("goes on with it, as it began so.")
