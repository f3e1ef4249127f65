"""Several studies in one folder: what one has completed the others take over, and no one touches another's files."""

import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import analysis
from tests.helpers.rows import write
from tests.helpers.storage import Bucket
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import Killed, run_here
from tune_qat.cli.plan_text import describe
from tune_qat.cli.status_text import describe as status
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath, storage_path, write_whole
from tune_qat.storage.retry import Patience
from tune_qat.study import Study
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint
from tune_qat.tuning.outlook import outlook

pytestmark = pytest.mark.slow


def study_of(name: str, **changes: Any) -> Study:
    """One arm: a start, a default, a random, three search and two retrain trials."""
    values: dict[str, Any] = {
        "name": name,
        "seed": 1,
        "quantization": {"bits": [[4, 4]]},
        "space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        "asha": {"enabled": False},
    }
    return tiny_study(**{**values, **changes})


TRIALS = 1 + 1 + 1 + 3 + 2
CHANGES = ("trial_number", "arm_id", "taken_from", "attempt", "study_id")


def content(results: StoragePath, study: str, table: str, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The rows of a study in a table, in the order of their keys, without what each study has of its own."""
    rows = read_rows(results, table, study)
    left = [{name: value for name, value in row.items() if name not in (*CHANGES, *without)} for row in rows]
    return sorted(
        left, key=lambda row: (row["trial_key"], row.get("epoch", 0), row.get("layer", ""), row.get("kind", ""))
    )


def files(results: Path, study: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in results.rglob(f"*/study_id={study}/**/*") if path.is_file()}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the study `first`, complete. Nothing in it may be changed: copy it."""
    results = tmp_path_factory.mktemp("first") / "results"
    trained, said = run_here(study_of("first"), results)
    assert len(trained) == TRIALS and said == []
    return results


@pytest.fixture
def results(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "results"))


def assert_copied(results: StoragePath, study: str = "second", source: str = "first") -> None:
    """The study's record is whole alone, has the source's numbers, and says whose they are."""
    for table in ("trials", "epochs", "layers"):
        assert content(results, study, table) == content(results, source, table), table
    rows = read_rows(results, "trials", study)
    assert {row["taken_from"] for row in rows} == {f"{source}/{row['trial_key']}" for row in rows}
    for row in rows:
        if row["stage"] in ("pretrain", "retrain"):
            ours, theirs = (checkpoint_path(results, one, row["trial_key"]).read_bytes() for one in (study, source))
            assert ours == theirs


def test_a_study_that_another_one_has_run_trains_nothing(results: Path) -> None:
    before = files(results, "first")
    trained, said = run_here(study_of("second"), results)
    assert trained == [] and said == ["0 recorded, 3 taken over from first, 5 new"]
    assert_copied(results)
    assert files(results, "first") == before
    # It stands alone, and goes on alone.
    for path in results.glob("*/study_id=first"):
        shutil.rmtree(path)
    trained, said = run_here(study_of("second", stages={"random": 1, "search": 3, "retrain": 3}), results)
    assert len(trained) == 1 and said == ["0 recorded, 8 taken over from first, 1 new"]


def test_plan_and_run_say_the_same_before_anything_runs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def planned(study: Study) -> list[str]:
        (said,) = [block for block in describe(study, results).split("\n\n") if block.startswith("in ")] or [""]
        return [line.strip() for line in said.removeprefix(f"in {results}/: ").splitlines()]

    again, longer = study_of("first"), study_of("first", training={"epochs": 4})
    assert outlook(again, results) == ["8 recorded, 0 new"]
    assert planned(again) == ["reuses 8 recorded, takes over nothing, runs 0"]
    assert planned(study_of("second")) == ["reuses nothing, takes over 3 from first, runs 5"]
    misfits = "7 recorded trials do not fit any more: training.epochs 3, now 4"
    assert planned(longer) == ["reuses 1 recorded, takes over nothing, runs 7", misfits]
    other = {"model": "lenet5", "dataset": "digits", "options": {"train_limit": 64}}
    (said,) = planned(study_of("third", workload=other))
    assert said == "reuses nothing, takes over nothing, runs 8", "nothing here is of other data"
    heard = list[str]()

    def end(plan: Any, report: dict[str, Any]) -> None:
        raise Killed

    with pytest.raises(Killed):
        run_here(longer, results, watch=end, said=heard)
    assert heard == ["1 recorded, 7 new", misfits]


