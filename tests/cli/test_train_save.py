"""`tune-qat train --save`: a file of data, which training starts from and export reads."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from tests.cli.typed import assert_refused
from tests.helpers.trials import tiny_trial, training_of
from tune_qat.export.trained import load_saved
from tune_qat.training.checkpoints import load_checkpoint

TRAIN = (
    *("train", "--model", "lenet5", "--dataset", "digits", "--set", "dataset_options.train_limit=96"),
    *("--batch-size", "16", "--learning-rate", "1e-3"),
)


@pytest.mark.slow  # an export takes torch seconds
def test_it_holds_what_the_last_epoch_left_and_can_be_exported(tune_qat: Any, tmp_path: Path) -> None:
    saved, output = tmp_path / "model.pt", tmp_path / "model.onnx"
    assert tune_qat(*TRAIN, "--epochs", "2", "--save", str(saved)).code == 0
    torch.load(saved, weights_only=True)
    here = training_of(tiny_trial())
    list(here.epochs())
    trained = load_saved(saved)
    assert trained.config.identity()["scheme"] == here.config.identity()["scheme"]
    for name, value in load_checkpoint(saved)["model"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, here.model.state_dict()[name]), name
    done = tune_qat("export", str(saved), "-o", str(output))
    assert done.code == 0 and "model.pt: adam, 4/4 bits, seed 0" in done.out
    onnx.checker.check_model(onnx.load(output))


def test_a_floating_point_one_is_a_start(tune_qat: Any, tmp_path: Path) -> None:
    saved = str(tmp_path / "float.pt")
    bits = ("--weight-bits", "32", "--activation-bits", "32")
    assert tune_qat(*TRAIN, *bits, "--epochs", "1", "--save", saved).code == 0
    assert tune_qat(*TRAIN, "--epochs", "1", "--init", saved).code == 0


def test_what_cannot_be_written_is_refused_before_anything_is_trained(tune_qat: Any, tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "model.pt"
    assert_refused(tune_qat(*TRAIN, "--save", str(gone)), 2, "--save", "does not exist")
    assert_refused(tune_qat(*TRAIN, "--save", str(tmp_path)), 2, "is a folder")


def test_a_diverged_trial_has_no_model(tune_qat: Any, tmp_path: Path) -> None:
    saved = tmp_path / "model.pt"
    diverging = ("--optimizer", "sgd", "--learning-rate", "1e30", "--epochs", "2")
    done = tune_qat(*TRAIN, *diverging, "--save", str(saved))
    assert "is not written: the trial diverged" in done.err and not saved.exists()


@pytest.mark.parametrize("content", [{"model": {}}, {}], ids=str)
def test_export_says_what_another_file_lacks(tune_qat: Any, tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "other.pt")
    done = tune_qat("export", str(tmp_path / "other.pt"), "-o", str(tmp_path / "model.onnx"))
    assert_refused(done, 1, "is no file of `tune-qat train --save`")
    done = tune_qat("export", str(tmp_path / "other.pt"), "-o", str(tmp_path / "other.pt"))
    assert_refused(done, 2, "must name another file")
