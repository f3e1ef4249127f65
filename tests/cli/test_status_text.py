"""How far a study is, from its files."""

import json
import os
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

import analysis
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write
from tune_qat.cli.status_text import describe
from tune_qat.config import TuneQatError
from tune_qat.results import claim
from tune_qat.results.claim import claimed
from tune_qat.storage.paths import write_whole


def study_row(results: Path, name: str, *, complete: bool = False) -> None:
    write(results, name, "studies", "study", filled("studies", complete=complete))


def line_of(text: str, arm_id: str) -> dict[str, str]:
    """The arm's line by column."""
    header = next(line for line in text.splitlines() if line.lstrip().startswith("arm_id")).split()
    return dict(zip(header, next(line for line in text.splitlines() if arm_id in line).split(), strict=True))


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    study_row(tmp_path, "s")
    return SmallStudy(tmp_path, "s")


def test_every_trial_is_counted_once_where_it_belongs(study: SmallStudy) -> None:
    arm = study.arm("adam")  # plans 1 default, 2 random, 6 search, 3 retrain
    study.trial(arm, "default", val_metric=0.5)
    for status in ("completed", "stopped", "diverged", "oom", "running", "interrupted"):
        study.trial(arm, "search", status, val_metric=0.6 if status in ("completed", "stopped") else None)
    with claimed(study.results, "s", "run"):
        shown = line_of(describe(study.results), arm)
    assert shown == {
        "arm_id": arm,
        "done": "5",
        "running": "1",
        "interrupted": "1",
        "left": "6",  # 2 random, the interrupted search, 3 retrain
        "stopped_early": "1",
        "diverged": "1",
        "failed": "1",
        "best_val": "0.6",
    }


LOST = {"a driver of this machine": "this machine", "a driver elsewhere": "elsewhere", "no claim": None}


@pytest.mark.parametrize("kind", LOST)
def test_no_trial_runs_of_a_study_that_no_process_runs(study: SmallStudy, kind: str) -> None:
    """A cluster's head that is lost, or a driver that is killed, leaves rows with `running` until the next run."""
    arm = study.arm("adam")
    study.trial(arm, "search", "running")
    study.trial(arm, "pretrain", "running")
    if LOST[kind]:
        ended = replace(claim._ourselves(), process="an earlier start", pid=os.getppid(), holding=True)
        if LOST[kind] == "elsewhere":
            ended = replace(ended, machine="elsewhere")
        path = study.results / "claims" / "run" / "study_id=s" / "0.json"
        write_whole(path, json.dumps(asdict(ended)).encode())
    shown = describe(study.results)
    line = line_of(shown, arm)
    if LOST[kind] == "elsewhere":
        assert (line["running"], line["interrupted"], line["left"]) == ("1", "0", "11")
        assert f"process {os.getppid()} on another machine, or in another container, since" in shown
        assert "may run it: whether that is alive cannot be seen from here" in shown
    else:
        assert (line["running"], line["interrupted"], line["left"]) == ("0", "1", "12")
        assert "pretrained start: interrupted" in shown and "may run it" not in shown


def test_a_file_among_the_claims_that_is_none_hides_no_status(study: SmallStudy) -> None:
    arm = study.arm("adam")
    write_whole(study.results / "claims" / "run" / "study_id=s" / "0.json", b"{}")
    assert line_of(describe(study.results), arm)["left"] == "12"


def test_an_arm_without_trials_has_all_left(study: SmallStudy) -> None:
    arm = study.arm("adam")
    line = line_of(describe(study.results), arm)
    assert (line["done"], line["left"], line["best_val"]) == ("0", "12", "-")


def test_more_than_planned_in_one_stage_does_not_hide_what_another_lacks(study: SmallStudy) -> None:
    arm = study.arm("adam")
    for _ in range(9):
        study.trial(arm, "search", val_metric=0.5)
    line = line_of(describe(study.results), arm)
    assert (line["done"], line["left"]) == ("9", "6")


def test_the_best_is_the_smallest_where_less_is_better(tmp_path: Path) -> None:
    study_row(tmp_path, "s")
    study = SmallStudy(tmp_path, "s", sign=-1)
    arm = study.arm("adam")
    for metric in (0.3, 0.2, 0.4):
        study.trial(arm, "search", val_metric=metric)
    study.trial(arm, "search", "stopped", val_metric=0.1)
    study.trial(arm, "retrain", val_metric=0.05)
    assert line_of(describe(study.results), arm)["best_val"] == "0.2"


