"""Recorded trials again: those of a real Ray session, and some that are put into its record here."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tune_qat import cli
from tune_qat.config import TrialConfig, TuneQatError, UsageError
from tune_qat.rerun.again import COMPARED, Rerun, Verdict
from tune_qat.rerun.recorded import find
from tune_qat.results.layout import checkpoint_path, table_folder
from tune_qat.results.places import keep_places
from tune_qat.results.reader import read_rows
from tune_qat.results.writer import EpochLog, write_rows
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.training.checkpoints import load_weights, save_checkpoint
from tune_qat.training.device import hardware, thread_count
from tune_qat.training.loop import Training
from tune_qat.tuning.plan import DataDraws, PlannedTrial, Planner
from tune_qat.tuning.record import Record

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ended")]


@pytest.fixture
def results(ended: tuple[Study, Path], tmp_path: Path) -> Path:
    """A copy, to be changed."""
    shutil.copytree(ended[1], tmp_path / "results")
    return tmp_path / "results"


def trial(results: Path, **wanted: Any) -> dict[str, Any]:
    return next(row for row in read_rows(results, "trials") if wanted.items() <= row.items())


def again(results: Path, key: str, **given: Any) -> tuple[Verdict, list[tuple[Any, Any]]]:
    rerun = Rerun(find(results, key), **given)
    epochs = list(rerun.epochs())
    return rerun.verdict(), epochs


def change(results: Path, row: Mapping[str, Any], **values: Any) -> None:
    """Write a trial's row with other values."""
    own = {name: value for name, value in row.items() if name != "study_id"}
    write_rows(table_folder(results, "trials", row["study_id"]) / f"{row['trial_key']}.parquet", "trials",
               [{**own, **values}])  # fmt: skip


def change_epoch(results: Path, key: str, epoch: int, **values: Any) -> None:
    rows = [row for row in read_rows(results, "epochs") if row["trial_key"] == key]
    folder = table_folder(results, "epochs", rows[0].pop("study_id"))
    for row in rows:
        row.pop("study_id", None)
        row.update(values if row["epoch"] == epoch else {})
    write_rows(folder / f"{key}.1.parquet", "epochs", rows)


