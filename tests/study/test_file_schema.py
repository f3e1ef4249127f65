"""The JSON schema of a study file, by the library that editors' own follow."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from tests.cli.typed import tune_qat as tune_qat
from tune_qat.study.file import bundled
from tune_qat.study.file_schema import file_schema, section_of

SCHEMA = file_schema()
CHECK = jsonschema.Draft202012Validator(SCHEMA)
QUICKSTART = tomllib.loads(bundled()["quickstart"].read_text(encoding="utf-8"))


def changed(**sections: Mapping[str, Any]) -> dict[str, Any]:
    return {**QUICKSTART, **{name: {**QUICKSTART.get(name, {}), **keys} for name, keys in sections.items()}}


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_it_takes_every_bundled_study() -> None:
    for name, path in bundled().items():
        text = path.read_text(encoding="utf-8")
        assert "#:schema study.schema.json" in text.split("\n\n")[0], name
        CHECK.validate(tomllib.loads(text))


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (changed(training={"epoch": 3}), "'epoch' was unexpected"),
        (changed(training={"epochs": 0}), "0 is less than the minimum of 1"),
        (changed(space={"optimizers": ["adma"]}), "'adma' is not one of"),
        (changed(quantization={"quantizer": "lsqq"}), "'lsqq' is not one of"),
        (changed(quantization={"layers": {"fc": "floating"}}), "is not valid under any of the given schemas"),
        ({name: part for name, part in QUICKSTART.items() if name != "space"}, "'space' is a required property"),
        ({**QUICKSTART, "space": {"optimizers": ["adam"]}}, "'batch_size' is a required property"),
        ({**QUICKSTART, "spaces": {}}, "'spaces' was unexpected"),
        ({"extend": "quickstart", "traning": {}}, "'traning' was unexpected"),
    ],
)
def test_it_refuses_what_the_reader_refuses(study: dict[str, Any], said: str) -> None:
    assert said in " ".join(error.message for error in CHECK.iter_errors(study))


def test_a_file_that_extends_another_needs_nothing_else() -> None:
    CHECK.validate({"extend": "quickstart", "space": {"batch_size": {"low": 8}}})


def test_every_key_is_documented() -> None:
    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        for name, key in part["properties"].items():
            assert key.get("description") or SCHEMA["$defs"][section_of(key)]["description"], name


def test_query_prints_the_columns_of_the_record(tune_qat: Any) -> None:
    said = " ".join(tune_qat("query", "--tables").out.split())
    assert "epochs, a row for each trial_key, attempt, epoch" in said and "grad_norm_max (double): Largest" in said


def test_the_command_prints_it(tune_qat: Any) -> None:
    assert json.loads(tune_qat("schema").out) == SCHEMA