def test_trials_of_an_earlier_version_of_the_file_do_not_count(study: SmallStudy) -> None:
    arm = study.arm("adam")
    study.trial(arm, "default", epochs=3)
    study.trial(arm, "retrain", config_id="earlier")
    assert line_of(describe(study.results), arm)["done"] == "0"


def test_each_study_says_whether_it_is_complete_and_how_it_starts(tmp_path: Path) -> None:
    for name, complete in (("2026", True), ("other", False)):
        study_row(tmp_path, name, complete=complete)
        study = SmallStudy(tmp_path, name)
        study.arm("adam")
    study.trial("adam-w4a4", "pretrain", "running")
    with claimed(tmp_path, "other", "run"):
        text = describe(tmp_path)
    assert "study 2026: complete\n" in text
    assert "study other: not complete; the same `tune-qat run` continues it; pretrained start: running\n" in text


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(TuneQatError, match=f"{tmp_path}/none does not exist") as raised:
        describe(tmp_path / "none")
    assert raised.value.exit_code == 1
    with pytest.raises(TuneQatError, match=f"{tmp_path} holds no record"):
        describe(tmp_path)


def test_of_a_complete_study_nothing_is_left_also_where_nothing_was_trained_again(tmp_path: Path) -> None:
    study_row(tmp_path, "s", complete=True)
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam", planned_default=1, planned_random=0, planned_search=0)
    study.trial(arm, "default", "diverged")
    assert line_of(describe(tmp_path), arm)["left"] == "0"
    study_row(tmp_path, "s")
    assert line_of(describe(tmp_path), arm)["left"] == "3"


@pytest.mark.parametrize(
    ("asked", "points", "ended", "said"),
    [
        ({"random": 0, "search": 8}, 3, 3, "the space of prodigy-w4a4 has 3 points, all used"),
        ({"random": 0, "search": 8}, 3, 2, "the space of prodigy-w4a4 has 3 points, 2 used"),
        ({"random": 0, "search": 8}, 1, 1, "the space of prodigy-w4a4 has 1 point, all used"),
        ({"random": 4, "search": 8}, 3, 3, "the space of prodigy-w4a4 has 3 points, 0 used"),  # at random, none
        ({"random": 0, "search": 3}, 3, 3, None),
        ({"random": 0, "search": 8}, None, 3, None),
    ],
)
def test_a_space_with_few_points_is_said_to_be_used_up(
    tmp_path: Path, asked: dict[str, int], points: int | None, ended: int, said: str | None
) -> None:
    definition = json.dumps({"stages": asked})
    write(tmp_path, "s", "studies", "study", filled("studies", complete=True, definition_json=definition))
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("prodigy", space_points=points)
    study.arm("adam")
    for _ in range(ended):
        study.trial(arm, "search", val_metric=0.5)
    text = describe(tmp_path)
    assert [line for line in text.splitlines() if line.startswith("the space")] == ([said] if said else [])


def test_replaced_trials_are_counted_apart(study: SmallStudy) -> None:
    arm = study.arm("adam")
    study.retrain(arm, 0.8, 0.9)
    assert "replaced" not in describe(study.results)
    study.retrain(arm, 0.7, config_id="replaced")
    text = describe(study.results)
    assert line_of(text, arm)["done"] == "2"
    assert text.endswith(
        "1 trial more has ended, which is of a version of the study or a configuration that was replaced since"
    )


def test_each_start_of_repeats_is_counted_once(study: SmallStudy) -> None:
    arm = study.arm("adam")
    for number, status in ((0, "completed"), (1, "completed"), (1, "error"), (2, "running")):
        started = datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=status == "error")
        study.trial(arm, "pretrain", status, trial_number=number, started_at=started)
    with claimed(study.results, "s", "run"):
        assert "; pretrained starts: 2 completed, 1 running" in describe(study.results)


def test_a_file_that_a_running_study_replaces_meanwhile_is_read_again(
    study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.arm("adam")
    opened, errors = analysis.open, [duckdb.Error("TProtocolException: Invalid data")]

    def open_once_too_early(results: Path) -> duckdb.DuckDBPyConnection:
        if errors:
            raise errors.pop()  # what DuckDB says of a file whose parts are not where they were
        return opened(results)

    monkeypatch.setattr(analysis, "open", open_once_too_early)
    assert "study s: " in describe(study.results) and not errors
