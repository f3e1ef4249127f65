"""A real study with finalists and a Sobol design: what its record holds, and what is done with it afterwards."""

import json
import shutil
from pathlib import Path
from statistics import fmean

import pytest

import analysis
from tests.helpers.runs import assert_whole
from tests.helpers.shared_cluster import SharedCluster
from tests.helpers.studies import tiny_study
from tune_qat.cli import plan_text
from tune_qat.config import TrialConfig, UsageError
from tune_qat.export.choice import choose
from tune_qat.rerun.again import Rerun
from tune_qat.rerun.recorded import find
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.tuning.run import run

pytestmark = pytest.mark.slow

PLANNED = {"random": 4, "finalists": 4, "retrain": 1}


def study_of(name: str) -> Study:
    return tiny_study(
        name=name,
        quantization={"bits": [[4, 4]]},
        training={"epochs": 2, "init": "scratch"},
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        stages={"default": False, "random": 4, "search": 0, "retrain": 1, "design": "sobol"},
        selection={"finalists": 2, "seeds": 2},
    )


@pytest.fixture(scope="module")
def done(shared_cluster: SharedCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its results folder, in which nothing may be changed."""
    results = tmp_path_factory.mktemp("finalists") / "results"
    run(study_of("first"), results=results, max_concurrent=1)
    return results


def test_the_record_has_every_stage_and_the_choice_by_the_mean(done: Path) -> None:
    assert_whole(done, PLANNED)
    rows, (arm,) = read_rows(done, "trials"), read_rows(done, "arms")
    assert (arm["planned_finalists"], arm["design"]) == (4, "sobol")
    assert {row["source"] for row in rows if row["stage"] == "random"} == {"sobol"}
    metrics: dict[str, list[float]] = {}
    for row in rows:
        if row["stage"] != "retrain":
            # One that is no better than the constant predictor counts as that one.
            metrics.setdefault(row["config_id"], []).append(max(row["val_metric"] or 0.0, arm["trivial_score"]))
    means = {config_id: fmean(found) for config_id, found in metrics.items() if len(found) == 3}
    assert len(means) == 2 and arm["best_config_id"] == max(means, key=lambda one: means[one])
    assert {row["config_id"] for row in rows if row["stage"] == "retrain"} == {arm["best_config_id"]}
    assert sorted(row["seed"] for row in rows if row["stage"] == "finalists") == [5_000, 5_000, 5_001, 5_001]


def test_finalists_see_no_test_data_and_keep_no_model(done: Path) -> None:
    for row in read_rows(done, "trials"):
        retrained = row["stage"] == "retrain"
        assert (row["test_metric"] is not None) == (row["checkpoint_sha256"] is not None) == retrained
        assert checkpoint_path(done, "first", row["trial_key"]).exists() == retrained
    tested = "SELECT DISTINCT stage FROM trials JOIN epochs USING (trial_key) WHERE epochs.test_metric IS NOT NULL"
    assert analysis.frame(done, tested)["stage"].tolist() == ["retrain"]


def test_what_follows_knows_them(done: Path) -> None:
    (chosen,) = read_rows(done, "arms")
    found = analysis.frame(done, "finalists")
    assert found[found["chosen"]]["config_id"].tolist() == [chosen["best_config_id"]] and len(found) == 2
    edges = analysis.frame(done, "edge_of_range").set_index("dimension")["best"]
    config = next(row for row in read_rows(done, "trials") if row["config_id"] == chosen["best_config_id"])
    assert edges.to_dict() == {name: config[name] for name in ("learning_rate", "batch_size")}
    exported = choose(done, None)
    exported_config = TrialConfig.from_dict(json.loads(exported.params_json))
    assert exported.stage == "retrain" and exported_config.config_id == chosen["best_config_id"]
    key = next(row["trial_key"] for row in read_rows(done, "trials") if row["stage"] == "finalists")
    with pytest.raises(UsageError, match=f"{key}' is a finalists trial, whose model is not kept"):
        choose(done, key)
    rerun = Rerun(find(done, key))
    assert len(list(rerun.epochs())) == 2 and rerun.verdict().same
    text = plan_text.describe(study_of("first"), done)
    assert "  random        4 trials x 2 epochs = 8 epochs, Sobol points\n" in text
    assert (
        "  finalists     4 trials x 2 epochs = 8 epochs\n" in text
        and "reuses 9 recorded, takes over nothing, runs 0" in text
    )


def test_once_more_and_under_another_name_nothing_is_trained(done: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(done, tmp_path / "results"))
    before = read_rows(results, "trials")
    run(study_of("first"), results=results, max_concurrent=1)
    assert read_rows(results, "trials") == before
    run(study_of("second"), results=results, max_concurrent=1)
    taken = read_rows(results, "trials", "second")
    assert {row["taken_from"] for row in taken} == {f"first/{row['trial_key']}" for row in before}
