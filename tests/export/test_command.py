"""`tune-qat export` on a real study: which trial it takes, what it writes, and what it says of mistakes."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

import analysis
from tests.export.test_onnx_file import run as run_onnx
from tests.helpers.records import SmallStudy
from tests.helpers.studies import tiny_study
from tune_qat.cli.run_summary import ending
from tune_qat.config import TrialConfig, TuneQatError, UsageError
from tune_qat.export.choice import choose
from tune_qat.export.command import export
from tune_qat.results.layout import checkpoint_path
from tune_qat.training import workload
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint, weights_sha256
from tune_qat.tuning.outcome import Outcome
from tune_qat.tuning.run import run

ray = pytest.mark.xdist_group("export")  # one study for the file


@pytest.fixture(scope="module")
def finished(shared_cluster: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    results = tmp_path_factory.mktemp("study") / "results"
    study = tiny_study(
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        stages={"default": True, "search": 0, "retrain": 2},
    )
    return results, run(study, results=results)


def row_of(results: Path, key: str) -> Any:
    trials = analysis.frame(results, "SELECT * FROM trials")
    return next(trials[trials["trial_key"] == key].itertuples())


@pytest.mark.slow
@ray
def test_the_best_model_has_the_test_score_of_its_record(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    results, _ = finished
    output = tmp_path / "made" / "model.onnx"
    said = export(results, None, output)
    model = onnx.load(output)
    about = json.loads(model.metadata_props[0].value)
    row = row_of(results, about["trial_key"])
    assert (row.stage, row.weight_bits, row.activation_bits) == ("retrain", 4, 4)
    config = TrialConfig.from_dict(json.loads(row.params_json))
    task = workload.load("lenet5", "digits", options=config.dataset_options).task()
    found = task.evaluate(lambda inputs: run_onnx(model, inputs), "test")
    assert (found.correct, found.n) == (row.test_correct, row.test_n)
    assert (about["mean"], about["deviation"]) == task.normalisation
    assert f"retrain trial {row.trial_key}: adam, 4/4 bits, seed {row.seed}" in said
    assert f"{output.stat().st_size:,} bytes" in said and f"{4 * 61_706:,} bytes" in said
    assert [line.split()[0] for line in said.splitlines() if "  " in line and "─" not in line] == [
        "layer", "conv1", "conv2", "fc1", "fc2", "fc3",
    ]  # fmt: skip
    # A second time is fine, and leaves nothing beside the file.
    assert export(results, row.trial_key, output) == said
    assert [path.name for path in output.parent.iterdir()] == ["model.onnx"]


@pytest.mark.slow
@ray
def test_the_shared_start_and_a_state_are_exported_by_key(finished: tuple[Path, Outcome], tmp_path: Path) -> None:
    results, _ = finished
    trials = analysis.frame(results, "SELECT * FROM trials")
    start = trials[trials["stage"] == "pretrain"]["trial_key"].item()
    assert "nothing is quantized" in export(results, start, tmp_path / "start.onnx")
    export(results, None, tmp_path / "state.pt")
    state = load_checkpoint(tmp_path / "state.pt")
    assert state["trial_key"] == analysis.frame(results, "best_trial")["trial_key"].iloc[0]
    assert set(state["layers"]) == {"conv1", "conv2", "fc1", "fc2", "fc3"}
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["state.pt"] < sizes["start.onnx"] / 4


@pytest.mark.slow
@ray
def test_the_last_screen_prints_the_command(finished: tuple[Path, Outcome]) -> None:
    results, outcome = finished
    key = analysis.frame(results, "best_trial")["trial_key"].iloc[0]
    screen = ending(tiny_study(), outcome, results=results, again="tune-qat run tiny.toml")
    command = f"tune-qat export {results} {key} -o model.onnx"
    assert f"\nthe best model on validation data, Adam at 4/4 bits:\n  {command}\n" in screen


@pytest.mark.slow
@ray
def test_a_search_trial_an_unknown_key_and_a_lost_checkpoint_are_explained(
    finished: tuple[Path, Outcome], tmp_path: Path
) -> None:
    results, _ = finished
    trials = analysis.frame(results, "SELECT * FROM trials")
    default = trials[trials["stage"] == "default"]["trial_key"].iloc[0]
    with pytest.raises(UsageError, match=f"Trial '{default}' is a default trial, whose model is not kept.*The best: "):
        export(results, default, tmp_path / "m.pt")
    with pytest.raises(UsageError, match=f"No trial '{default[:-1]}' in the record. Did you mean '{default}'"):
        export(results, default[:-1], tmp_path / "m.pt")
    key = analysis.frame(results, "best_trial")["trial_key"].iloc[0]
    path = checkpoint_path(results, "tiny", key)
    moved = path.rename(path.with_name("moved.pt"))
    try:
        with pytest.raises(TuneQatError, match="its checkpoint is missing"):
            export(results, key, tmp_path / "m.pt")
        save_checkpoint({"model": load_checkpoint(moved)["model"]}, path)
        with pytest.raises(TuneQatError, match="does not say what its model takes as input"):
            export(results, key, tmp_path / "m.pt")
        state = load_checkpoint(moved)
        state["model"]["conv1.layer.weight"] = torch.zeros(1)
        save_checkpoint(state, path)
        with pytest.raises(TuneQatError, match="does not hold what its trial ended with"):
            export(results, key, tmp_path / "m.pt")
    finally:
        moved.replace(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@ray
def test_a_second_study_in_the_folder_leaves_the_models_of_the_first_as_they_are(
    finished: tuple[Path, Outcome], tmp_path: Path
) -> None:
    """The second begins with the same start and is stopped in its first epoch, if it trains it at all."""
    results = Path(shutil.copytree(finished[0], tmp_path / "results"))
    row = row_of(
        results, analysis.frame(results, "SELECT trial_key FROM trials WHERE stage = 'pretrain'")["trial_key"].item()
    )

    @contextmanager
    def typist(searcher: Any, resources: Any) -> Iterator[None]:
        def listen(event: str, plan: Any, values: Any) -> None:
            if event == "epoch":
                signal.raise_signal(signal.SIGINT)

        searcher.listen(listen)
        yield

    assert not run(tiny_study(name="second", seed=0), results=results, display=typist).complete
    export(results, row.trial_key, tmp_path / "start.pt")
    assert weights_sha256(load_checkpoint(tmp_path / "start.pt")["rest"]) == row.checkpoint_sha256
    assert not (results / "damaged").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [("model.tflite", r"must end in .onnx .* or .pt"), ("model", "must end in"), ("folder.pt", "is a folder")],
)
def test_an_output_that_is_none_is_refused_first(output: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(UsageError, match=message):
        export(tmp_path / "nowhere", None, tmp_path / output)


def small(results: Path, name: str = "s") -> tuple[SmallStudy, str]:
    study = SmallStudy(results, name)
    return study, study.arm("adam")


def without_retrain(results: Path) -> None:
    study, arm = small(results)
    study.trial(arm, "search", val_metric=0.9)
    study.trial(arm, "retrain", "running")


def two_studies(results: Path) -> None:
    for name in ("first", "second"):
        study, arm = small(results, name)
        study.trial(arm, "retrain", val_metric=0.9, trial_key=f"of_{name}")


@pytest.mark.parametrize(
    ("write", "key", "message"),
    [
        (without_retrain, None, "No retrain trial of .* has been completed yet"),
        (without_retrain, "t002", "Trial 't002' is running"),
        (two_studies, None, r"several studies.* Name one: of_first \(first\), of_second \(second\)"),
        (two_studies, "../of_first", "must be made of letters"),
    ],
)
def test_no_trial_to_take_is_explained(
    write: Callable[[Path], None], key: str | None, message: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(UsageError, match=message):
        choose(tmp_path, key)


def test_a_key_is_found_among_several_studies(tmp_path: Path) -> None:
    two_studies(tmp_path)
    choice = choose(tmp_path, "of_second")
    assert (choice.trial_key, choice.words) == (
        "of_second",
        "retrain trial of_second: adam, 4/4 bits, seed 1, validation metric 0.9000",
    )