def test_status_and_budget_say_what_was_taken_over(results: Path) -> None:
    run_here(study_of("second", stages={"random": 2, "search": 3, "retrain": 2}), results)
    of_first, of_second = status(results).split("study second: ")
    assert "taken_over" not in of_first and "taken_over" in of_second
    budget = analysis.frame(results, "budget").set_index("study_id")
    assert budget.loc["first", ["taken_over", "epochs_taken_over"]].tolist() == [0, 0]
    rows = [row for row in read_rows(results, "trials", "second") if row["stage"] != "pretrain"]
    taken = [row for row in rows if row["taken_from"]]
    assert 2 <= len(taken) < len(rows)
    second = budget.loc["second"]
    assert (second["taken_over"], second["epochs_taken_over"]) == (len(taken), 3 * len(taken))
    assert second["epochs"] == sum(row["epochs_run"] for row in rows if not row["taken_from"])
    assert second["device_s"] + second["device_s_taken_over"] == pytest.approx(sum(row["device_s"] for row in rows))
    copied = analysis.frame(results, "SELECT count(*) FILTER (copied) AS n FROM arm_trials")["n"][0]
    assert copied == len(taken), "a run counts once where studies are summed"
    shutil.rmtree(results / "trials" / "study_id=first")
    assert analysis.frame(results, "SELECT count(*) FILTER (copied) AS n FROM arm_trials")["n"][0] == 0


class Dies(Patience):
    """Its process is killed before a write."""

    def __init__(self, results: StoragePath, at: int) -> None:
        super().__init__(results, 0.0)
        self.left = at

    def write_whole(self, path: StoragePath, data: bytes | memoryview) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed
        super().write_whole(path, data)


@pytest.mark.slow
def test_a_driver_that_is_killed_at_any_write_leaves_what_the_next_run_finishes(tmp_path: Path) -> None:
    small: dict[str, Any] = {"stages": {"random": 1, "search": 1, "retrain": 1}, "asha": {"grace_epochs": 1}}
    run_here(study_of("first", **small), tmp_path)
    before = files(tmp_path, "first")
    for at in itertools.count(1):
        for folder in tmp_path.glob("*/study_id=second"):
            shutil.rmtree(folder)
        try:
            run_here(study_of("second", **small), tmp_path, patience=Dies(tmp_path, at))
        except Killed:
            trained, _ = run_here(study_of("second", **small), tmp_path)
            assert trained == []
            assert_copied(tmp_path)
            assert len(content(tmp_path, "second", "decisions")) == 1
            assert files(tmp_path, "first") == before
        else:
            break
    # Arms and study three times, and of each trial its layers (the start has none), epochs, decision, checkpoint, row.
    assert at == 1 + 3 * 2 + 4 + 5 + 1 + 2 + 5


def test_what_a_killed_driver_had_copied_is_set_aside_if_the_source_is_gone(results: Path) -> None:
    # Before the row of the first trial past the start: its epochs are there.
    with pytest.raises(Killed):
        run_here(study_of("second"), results, patience=Dies(results, 2 + 3 + 3))
    for path in results.glob("*/study_id=first"):
        shutil.rmtree(path)
    trained, said = run_here(study_of("second"), results)
    assert len(trained) == TRIALS - 1 and any("was being taken over" in line for line in said)
    rows = {row["trial_key"]: row["epochs_run"] for row in read_rows(results, "trials", "second")}
    epochs = Counter(row["trial_key"] for row in read_rows(results, "epochs", "second"))
    assert epochs == rows


