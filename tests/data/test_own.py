"""A dataset that is a function of the user's: how it is found and called, and what it may give."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.own_data import CODE, NAME
from tests.helpers.own_code import forgetting_code, write_code
from tune_qat import data
from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.own_parts import allow

MORE = """
from tune_qat import data
from own_data import load


def where(data_dir, part=1):
    found = load(n=100 * part)
    found["test"] = found["test"][0] + (data_dir.name == "here"), found["test"][1]
    return found


def digits():
    return data.load("digits", options={"train_limit": 100})


def broken():
    return {}["key"]


def stubborn():
    raise data.UsageError("The file is not here.")
"""


@pytest.fixture(autouse=True)
def code(tmp_path: Path) -> Iterator[None]:
    forgotten = forgetting_code()
    next(forgotten)
    allow([write_code(tmp_path / "code", {"own_data.py": CODE, "more.py": MORE})])
    yield
    next(forgotten, None)


def test_options_that_are_not_ours_are_its_arguments() -> None:
    found = data.load(NAME, options={"n": 80, "classes": 4, "train_limit": 40})
    assert found.sizes == {"train": 40, "val": 6, "test": 20} and found.model_input.classes == 4
    assert {"n": 80, "classes": 4, "train_limit": 40}.items() <= found.options.items()
    assert (
        found.fingerprint != data.load(NAME, options={"n": 80, "classes": 4, "train_limit": 40, "seed": 1}).fingerprint
    )


def test_the_data_folder_is_an_argument_and_in_no_option(tmp_path: Path) -> None:
    here, there = (data.load("more:where", data_dir=tmp_path / name) for name in ("here", "there"))
    assert here.options == there.options and here.fingerprint != there.fingerprint
    assert not np.array_equal(here.splits["test"].inputs, there.splits["test"].inputs)  # type: ignore[union-attr]


def test_it_may_give_a_dataset_of_ours() -> None:
    found, plain = data.load("more:digits"), data.load("digits", options={"train_limit": 100})
    assert (found.fingerprint, found.sizes, found.spec.name) == (plain.fingerprint, plain.sizes, "more:digits")
    assert found.task().normalisation == plain.task().normalisation
    with pytest.raises(UsageError, match="gives a Dataset for classification .* but the study's task is regression"):
        data.load("more:digits", task="regression")


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        (NAME, {"clases": 3}, r"cannot be called with the options \['clases'\]: got an unexpected keyword argument"),
        (NAME, {"train_limit": "all"}, "'train_limit' of dataset 'own_data:load' must be a whole number"),
        ("more:broken", {}, r"Dataset 'more:broken' failed: KeyError: 'key' \(.*more.py, line 17\)"),
        ("more:stubborn", {}, "The file is not here."),
        ("more:nothing", {}, "defines no 'nothing'"),
        ("more:digits", {"normalise": True}, "'normalise' of dataset 'more:digits' is for arrays and torch datasets"),
    ],
)
def test_what_goes_wrong_is_one_message(name: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(TuneQatError, match=text):
        data.load(name, options=options)


def test_a_study_names_it_without_an_import() -> None:
    allow([])
    spec = data.get_spec("gone.package:load", "gone.tasks:Task")
    assert (spec.task, spec.metric) == ("gone.tasks:Task", "")
    assert data.resolve_options(spec, {"mine": [1, 2]})["mine"] == [1, 2]
    assert data.known_input("gone.package:load", {}) is None
    with pytest.raises(UsageError, match="Option 'mine' of dataset .* must be text, a number, true or false"):
        data.resolve_options(spec, {"mine": Path("x")})
