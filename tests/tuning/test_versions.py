"""Versions of a study that ran: hashes, dates, and what had been seen by then."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.report.versions import versions
from tests.helpers.rows import filled, write
from tests.helpers.studies import tiny_study
from tests.project.planted import places_in, record
from tune_qat.results.places import keep_places, with_places
from tune_qat.results.reader import read_rows
from tune_qat.storage.retry import at_once
from tune_qat.study import Study
from tune_qat.tuning.record import Record
from tune_qat.tuning.versions import file_hash, versions_of

DAYS = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
MORE_SEEDS: dict[str, Any] = {"stages": {"default": True, "random": 1, "search": 3, "retrain": 4}}


def begin(results: Path, study: Study, day: datetime, *, complete: bool = False) -> list[dict[str, Any]]:
    """What a run of the study writes when it begins and when it ends; the versions that are in the record then."""
    works: Any = None
    record = Record(results=results, study=study, works=works, sign=1)
    for done in (False, complete):
        record.study_row(started_at=day, seconds=1.0, complete=done, command=None)
    (row,) = read_rows(results, "studies", study.name)
    assert row["file_hash"] == file_hash(study) and row["prereg_hash"] == study.prereg_hash
    found: list[dict[str, Any]] = json.loads(row["versions_json"])
    return found


def ended(results: Path, key: str, stage: str, **values: Any) -> None:
    row = {"trial_key": key, "stage": stage, "arm_id": "a", "status": "completed", "test_metric": None}
    write(results, "tiny", "trials", key, filled("trials", **{**row, **values}))


def seen(version: dict[str, Any]) -> list[Any]:
    return [version["first_run_at"], version["trials_ended"], version["retrain_ended"]]


def test_each_file_that_ran_stays_with_what_had_been_seen_by_then(tmp_path: Path) -> None:
    first, second = tiny_study(), tiny_study(**MORE_SEEDS)
    assert [seen(one) for one in begin(tmp_path, first, DAYS[0])] == [[DAYS[0].isoformat(), 0, 0]]
    ended(tmp_path, "t1", "search")
    ended(tmp_path, "t2", "search", status="running")
    ended(tmp_path, "t3", "retrain", test_metric=0.9)
    # The same file again adds nothing, however often it runs.
    assert len(begin(tmp_path, first, DAYS[1], complete=True)) == 1
    found = begin(tmp_path, second, DAYS[2])
    assert [seen(one) for one in found] == [[DAYS[0].isoformat(), 0, 0], [DAYS[2].isoformat(), 2, 1]]
    assert [one["file_hash"] for one in found] == [file_hash(first), file_hash(second)]
    assert Study.model_validate(found[0]["definition"]) == first
    # Back to the first file is a version as well.
    assert len(begin(tmp_path, first, DAYS[3])) == 3


def test_an_older_record_keeps_its_file_and_says_that_more_is_not_known(tmp_path: Path) -> None:
    older, newer = tiny_study(), tiny_study(**MORE_SEEDS)
    row = {"definition_json": older.model_dump_json(), "prereg_hash": older.prereg_hash}
    write(tmp_path, "tiny", "studies", "study", filled("studies", **row))
    assert versions_of(older, tmp_path, DAYS[0], at_once) == [
        {
            **{"file_hash": file_hash(older), "prereg_hash": older.prereg_hash, "first_run_at": None},
            **{"trials_ended": None, "retrain_ended": None, "definition": json.loads(older.model_dump_json())},
        }
    ]
    ended(tmp_path, "t1", "retrain", test_metric=0.9)
    found = begin(tmp_path, newer, DAYS[1])
    assert [seen(one) for one in found] == [[None, None, None], [DAYS[1].isoformat(), 1, 1]]


def test_an_older_record_of_other_rules_has_no_hash(tmp_path: Path) -> None:
    write(tmp_path, "tiny", "studies", "study", filled("studies", definition_json='{"name": "tiny"}', prereg_hash="p"))
    first, last = versions_of(tiny_study(), tmp_path, DAYS[0], at_once)
    assert (first["file_hash"], first["prereg_hash"], first["definition"]) == (None, "p", {"name": "tiny"})
    assert last["file_hash"] == file_hash(tiny_study())


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"data_dir": "/data"}, True),
        ({"logging": {"tensorboard": "/log"}}, True),
        ({"seed": 0}, True),
        ({"seed": 1}, False),
        ({"note": "cut"}, False),
        (MORE_SEEDS, False),
        ({"judgement": {"metric": "accuracy", "margin": 0.02}}, False),
    ],
)
def test_the_hash_is_of_the_file_but_for_the_places_of_data_and_logs(changes: dict[str, Any], same: bool) -> None:
    assert (file_hash(tiny_study(**changes)) == file_hash(tiny_study())) == same


def test_the_page_names_what_each_version_changed(tmp_path: Path) -> None:
    begin(tmp_path, tiny_study(), DAYS[0])
    ended(tmp_path, "t1", "retrain", test_metric=0.9)
    found = versions(json.dumps(begin(tmp_path, tiny_study(**MORE_SEEDS), DAYS[1])))
    assert [row[0] for row in found] == ["2026-01-01 00:00 UTC", "2026-01-02 00:00 UTC"]
    assert [row[3:] for row in found] == [["0", "0", "–"], ["1", "1", "stages.retrain 2, now 4"]]
    assert versions(None) == [] and versions(float("nan")) == []


def test_the_record_of_a_study_names_no_place_and_whoever_ran_it_finds_them(tmp_path: Path) -> None:
    """Its private folder is none of git's, so that a record in a repository is published without it."""
    results, data, start = tmp_path / "results", tmp_path / "alice" / "my data", tmp_path / "alice" / "start.pt"
    values = {"training": {"epochs": 3, "init": "path", "init_path": str(start)}, "pretrain": None}
    log = tmp_path / "alice" / "log"
    study = tiny_study(data_dir=str(data), logging={"tensorboard": str(log)}, **values)
    begin(results, study, DAYS[0])
    begin(results, study.model_copy(update={"note": f"see {data}"}), DAYS[1])
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    listed = ["git", "-C", str(tmp_path), "ls-files", "--others", "--exclude-standard"]
    seen = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    assert seen == ["results/studies/study_id=tiny/study.parquet"]
    assert places_in(record(results), tmp_path, Path("alice")) == []
    (row,) = read_rows(results, "studies", "tiny")
    assert json.loads(row["definition_json"])["training"]["init_path"] == ".../start.pt"
    assert json.loads(row["definition_json"])["logging"] == {"tensorboard": ".../log"}
    whole = json.loads(with_places(results, "tiny", row["definition_json"]))
    assert (whole["data_dir"], whole["training"]["init_path"]) == (str(data), str(start))
    assert whole["logging"]["tensorboard"] == str(log)
    assert len(begin(results, study, DAYS[2])) == 3, "what is compared is the file, not what is shown of it"
    # Whoever has the published record alone has what it says.
    shutil.rmtree(results / "private")
    assert json.loads(with_places(results, "tiny", row["definition_json"])) == json.loads(row["definition_json"])


def test_a_place_that_was_changed_since_is_not_the_kept_one(tmp_path: Path) -> None:
    keep_places(tmp_path, "s", {"data_dir": "/srv/old"})
    assert json.loads(with_places(tmp_path, "s", '{"data_dir": ".../new"}')) == {"data_dir": ".../new"}
    assert json.loads(with_places(tmp_path, "s", '{"data_dir": ".../old"}')) == {"data_dir": "/srv/old"}
    for broken in (b"", b"[]", b"\xff", b'{"data_dir": 1}'):
        (tmp_path / "private" / "study_id=s.json").write_bytes(broken)
        assert json.loads(with_places(tmp_path, "s", '{"data_dir": ".../old"}')) == {"data_dir": ".../old"}


def test_a_study_without_such_places_keeps_nothing_beside_its_record(tmp_path: Path) -> None:
    begin(tmp_path, tiny_study(data_dir="data"), DAYS[0])
    assert [path.name for path in tmp_path.iterdir()] == ["studies"]