def test_a_search_is_judged_by_the_studys_own_asha(results: Path, tmp_path: Path) -> None:
    """Exactly what training would have given: the same trials, decisions, stops and epochs."""
    asha: dict[str, Any] = {"asha": {"grace_epochs": 1, "reduction_factor": 2}}
    trained, _ = run_here(study_of("second", **asha), results)
    run_here(study_of("second", **asha), tmp_path / "alone")
    times = ("started_at", "finished_at", "decided_at", "wall_s", "device_s", "examples_per_s")
    of_a_run = (*times, "peak_memory_mb", "start_memory_mb", "host_hash")  # each study salts the hash of a host
    for table in ("trials", "epochs", "layers", "decisions"):
        ours, alone = (content(one, "second", table, without=of_a_run) for one in (results, tmp_path / "alone"))
        assert ours == alone, table
    rows = read_rows(results, "trials", "second")
    stopped = [row for row in rows if row["status"] == "stopped"]
    assert stopped and all(row["stop_reason"] == "asha" and row["rung"] == row["epochs_run"] for row in stopped)
    assert {row["trial_key"] for row in rows if not row["taken_from"]} == set(trained)
    assert sum(row["stage"] == "search" and row["taken_from"] is not None for row in rows) >= 2


def damage_epochs(results: Path, row: dict[str, Any]) -> None:
    (path,) = (results / "epochs" / "study_id=first").glob(f"{row['trial_key']}.*")
    path.write_bytes(path.read_bytes()[:-9])


def lose_layers(results: Path, row: dict[str, Any]) -> None:
    (path,) = (results / "layers" / "study_id=first").glob(f"{row['trial_key']}.*")
    path.unlink()


def lose_checkpoint(results: Path, row: dict[str, Any]) -> None:
    (results / "checkpoints" / "study_id=first" / row["trial_key"] / "last.pt").unlink()


def change_checkpoint(results: Path, row: dict[str, Any]) -> None:
    path = results / "checkpoints" / "study_id=first" / row["trial_key"] / "last.pt"
    state = load_checkpoint(path)
    name = next(name for name in state["model"] if name.endswith("weight_quantizer.step"))
    state["model"][name] = state["model"][name] * 1.001
    save_checkpoint(state, path)


@pytest.mark.parametrize(
    ("stage", "damage"),
    [
        ("default", damage_epochs),
        ("random", lose_layers),
        ("retrain", lose_checkpoint),
        ("retrain", change_checkpoint),
    ],
)
def test_a_trial_that_is_not_whole_is_trained_and_the_others_are_taken_over(
    results: Path, stage: str, damage: Any
) -> None:
    row = next(row for row in read_rows(results, "trials", "first") if row["stage"] == stage)
    damage(results, row)
    trained, _ = run_here(study_of("second"), results)
    assert trained == [row["trial_key"]]
    rows = {row["trial_key"]: row for row in read_rows(results, "trials", "second")}
    assert [key for key, row in rows.items() if row["taken_from"] is None] == trained
    assert rows[row["trial_key"]]["checkpoint_sha256"] == row["checkpoint_sha256"]


def test_a_compacted_record_is_taken_over_and_a_copy_of_a_copy_names_its_origin(results: Path) -> None:
    from tune_qat.results.compaction import compact

    compact(results)
    assert run_here(study_of("second"), results)[0] == []
    assert_copied(results)
    for path in results.glob("*/study_id=first"):
        shutil.rmtree(path)
    trained, said = run_here(study_of("third"), results)
    assert trained == [] and said == ["0 recorded, 3 taken over from first, 5 new"]
    rows = read_rows(results, "trials", "third")
    assert {row["taken_from"] for row in rows} == {f"first/{row['trial_key']}" for row in rows}


