"""The section "Your data" of docs/own_model.md: what its function gives, and the table of options."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.helpers.own_code import forgetting_code, write_code
from tests.project.pages import ROOT, section_blocks, text_of
from tune_qat import data
from tune_qat.config.own_parts import allow
from tune_qat.data.table import of_arrays

PAGE = "docs/own_model.md"
forgotten = pytest.fixture(autouse=True)(forgetting_code)


def write(folder: Path, *texts: str) -> Path:
    """Each block as the file that its first line names."""
    return write_code(folder, {text.splitlines()[0].removeprefix("# "): text for text in texts})


def test_the_function_gives_data_with_the_options_beside_it(tmp_path: Path) -> None:
    (code,) = section_blocks(PAGE, "Your data", "python")
    (study,) = section_blocks(PAGE, "Your data", "toml")
    workload = tomllib.loads(study)["workload"]
    allow([write(tmp_path, code)])
    found = data.load(workload["dataset"], options=workload["options"])
    assert found.sizes == {"train": 400, "val": 50, "test": 100}
    assert found.options["noise"] == 0.7 and found.task().normalisation != ([0.0], [1.0])
    assert (found.model_input.shape, found.model_input.classes) == ((2,), 2)


def test_the_table_has_every_option_with_its_default() -> None:
    section = text_of(ROOT / PAGE).partition("\n## Your data\n")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+?)`? \|", section, re.MULTILINE))
    assert {name: str(value).lower() for name, value in of_arrays().items()} == {
        name: value.strip('"') for name, value in told.items()
    }
