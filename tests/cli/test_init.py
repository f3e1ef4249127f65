"""`tune-qat init`: a study file from a few options."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import tune_qat as tune_qat
from tests.helpers.rows import filled, write
from tune_qat.study import Study

GIVEN = (
    "--model",
    "lenet5",
    "--dataset",
    "digits",
    "--bits",
    "4/4",
    "--hours",
    "0.5",
    "--epochs",
    "2",
    "--at-once",
    "2",
)


def test_it_writes_a_study_that_fits_the_hours(tune_qat: Any) -> None:
    done = tune_qat("init", "mine.toml", *GIVEN, "--option", "train_limit=256")
    assert done.code == 0 and "s an epoch, timed here" in done.out and "about " in done.out, done
    study = Study.load("mine.toml")
    assert study.workload.options == {"train_limit": 256} and study.training.epochs == 2
    text = Path("mine.toml").read_text()
    assert (
        text.startswith("# Which optimizer for LSQ on lenet5 and digits, at 4/4?") and " min with 2 at once, " in text
    )
    assert done.out.splitlines()[-2:] == ["tune-qat check mine.toml", "tune-qat run mine.toml"]


def test_its_commands_name_the_folders_again_and_the_file_names_none(tune_qat: Any) -> None:
    Path("my data").mkdir()
    done = tune_qat("init", "mine.toml", *GIVEN, "--data-dir", "my data", "--code", ".", "--option", "train_limit=256")
    assert done.out.splitlines()[-1] == "tune-qat run mine.toml --data-dir 'my data' --code .", done
    assert "my data" not in Path("mine.toml").read_text()


def test_recorded_trials_tell_the_time(tune_qat: Any) -> None:
    rows = [filled("trials", trial_key=key, workload="lenet5-digits", device_s=30.0, epochs_run=3) for key in "ab"]
    write(Path("results"), "earlier", "trials", "compact-1", *rows)
    done = tune_qat("init", "mine.toml", *GIVEN[:-6], "--hours", "24")
    assert "at 10 s an epoch, as the trials of results took" in done.out, done


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ("mine.toml", "--model", "lenet5"),
            "init needs --dataset, --bits, --hours, as in: tune-qat init FILE --dataset",
        ),
        (("mine.txt", *GIVEN), "mine.txt is no TOML file"),
        (("there.toml", *GIVEN), "there.toml is there already"),
        (("mine.toml", *GIVEN, "--bits", "4,4"), "--bits takes pairs of weights/activations"),
        (("mine.toml", *GIVEN, "--model", "espcn"), "Model 'espcn' is made for super-resolution"),
        (("mine.toml", *GIVEN, "--optimizers", "adm"), "Did you mean 'adam'?"),
        (("mine.toml", *GIVEN, "--hours", "nan"), "--hours takes a number above 0"),
        (("mine.toml", *GIVEN, "--dataset", "mnist"), "The data of dataset 'mnist' was not found"),
        (("mine.toml", *GIVEN, "--hours", "0.0001"), "The smallest study of these choices takes"),
    ],
)
def test_a_mistake_is_one_message_and_writes_nothing(given: tuple[str, ...], said: str, tune_qat: Any) -> None:
    Path("there.toml").write_text("note = 'mine'")
    done = tune_qat("init", *given)
    assert done.code in (1, 2) and said in done.err and "Traceback" not in done.err, done
    assert [name for name in os.listdir() if name.endswith(("toml", "txt"))] == ["there.toml"]
    assert Path("there.toml").read_text() == "note = 'mine'"
