from dataclasses import fields

import pyarrow as pa
import pytest

from tune_qat.config import EpochResult, LayerResult
from tune_qat.results.schema import KEYS, REFERENCE, TABLES, required


def test_epochs_are_the_fields_of_epoch_result() -> None:
    names = [field.name for field in fields(EpochResult) if field.name != "layers"]
    assert TABLES["epochs"].names == ["trial_key", "attempt", *names]


def test_layers_are_the_fields_of_layer_result() -> None:
    names = [field.name for field in fields(LayerResult)]
    assert TABLES["layers"].names == ["trial_key", "attempt", "epoch", *names]


@pytest.mark.parametrize(("table", "result"), [("epochs", EpochResult), ("layers", LayerResult)])
def test_what_may_be_none_may_be_null_and_nothing_else(table: str, result: type) -> None:
    for field in fields(result):
        if field.name != "layers":
            optional = type(None) in getattr(field.type, "__args__", ())
            assert required(TABLES[table].field(field.name)) == (not optional), field.name
    assert not required(TABLES["epochs"].field("val_metric")) and required(TABLES["epochs"].field("step"))
    assert TABLES["epochs"].field("test_n").type == pa.int64()


@pytest.mark.parametrize("table", TABLES)
def test_keys_are_columns_that_must_have_a_value(table: str) -> None:
    for name in KEYS[table]:
        assert not TABLES[table].field(name).nullable


@pytest.mark.parametrize("table", [*TABLES, "reference"])
def test_the_id_of_a_study_is_in_the_path_alone(table: str) -> None:
    schema = TABLES.get(table, REFERENCE)
    assert "study_id" not in schema.names
    assert len(set(schema.names)) == len(schema.names)


@pytest.mark.parametrize("table", ["studies", "arms", "trials", "decisions"])
def test_every_column_says_what_it_means(table: str) -> None:
    for field in TABLES[table]:
        assert field.metadata[b"description"], field.name
