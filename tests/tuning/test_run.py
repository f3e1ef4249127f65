"""Real studies on a Ray cluster of two CPUs."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

import analysis
from tests.helpers.runs import assert_whole
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tune_qat.config import TrialConfig, UsageError
from tune_qat.results.layout import checkpoint_path, table_folder
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import StoragePath, remove_folder
from tune_qat.study import Study
from tune_qat.training.alone import train
from tune_qat.tuning.outcome import Outcome
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_cluster"), pytest.mark.xdist_group("run")]

PLANNED = {"pretrain": 1, "default": 4, "random": 4, "search": 12, "retrain": 8}


def stages(results: StoragePath) -> Counter[str]:
    return Counter(row["stage"] for row in read_rows(results, "trials"))


@pytest.fixture(scope="module")
def statuses() -> list[str]:
    """Of the trials of the finished study, in the record as it was when their checkpoints were removed."""
    return []


@pytest.fixture(scope="module")
def finished(
    shared_cluster: object, statuses: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Study, Path, Outcome]:
    results = tmp_path_factory.mktemp("study") / "results"

    def look(folder: StoragePath) -> None:
        row = next(row for row in read_rows(results, "trials") if row["trial_key"] == folder.name)
        statuses.append(row["status"])
        remove_folder(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tune_qat.tuning.record.remove_folder", look)
        return tiny_study(), results, run(tiny_study(), results=results)


def test_every_planned_trial_is_run_once_in_every_stage(finished: tuple[Study, Path, Outcome]) -> None:
    _, results, outcome = finished
    assert outcome.complete and outcome.stopped_by is None
    assert_whole(results, PLANNED)


def test_arms_have_equal_budgets_and_their_own_decisions(finished: tuple[Study, Path, Outcome]) -> None:
    study, results, _ = finished
    per_arm = Counter((row["arm_id"], row["stage"]) for row in read_rows(results, "trials"))
    assert {per_arm[arm.arm_id, "search"] for arm in study.arms()} == {3}
    decisions = read_rows(results, "decisions")
    searched = [row for row in read_rows(results, "trials") if row["stage"] == "search"]
    # One rung, at epoch 1: every trial is judged there, unless it has diverged by then.
    judged = {row["trial_key"] for row in searched if row["status"] != "diverged" or row["epochs_run"] > 1}
    assert {row["trial_key"] for row in decisions} == judged and len(decisions) == len(judged)
    stopped = {row["trial_key"] for row in decisions if row["action"] == "stop"}
    assert stopped == {row["trial_key"] for row in read_rows(results, "trials") if row["status"] == "stopped"}


def test_test_data_is_touched_in_retrain_only_and_by_all_of_it(finished: tuple[Study, Path, Outcome]) -> None:
    for row in read_rows(finished[1], "trials"):
        assert (row["test_metric"] is not None) == (row["stage"] == "retrain")
        assert row["test_n"] == (359 if row["stage"] == "retrain" else None)


def test_all_arms_start_from_the_same_pretrained_weights(finished: tuple[Study, Path, Outcome]) -> None:
    rows = read_rows(finished[1], "trials")
    start = next(row["checkpoint_sha256"] for row in rows if row["stage"] == "pretrain")
    assert {row["init_checkpoint_sha256"] for row in rows if row["stage"] != "pretrain"} == {start}


def test_checkpoints_are_kept_for_pretrain_and_retrain_only(finished: tuple[Study, Path, Outcome]) -> None:
    rows = read_rows(finished[1], "trials")
    kept = {row["trial_key"] for row in rows if row["stage"] in ("pretrain", "retrain")}
    assert {path.name for path in (finished[1] / "checkpoints" / "study_id=tiny").iterdir()} == kept


def test_a_trial_alone_gives_the_same_curve_as_inside_the_study(finished: tuple[Study, Path, Outcome]) -> None:
    _, results, _ = finished
    rows = read_rows(results, "trials")
    start = next(row["trial_key"] for row in rows if row["stage"] == "pretrain")
    for row in (
        next(row for row in rows if row["stage"] == "retrain" and row["weight_bits"] == bits) for bits in (4, 32)
    ):
        config = TrialConfig.from_dict(json.loads(row["params_json"]))
        alone = list(train(config, init=checkpoint_path(results, "tiny", start), test=True))
        inside = last_epochs(results, "tiny", row["trial_key"])
        for name in ("train_loss", "val_loss", "val_metric", "grad_norm", "test_metric"):
            # Bit for bit: same backend, thread count and versions.
            assert [getattr(result, name) for result in alone] == [epoch[name] for epoch in inside], name


def test_running_again_does_nothing(finished: tuple[Study, Path, Outcome]) -> None:
    study, results, _ = finished
    owned = [
        path for table in ("trials", "epochs", "layers", "decisions") for path in (results / table).rglob("*.parquet")
    ]
    before = {path: path.stat().st_mtime_ns for path in owned}
    assert run(study, results=results).complete
    assert {path: path.stat().st_mtime_ns for path in owned} == before


def test_layers_and_wandering_files(finished: tuple[Study, Path, Outcome]) -> None:
    results = finished[1]
    assert {path.name for path in results.iterdir()} == {
        "studies", "arms", "trials", "epochs", "layers", "decisions", "costs", "checkpoints"
    }  # fmt: skip
    quantized = {row["trial_key"] for row in read_rows(results, "trials") if row["weight_bits"] == 4}
    assert {row["trial_key"] for row in read_rows(results, "layers")} == quantized
    assert not list(results.rglob(".*"))


def test_the_leaderboard_has_every_arm_with_its_interval(finished: tuple[Study, Path, Outcome]) -> None:
    board = analysis.frame(finished[1], "leaderboard")
    assert len(board) == 4
    assert (board["n"] == 2).all()
    assert board["ci_low"].notna().all()


def test_a_driver_lost_while_it_ended_trials_is_made_up_for(
    finished: tuple[Study, Path, Outcome], tmp_path: Path
) -> None:
    """Between ASHA's decision and the trial's row, and between a row and what is done with the checkpoint."""
    study, results, _ = finished
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    rows = {row["trial_key"]: row for row in read_rows(copy, "trials")}
    stopped = next(key for key, row in rows.items() if row["status"] == "stopped")
    ended = next(key for key, row in rows.items() if row["stage"] == "default")
    as_started = {name: value for name, value in rows[stopped].items() if name != "study_id"}
    as_started |= {"status": "running", "stop_reason": None, "finished_at": None, "epochs_run": None, "rung": None}
    write_rows(table_folder(copy, "trials", "tiny") / f"{stopped}.parquet", "trials", [as_started])
    for key in (stopped, ended):
        checkpoint_path(copy, "tiny", key).parent.mkdir()
        checkpoint_path(copy, "tiny", key).write_bytes(b"never read")
    assert run(study, results=copy).complete
    after = {row["trial_key"]: row for row in read_rows(copy, "trials")}
    outcome = ("status", "stop_reason", "epochs_run", "rung", "val_metric", "n_restarts")
    assert [after[stopped][name] for name in outcome] == [rows[stopped][name] for name in outcome]
    assert {epoch["attempt"] for epoch in last_epochs(copy, "tiny", stopped)} == {1}, "it did not run again"
    assert not checkpoint_path(copy, "tiny", stopped).exists() and not checkpoint_path(copy, "tiny", ended).exists()
    assert after.keys() == rows.keys()


def test_a_trials_row_is_there_before_its_checkpoint_goes(
    finished: tuple[Study, Path, Outcome], statuses: list[str]
) -> None:
    assert statuses and not set(statuses) & {"running", "interrupted"}


def test_more_trials_run_only_what_is_new(finished: tuple[Study, Path, Outcome], tmp_path: Path) -> None:
    _, results, _ = finished
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    before = {row["trial_key"]: row["finished_at"] for row in read_rows(copy, "trials")}
    more = tiny_study(stages={"default": True, "random": 1, "search": 4, "retrain": 2})
    trained, _ = run_here(more, copy)
    assert len(trained) == 4
    after = {row["trial_key"]: row["finished_at"] for row in read_rows(copy, "trials")}
    assert before.items() <= after.items()
    assert stages(copy)["search"] == 16


@pytest.mark.slow
def test_two_studies_in_one_folder_share_what_they_can(finished: tuple[Study, Path, Outcome], tmp_path: Path) -> None:
    """The second with another search: its start, defaults and random trials, and whatever else it comes upon."""
    study, results, _ = finished
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    before = {path: path.read_bytes() for path in copy.rglob("study_id=tiny/**/*") if path.is_file()}
    said = list[str]()
    second = tiny_study(name="second", mode="joint", stages={"default": True, "random": 2, "search": 1, "retrain": 1})
    assert run(second, results=copy, say=said.append).complete
    rows = read_rows(copy, "trials", "second")
    taken = Counter(row["stage"] for row in rows if row.get("taken_from"))
    assert taken["pretrain"] == 1 and taken["default"] == 4 and taken.total() < len(rows)
    known = sum(taken[stage] for stage in ("pretrain", "default", "random"))
    assert said[0] == f"0 recorded, {known} taken over from tiny, {len(rows) - known} new"
    assert {path: path.read_bytes() for path in before} == before
    for row in rows:
        assert [one["epoch"] for one in last_epochs(copy, "second", row["trial_key"])] == list(
            range(1, row["epochs_run"] + 1)
        )
    assert run(second, results=copy).complete and run(study, results=copy).complete


def test_the_same_name_on_other_data_is_refused_and_nothing_is_touched(finished: tuple[Study, Path, Outcome]) -> None:
    results = finished[1]
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*.parquet")}
    other = tiny_study(
        workload={"model": "lenet5", "dataset": "digits", "options": {"train_limit": 128, "split_seed": 1}}
    )
    with pytest.raises(UsageError, match="another .*fingerprint"):
        run(other, results=results)
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*.parquet")} == before