class TestARecordOfAnEarlierVersion:
    """All studies of a folder wrote the same checkpoints, and hashes of retrain trials were not recorded."""

    @pytest.fixture
    def earlier(self, results: Path) -> Path:
        for path in (results / "checkpoints" / "study_id=first").iterdir():
            path.rename(results / "checkpoints" / path.name)
        for row in read_rows(results, "trials", "first"):
            if row["stage"] == "retrain":
                own = {name: value for name, value in row.items() if name != "study_id"}
                write(results, "first", "trials", row["trial_key"], {**own, "checkpoint_sha256": None})
        return results

    def shared(self, results: Path) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (results / "checkpoints").glob("*/last.pt")}

    def test_its_start_is_read_where_it_is_and_its_trials_are_taken_over(self, earlier: Path) -> None:
        before = self.shared(earlier)
        assert run_here(study_of("first"), earlier)[0] == []
        more = study_of("first", stages={"random": 1, "search": 3, "retrain": 3})
        assert len(run_here(more, earlier)[0]) == 1
        assert run_here(study_of("second"), earlier)[0] == []
        assert self.shared(earlier) == before
        hashes = [
            row["checkpoint_sha256"] for row in read_rows(earlier, "trials", "second") if row["stage"] == "retrain"
        ]
        assert None not in hashes, "what was copied is known"

    def test_a_start_that_another_study_has_overwritten_is_made_again_and_the_file_stays(self, earlier: Path) -> None:
        start = next(row for row in read_rows(earlier, "trials", "first") if row["stage"] == "pretrain")
        path = earlier / "checkpoints" / start["trial_key"] / "last.pt"
        state = load_checkpoint(path)
        save_checkpoint({**state, "epoch": 1}, path)
        before = self.shared(earlier)
        more = study_of("first", stages={"random": 1, "search": 3, "retrain": 3})
        trained, said = run_here(more, earlier)
        assert trained[0] == start["trial_key"] and len(trained) == 2
        assert any("does not hold what its trial ended with" in line and "made again" in line for line in said)
        assert self.shared(earlier) == before and not (earlier / "damaged").exists()

    def test_a_cut_off_trial_goes_on_from_there(self, tmp_path: Path) -> None:
        """From the start's checkpoint as a driver left it that was killed after the first epoch."""

        def kill(plan: Any, report: dict[str, Any]) -> None:
            raise Killed

        start_alone = study_of("first", stages={"default": False, "random": 1, "search": 0, "retrain": 0})
        with pytest.raises(Killed):
            run_here(start_alone, tmp_path, watch=kill)
        (path,) = tmp_path.glob("checkpoints/study_id=first/*")
        path.rename(tmp_path / "checkpoints" / path.name)
        before = self.shared(tmp_path)
        trained, _ = run_here(start_alone, tmp_path)
        attempts = {
            row["epoch"]: row["attempt"] for row in read_rows(tmp_path, "epochs") if row["trial_key"] == path.name
        }
        assert attempts == {1: 1, 2: 2} and trained[0] == path.name and self.shared(tmp_path) == before


def test_an_interrupted_model_of_the_last_epoch_is_not_called_whole(results: Path) -> None:
    """Killed between the last epoch of a retrain trial and its checkpoint: the epoch is trained again."""
    row = next(row for row in read_rows(results, "trials", "first") if row["stage"] == "retrain")
    own = {name: value for name, value in row.items() if name != "study_id"}
    write(results, "first", "trials", row["trial_key"], {**own, "status": "running", "checkpoint_sha256": None})
    path = results / "checkpoints" / "study_id=first" / row["trial_key"] / "last.pt"
    path.unlink()
    trained, _ = run_here(study_of("first"), results)
    assert trained == [row["trial_key"]]
    after = next(one for one in read_rows(results, "trials", "first") if one["trial_key"] == row["trial_key"])
    assert (after["status"], after["checkpoint_sha256"]) == ("completed", row["checkpoint_sha256"])


@pytest.mark.slow
def test_in_a_folder_on_object_storage(first: Path, bucket: Bucket) -> None:
    results = storage_path(f"{bucket.uri}/results")
    for path in first.rglob("*"):
        if path.is_file():
            target = results
            for part in path.relative_to(first).parts:
                target = target / part
            write_whole(target, path.read_bytes())
    trained, said = run_here(study_of("second"), results)
    assert trained == [] and said == ["0 recorded, 3 taken over from first, 5 new"]
    assert_copied(results)
