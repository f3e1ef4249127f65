"""Damage: the file is named and set aside, its trial is run again, everything else stands."""

from pathlib import Path

import pytest

from tests.helpers.rows import epoch_result, filled, layer_result, write
from tests.helpers.storage import Bucket
from tune_qat.config import NotRead, UsageError
from tune_qat.results.compaction import compact
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import read_rows
from tune_qat.results.repair import repair
from tune_qat.results.schema import TABLES
from tune_qat.results.views import connect
from tune_qat.results.writer import EpochLog, parquet
from tune_qat.storage.paths import storage_path, write_whole


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three trials of two epochs: the shared start, and two others."""
    for key, stage in (("start", "pretrain"), ("one", "search"), ("two", "retrain")):
        log = EpochLog(tmp_path, "study", key)
        for epoch in (1, 2):
            log.append(epoch_result(epoch, layers=(layer_result("conv", 0.125),)))
        write(tmp_path, "study", "decisions", key, filled("decisions", trial_key=key))
        row = filled("trials", trial_key=key, stage=stage, status="completed", epochs_run=2, val_metric=0.5)
        write(tmp_path, "study", "trials", key, row)
        write_whole(checkpoint_path(tmp_path, "study", key), b"weights")
    write(tmp_path, "study", "arms", "arms", filled("arms"))
    write(tmp_path, "study", "studies", "study", filled("studies"))
    return tmp_path


def files(results: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_file_that_storage_does_not_give_is_not_damaged(bucket: Bucket) -> None:
    root = storage_path(f"{bucket.uri}/not given")
    write(root, "study", "arms", "arms", filled("arms"))
    before = bucket.objects()
    with bucket.failing("503", only=".parquet"), pytest.raises(NotRead, match="arms.parquet cannot be read"):
        repair(root, "study")
    assert repair(root, "study") == [] and bucket.objects() == before


def flip(path: Path, where: int) -> None:
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)


def test_a_whole_record_is_left_alone(results: Path) -> None:
    before = files(results)
    assert repair(results, "study") == []
    assert files(results) == before
    assert repair(results / "new", "study") == []
    assert not (results / "new").exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "one bit in a page"])
@pytest.mark.parametrize("table", ["epochs", "layers", "decisions"])
def test_the_trial_of_a_damaged_file_is_run_again(results: Path, table: str, damage: str) -> None:
    path = next((results / table).rglob("one*.parquet"))
    before = files(results)
    if damage == "one bit in a page":
        flip(path, 40)
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else -7])
    said = repair(results, "study")
    assert str(path) in said[0] and "damaged" in said[0] and said[1] == "trial one will be run again"
    rows = {row["trial_key"]: row for row in read_rows(results, "trials")}
    assert {key: row["status"] for key, row in rows.items()} == {
        "start": "completed", "one": "interrupted", "two": "completed"
    }  # fmt: skip
    assert rows["one"]["val_metric"] is None and rows["one"]["params_json"] == "{}"
    assert not checkpoint_path(results, "study", "one").exists()
    for other in TABLES:
        assert not [found for found in (results / other).rglob("one.*") if other != "trials"]
    # Nothing of the others has changed, and nothing was thrown away but the checkpoint.
    after = files(results)
    assert all(after[found] == content for found, content in before.items() if not found.name.startswith("one")
               and "checkpoints/study_id=study/one" not in str(found))  # fmt: skip
    assert len(list((results / "damaged").rglob("*.parquet"))) == 3
    assert repair(results, "study") == []


def test_a_trial_whose_row_is_damaged_is_forgotten(results: Path) -> None:
    path = next((results / "trials").rglob("one.parquet"))
    path.write_bytes(b"PAR1")
    assert repair(results, "study")[-1] == "trial one will be run again"
    assert {row["trial_key"] for row in read_rows(results, "trials")} == {"start", "two"}
    assert {key for (key,) in connect(results).sql("SELECT DISTINCT trial_key FROM epochs").fetchall()} == {
        "start",
        "two",
    }
    assert not checkpoint_path(results, "study", "one").exists()


def test_the_weights_of_the_shared_start_stand(results: Path) -> None:
    next((results / "epochs").rglob("start*.parquet")).write_bytes(b"")
    assert "weights are kept" in repair(results, "study")[-1]
    assert checkpoint_path(results, "study", "start").exists()
    assert {row["status"] for row in read_rows(results, "trials")} == {"completed"}


@pytest.mark.parametrize("compacted", [False, True])
def test_a_trial_with_a_hole_in_its_epochs_is_run_again(results: Path, compacted: bool) -> None:
    log = EpochLog(results, "study", "holey")
    for epoch in (1, 3):
        log.append(epoch_result(epoch))
    write(results, "study", "trials", "holey", filled("trials", trial_key="holey", status="stopped", epochs_run=3))
    if compacted:
        compact(results)
    assert repair(results, "study") == ["trial holey will be run again"]
    rows = {row["trial_key"]: row["status"] for row in read_rows(results, "trials")}
    assert rows["holey"] == "interrupted" and list(rows.values()).count("completed") == 3


def test_damage_of_what_every_run_writes_anew_runs_nothing_again(results: Path) -> None:
    for table in ("arms", "studies"):
        next((results / table).rglob("*.parquet")).write_bytes(b"")
    said = repair(results, "study")
    assert len(said) == 2 and not any("run again" in line for line in said)


def test_a_damaged_compacted_file_of_epochs_runs_its_trials_again(results: Path) -> None:
    compact(results)
    flip(next((results / "epochs").rglob("compact-1.parquet")), 40)
    assert {line for line in repair(results, "study")[1:]} == {
        "trial start: the curve of the shared start is lost, but its weights are kept",
        "trial one will be run again", "trial two will be run again",
    }  # fmt: skip


def test_files_of_another_version_are_no_damage(results: Path) -> None:
    import pyarrow.parquet as pq

    path = next((results / "trials").rglob("one.parquet"))
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.replace_schema_metadata({b"tune_qat.schema_version": b"99"}), path)
    with pytest.raises(UsageError, match="schema version 99"):
        repair(results, "study")
    assert not (results / "damaged").exists()


def test_other_studies_are_not_looked_at(results: Path) -> None:
    path = write(results, "other", "trials", "x", filled("trials"))
    path.write_bytes(b"")
    assert repair(results, "study") == []


def test_a_flipped_bit_in_a_page_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    import pyarrow as pa

    from tune_qat.config import TuneQatError
    from tune_qat.results.reader import read_file

    path, table = tmp_path / "a.parquet", TABLES["epochs"]
    rows = pa.Table.from_pylist(
        [{**filled("epochs", epoch=epoch), "train_loss": 1 / epoch} for epoch in range(1, 4)], schema=table
    )
    whole = parquet(rows, use_dictionary=False, write_statistics=False)
    noticed = 0
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for where in range(4, footer, 3):
        path.write_bytes(whole)
        flip(path, where)
        try:
            assert read_file(path).equals(rows), where
        except (TuneQatError, OSError):
            noticed += 1
    assert noticed > 100
