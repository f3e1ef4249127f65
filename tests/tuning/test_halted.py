"""What every trial of a study needs, lost or changed while it runs: the study stops, and loses no trial to an error."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tune_qat.config import StudyHalted
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.training.checkpoints import load_weights, save_checkpoint


def lost(path: Path) -> None:
    path.unlink()


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def changed(path: Path) -> None:
    save_checkpoint({name: value + 1 for name, value in load_weights(path).items()}, path)


def study_of(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "quantization": {"bits": [[4, 4]]},
        "space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        "stages": {"search": 0, "retrain": 1},
    }
    return tiny_study(**{**values, **changes})


def when_default_ends(do: Callable[[], Any]) -> Callable[[Any, Any], None]:
    def watch(plan: Any, report: dict[str, Any]) -> None:
        if plan.stage == "default" and report["status"] == "completed":
            do()

    return watch


@pytest.mark.parametrize(
    ("harm", "said"), [(lost, "does not exist"), (damaged, "cannot be read"), (changed, "holds other weights")]
)
def test_a_start_that_is_gone_stops_the_study_and_the_next_run_makes_it_again(
    harm: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    study = study_of()

    def spoil() -> None:
        start = next(row for row in read_rows(tmp_path, "trials") if row["stage"] == "pretrain")
        harm(checkpoint_path(tmp_path, "tiny", start["trial_key"]))

    with pytest.raises(StudyHalted, match=f"{said}.*Run the same command again: it makes the start again") as halted:
        run_here(study, tmp_path, watch=when_default_ends(spoil))
    assert "\n" not in str(halted.value)
    rows = read_rows(tmp_path, "trials")
    assert Counter(row["status"] for row in rows) == {"completed": 2, "interrupted": 1}
    trained, _ = run_here(study, tmp_path)
    # The start, and the trial that was interrupted: nothing that had ended.
    assert len(trained) == 2
    rows = read_rows(tmp_path, "trials")
    assert Counter(row["stage"] for row in rows) == {
        "pretrain": 1,
        "default": 1,
        "retrain": 1,
    }
    assert not {row["status"] for row in rows} & {"error", "interrupted", "running"}


def test_a_checkpoint_from_elsewhere_that_is_gone_stops_the_study_and_is_asked_for(tmp_path: Path) -> None:
    options = {"train_limit": 128}
    path = tmp_path / "start.pt"
    work = workload.load("lenet5", "digits", options=options)
    torch.save(work.build_model(init_seed=3).state_dict(), path)
    kept = path.read_bytes()
    study = study_of(training={"epochs": 3, "init": "path", "init_path": str(path)}, pretrain=None)
    with pytest.raises(StudyHalted, match=r"start\.pt does not exist.*Bring it back, and run the same command again"):
        run_here(study, tmp_path / "results", watch=when_default_ends(path.unlink))
    path.write_bytes(kept)
    trained, _ = run_here(study, tmp_path / "results")
    assert len(trained) == 1
    assert not {row["status"] for row in read_rows(tmp_path / "results", "trials")} & {"error", "interrupted"}