class TestSameCurve:
    @pytest.mark.parametrize(
        ("wanted", "tested"),
        [
            ({"stage": "pretrain"}, False),
            ({"stage": "default"}, False),
            ({"stage": "random"}, False),
            ({"stage": "search", "status": "stopped"}, False),
            ({"stage": "retrain", "arm_id": "adam-w4a4"}, True),
            ({"stage": "retrain", "arm_id": "sgd_clip-w4a4"}, True),
        ],
        ids=str,
    )
    def test_of_trials_of_a_study(self, ended: tuple[Study, Path], wanted: dict[str, Any], tested: bool) -> None:
        row = trial(ended[1], **wanted)
        verdict, epochs = again(ended[1], row["trial_key"])
        assert verdict == Verdict(epochs=(row["epochs_run"], row["epochs_run"]))
        assert verdict.same and verdict.explained
        for before, now in epochs:
            # What the verdict says, looked at here.
            assert [before[name] for name in COMPARED] == [getattr(now, name) for name in COMPARED]
        assert (epochs[-1][1].test_metric is not None) == tested

    def test_nothing_is_written(self, results: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
        again(results, trial(results, stage="retrain")["trial_key"])
        assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before

    def test_of_a_study_whose_data_folder_the_record_does_not_name(self, results: Path, tmp_path: Path) -> None:
        (study,) = read_rows(results, "studies")
        name = study.pop("study_id")
        values = {**json.loads(study["definition_json"]), "data_dir": str(tmp_path)}
        path = table_folder(results, "studies", name) / "study.parquet"
        write_rows(path, "studies", [{**study, "definition_json": json.dumps(values)}])
        key = trial(results, stage="retrain")["trial_key"]
        assert find(results, key).data_dir == f".../{tmp_path.name}"
        keep_places(results, name, values)
        assert find(results, key).data_dir == str(tmp_path)


class TestOtherCurve:
    @pytest.fixture
    def key(self, results: Path) -> str:
        return str(trial(results, stage="retrain", arm_id="adam-w4a4")["trial_key"])

    @pytest.mark.parametrize("name", ["train_loss", "val_loss", "val_metric", "grad_norm", "test_metric"])
    def test_of_one_number_is_named_and_unexplained(self, results: Path, key: str, name: str) -> None:
        """The float beside it is enough."""
        epoch = 3 if name == "test_metric" else 2
        rows = {row["epoch"]: row for row in read_rows(results, "epochs") if row["trial_key"] == key}
        change_epoch(results, key, epoch, **{name: math.nextafter(rows[epoch][name], 2.0)})
        verdict, _ = again(results, key)
        assert verdict == Verdict(differing={name: epoch}, epochs=(3, 3))
        assert not verdict.same and not verdict.explained

    def test_with_another_version_or_device_is_explained(self, results: Path, key: str) -> None:
        change_epoch(results, key, 1, val_metric=0.125)
        now = torch.__version__.partition("+")[0]
        change(results, trial(results, trial_key=key), torch_version="1.0", device="an abacus")
        verdict, _ = again(results, key)
        assert verdict.differing == {"val_metric": 1}
        assert [cause.partition(" -> ")[0] for cause in verdict.causes] == ["device an abacus", "torch 1.0"]
        assert now in verdict.causes[1]
        assert verdict.explained and not verdict.same

    def test_of_more_threads_names_them(self, results: Path, key: str) -> None:
        verdict, _ = again(results, key, threads=2)
        assert verdict.causes == ["threads 1 -> 2"]

    def test_that_has_lost_an_epoch_is_run_as_far_as_it_is_recorded(self, results: Path, key: str) -> None:
        rows = [row for row in read_rows(results, "epochs") if row["trial_key"] == key][:2]
        for row in rows:
            row.pop("study_id")
        write_rows(table_folder(results, "epochs", "tiny") / f"{key}.1.parquet", "epochs", rows)
        verdict, _ = again(results, key)
        assert verdict.epochs == (2, 2) and verdict.same


class TestEndedOtherwise:
    """Trials that are put into the record by the code that records a study's."""

    @pytest.fixture
    def put(self, ended: tuple[Study, Path], results: Path) -> Iterator[Any]:
        study = ended[0]
        work = workload.load("lenet5", "digits", options=study.workload.options)
        record = Record(results, study, DataDraws.of_study(study, lambda options: work), work.task().sign)
        start = trial(results, stage="pretrain")
        planner = Planner(study=study, work=work, init_sha256=start["checkpoint_sha256"])
        base = TrialConfig.from_dict(json.loads(trial(results, stage="default", arm_id="adam-w4a4")["params_json"]))

        def write(status: str, *, epochs: int = 0, error: Exception | None = None, **values: Any) -> PlannedTrial:
            plan = planner.of_config(replace(base, **values), "adam-w4a4", "search", {})
            log = EpochLog(results, study.name, plan.trial_key)
            if epochs:
                with thread_count(1):
                    training = Training(plan.config, work, init=checkpoint_path(results, "tiny", start["trial_key"]))
                    for result, _ in zip(training.epochs(), range(epochs), strict=False):
                        log.append(result)
            report = {**hardware("cpu"), "backend": "eager" if epochs else None, "threads": 1}
            if error is not None:
                text = f"Traceback (most recent call last):\n  ...\n{type(error).__name__}: {error}\n"
                report |= {"error_type": type(error).__name__, "error_text": text}
            record.ended(plan, report, status, None)
            return plan

        yield write

    def test_a_diverged_trial_diverges_again_without_a_metric(self, put: Any, results: Path) -> None:
        plan = put("diverged", epochs=3, learning_rate=1e30)
        verdict, epochs = again(results, plan.trial_key)
        assert verdict.same and verdict.epochs == (len(epochs), len(epochs))
        assert (epochs[-1][0]["val_metric"], epochs[-1][1].val_metric, epochs[-1][1].status) == (None, None, "diverged")

    def test_one_that_was_stopped_in_the_middle_goes_no_further(self, put: Any, results: Path) -> None:
        verdict, _ = again(results, put("interrupted", epochs=1, seed=7).trial_key)
        assert verdict.same and verdict.epochs == (1, 1)

    def test_the_same_failure_is_the_same(self, put: Any, results: Path) -> None:
        plan = put("error", error=UsageError("a batch too large"), batch_size=4096)
        verdict, _ = again(results, plan.trial_key)
        assert verdict.same and verdict.epochs == (0, 0)
        assert verdict.error is not None and verdict.error.startswith("UsageError: Batch size 4096 is larger")

    def test_a_failure_that_does_not_come_again_is_unlike(self, put: Any, results: Path) -> None:
        plan = put("error", epochs=1, error=ValueError("boom"), seed=8)
        verdict, _ = again(results, plan.trial_key)
        assert verdict.unlike == "it was recorded as error, and now passed epoch 2"
        assert verdict.epochs == (1, 2) and not verdict.explained

    def test_memory_that_is_there_now_explains_itself(self, put: Any, results: Path) -> None:
        verdict, _ = again(results, put("oom", error=MemoryError("no room"), seed=9).trial_key)
        assert not verdict.same and verdict.explained
        assert verdict.causes == ["memory, of which other trials may have held some"]

    def test_a_failure_that_was_not_recorded_is_unlike(
        self, put: Any, results: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plan = put("completed", epochs=3, seed=10)
        monkeypatch.setattr("tune_qat.rerun.again.trial_of", lambda *a, **k: (_ for _ in ()).throw(ValueError("new")))
        verdict, _ = again(results, plan.trial_key)
        assert (verdict.unlike, verdict.error) == ("it ended in ValueError after 0 epochs", "ValueError: new")
        assert not verdict.explained

    def test_a_trial_without_epochs_has_nothing_to_compare(self, put: Any, results: Path) -> None:
        with pytest.raises(UsageError, match="is interrupted, and none of its epochs is recorded yet"):
            find(results, put("interrupted", seed=11).trial_key)


class TestFinding:
    def test_by_the_beginning_of_its_key(self, ended: tuple[Study, Path]) -> None:
        key = trial(ended[1], stage="retrain")["trial_key"]
        assert find(ended[1], key[:6]).row["trial_key"] == key
        with pytest.raises(UsageError, match=f"or by 6 or more of its digits, but got '{key[:5]}'"):
            find(ended[1], key[:5])

    def test_by_one_that_begins_several_or_none(self, results: Path) -> None:
        row = trial(results, stage="retrain")
        others = [row["trial_key"][:8] + "0" * 8, row["trial_key"][:8] + "f" * 8]
        for key in others:
            change(results, {**row, "trial_key": key})
        with pytest.raises(UsageError, match=f"3 trials begin with '{row['trial_key'][:8]}'.*{others[0]}.*{others[1]}"):
            find(results, row["trial_key"][:8])
        near = row["trial_key"][:-1] + "x"
        with pytest.raises(UsageError, match=f"No trial '{near}' in the record. Did you mean"):
            find(results, near)

    def test_a_start_that_was_replaced_is_refused(self, results: Path) -> None:
        start = checkpoint_path(results, "tiny", trial(results, stage="pretrain")["trial_key"])
        save_checkpoint({name: value + 1 for name, value in load_weights(start).items()}, start)
        key = trial(results, stage="search")["trial_key"]
        with pytest.raises(TuneQatError, match=f"{key} started from weights [0-9a-f]+, but .* holds [0-9a-f]+"):
            find(results, key)
        start.unlink()
        with pytest.raises(TuneQatError, match="does not exist"):
            find(results, key)

    def test_other_data_or_a_changed_configuration_is_refused(self, results: Path) -> None:
        row = trial(results, stage="search")
        change(results, row, data_fingerprint="other")
        with pytest.raises(TuneQatError, match="The data of 'digits' is not what trial .* was trained on"):
            Rerun(find(results, row["trial_key"]))
        config = {**json.loads(row["params_json"]), "learning_rate": 0.5}
        change(results, row, params_json=json.dumps(config))
        with pytest.raises(TuneQatError, match="does not match its key: its row was changed"):
            Rerun(find(results, row["trial_key"]))


class TestCommand:
    @pytest.fixture
    def typed(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
        def type_(*arguments: str) -> tuple[int, str, str]:
            monkeypatch.setattr("sys.argv", ["tune-qat", "rerun", *arguments])
            with pytest.raises(SystemExit) as done:
                cli.main()
            return (done.value.code or 0, *capsys.readouterr())  # type: ignore[return-value]

        return type_

    def test_prints_a_line_an_epoch_and_ends_with_0(self, typed: Any, ended: tuple[Study, Path]) -> None:
        row = trial(ended[1], stage="retrain", arm_id="adam-w4a4")
        code, out, err = typed(str(ended[1]), row["trial_key"][:8])
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[0] == f"retrain trial {row['trial_key']} of study tiny, arm adam-w4a4"
        assert lines[2] == "recorded   completed, 3 of 3 epochs; eager, threads 1"
        assert lines[3] == "now        device, backend, threads and versions as recorded"
        assert [line.split()[0] for line in lines[6:9]] == ["1", "2", "3"]
        assert {line.split()[-1] for line in lines[6:9]} == {"0"}
        assert lines[-1].startswith("The same curve bit for bit: train_loss")
        assert lines[-1].endswith(" and grad_norm of 3 epochs, and test_metric.")
        assert all(len(line) <= 120 for line in lines)

    def test_an_unexplained_difference_ends_with_1(self, typed: Any, results: Path) -> None:
        key = trial(results, stage="retrain")["trial_key"]
        change_epoch(results, key, 2, val_metric=0.125)
        code, out, _ = typed(str(results), key)
        assert code == 1
        assert out.splitlines()[-2:] == [
            "Not the same: val_metric from epoch 2.",
            "Nothing explains it: device, backend, threads and versions are those of the record.",
        ]
        change(results, trial(results, trial_key=key), python_version="2.7")
        code, out, _ = typed(str(results), key)
        assert code == 0
        assert out.splitlines()[-1].startswith("Likely why: Python 2.7 -> 3.")

    def test_json_has_an_object_an_epoch_and_one_at_the_end(self, typed: Any, ended: tuple[Study, Path]) -> None:
        row = trial(ended[1], stage="search", status="stopped")
        code, out, _ = typed(str(ended[1]), row["trial_key"], "--json")
        *epochs, verdict = map(json.loads, out.splitlines())
        assert code == 0 and len(epochs) == row["epochs_run"]
        assert all(epoch["same"] and epoch["recorded"] == epoch["rerun"] for epoch in epochs)
        assert set(epochs[0]["rerun"]) == set(COMPARED)
        assert (verdict["trial_key"], verdict["same"], verdict["causes"]) == (row["trial_key"], True, [])
        assert (verdict["epochs_recorded"], verdict["epochs_rerun"]) == (row["epochs_run"], row["epochs_run"])

    def test_an_unknown_key_ends_with_2(self, typed: Any, ended: tuple[Study, Path]) -> None:
        code, out, err = typed(str(ended[1]), "0123456789")
        assert (code, out) == (2, "")
        assert "No trial '0123456789' in the record" in err
