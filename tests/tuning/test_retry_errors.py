"""`run --retry-errors`: trials that have ended in an error are run again, all others stand."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.rows import epoch_result, write
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tune_qat.results.compaction import compact
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.results.views import connect
from tune_qat.results.writer import EpochLog
from tune_qat.study import Study

pytestmark = pytest.mark.slow


def study() -> Study:
    return tiny_study(
        quantization={"bits": [[4, 4]]},
        training={"epochs": 3, "init": "scratch"},
        pretrain=None,
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        stages={"random": 1, "search": 0, "retrain": 0},
    )


@pytest.mark.parametrize("compacted", [False, True])
def test_errors_alone_are_run_again(tmp_path: Path, compacted: bool) -> None:
    run_here(study(), tmp_path)
    row = next(row for row in read_rows(tmp_path, "trials") if row["stage"] == "random")
    key, own = row["trial_key"], {name: value for name, value in row.items() if name != "study_id"}
    # It failed in its third attempt, after two epochs.
    for path in tmp_path.rglob(f"{key}.1.parquet"):
        path.unlink()
    for number in (1, 2, 3):
        log = EpochLog(tmp_path, "tiny", key, earlier=number - 1)
        log.append(epoch_result(1 if number < 3 else 2, val_metric=0.01))
    failed: dict[str, Any] = {"status": "error", "error_type": "ValueError", "error_text": "x", "val_metric": None}
    write(tmp_path, "tiny", "trials", key, {**own, **failed, "epochs_run": 2, "n_restarts": 2})
    if compacted:
        compact(tmp_path)
    assert run_here(study(), tmp_path)[0] == []
    trained, said = run_here(study(), tmp_path, retry_errors=True)
    assert trained == [key] and said == ["1 recorded, 1 new"]
    after = next(row for row in read_rows(tmp_path, "trials") if row["trial_key"] == key)
    assert (after["status"], after["error_type"], after["n_restarts"]) == ("completed", None, 3)
    assert after["val_metric"] == row["val_metric"]
    found = [one["val_metric"] for one in last_epochs(tmp_path, "tiny", key)]
    viewed = connect(tmp_path).sql(f"SELECT val_metric FROM epochs WHERE trial_key = '{key}' ORDER BY epoch").fetchall()
    assert found == [one for (one,) in viewed] and 0.01 not in found and len(found) == 3
    assert run_here(study(), tmp_path, retry_errors=True)[0] == []
