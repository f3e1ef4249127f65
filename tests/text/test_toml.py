"""Whatever is written is read back by the standard library as the same values."""

import tomllib
from typing import Any

import pytest

from tune_qat.study import Study
from tune_qat.study.file import bundled
from tune_qat.text.toml import toml_text


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "a", "seed": 3, "rate": 1e-05, "large": 1e22, "whole": 2.0, "flag": True, "off": False},
        {"text": 'a "quote", a \\ and a \n line, a tab \t, DEL \x7f, NUL \x00, ä 😀'},
        {"section": {"layers": {"layer1.0.conv": [8, 8], "": [1, 2]}, "2": 0.25}},
        {"section": {"empty": {}, "none": [], "nested": {"a": {"b": {"c": 1}, "d": 2}, "e": {}}}},
        {"section": {"methods": [{"name": "one", "options": {"per_channel": True}}, {"bits": [[4, 4]]}]}},
        {"section": {"long": [f"optimizer_{number}" for number in range(30)]}, "top": {"inner": [[32, 32], [4, 4]]}},
    ],
)  # fmt: skip
def test_reads_back_as_written(values: dict[str, Any]) -> None:
    read = tomllib.loads(toml_text(values))
    assert read == values
    assert repr(sorted(map(repr, read.items()))) == repr(sorted(map(repr, values.items()))), "types are the same, too"


def test_every_bundled_study_reads_back() -> None:
    for name in bundled():
        values = Study.load(name).model_dump(exclude_none=True)
        assert tomllib.loads(toml_text(values)) == values, name


def test_what_toml_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="a NoneType cannot be written"):
        toml_text({"nothing": None})


def test_lines_stay_short() -> None:
    text = toml_text(Study.load("quickstart").model_dump(exclude_defaults=True))
    assert max(map(len, text.splitlines())) <= 100
    assert "bits = [[32, 32], [4, 4]]\n" in text
