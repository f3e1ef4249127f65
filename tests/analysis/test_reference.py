from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import analysis
from tests.helpers.rows import filled, write
from tune_qat import models, optimizers, quantizers
from tune_qat.data.table import DATASETS
from tune_qat.results.schema import REFERENCE

BENCHMARK = "source = 'QAT Optimizer Benchmark (LSQ)'"
WIKI = "source LIKE 'Quantization Results%'"
LSQ_PLUS = "source LIKE 'LSQ+%'"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    results = tmp_path_factory.mktemp("results")
    write(results, "s", "studies", "study", filled("studies"))
    with analysis.open(results) as connection:
        return connection.sql("FROM reference").to_arrow_table()


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    write(tmp_path, "s", "studies", "study", filled("studies"))
    with analysis.open(tmp_path) as connection:
        yield lambda query: connection.execute(query).fetchall()


def test_columns_have_the_types_of_the_schema(table: pa.Table) -> None:
    assert table.column_names == REFERENCE.names
    for field in REFERENCE:
        assert table.schema.field(field.name).type == field.type, field.name
        assert field.nullable or table[field.name].null_count == 0, field.name


def test_no_cell_is_an_empty_text_or_nan(table: pa.Table) -> None:
    for row in table.to_pylist():
        assert "" not in row.values()
        assert all(value == value for value in row.values())


def test_rows_of_each_source(ask: Any) -> None:
    assert ask(f"SELECT count(*) FILTER ({BENCHMARK}), count(*) FILTER ({WIKI}), count(*) FILTER ({LSQ_PLUS}), "
               "count(*) FROM reference") == [(20, 144, 57, 221)]  # fmt: skip


def test_names_are_ours_or_none(table: pa.Table) -> None:
    ours = {f"{model}-{dataset}" for model in models.MODELS for dataset in DATASETS}
    known = {
        "optimizer": set(optimizers.OPTIMIZERS),
        "quantizer": {*quantizers.QUANTIZERS, "none"},
        "workload": ours,
        "metric": {"accuracy", "psnr"},
        "unit": {"percent", "dB"},
        "statistic": {"best", "mean", "unknown"},
    }
    for column, names in known.items():
        assert set(table[column].to_pylist()) - {None} <= names, column


def test_optimizers_of_the_benchmark_are_all_of_ours(ask: Any) -> None:
    found = ask(f"SELECT workload, list(optimizer ORDER BY value DESC) FROM reference WHERE {BENCHMARK} "
                "AND value > 13 GROUP BY workload")  # fmt: skip
    assert found == [("espcn-div2k", found[0][1])]
    assert found[0][1][:6] == ["adamw", "adam", "rmsprop", "adagrad", "lion", "nesterov"]
    assert ask(f"SELECT count(DISTINCT optimizer), count(DISTINCT workload) FROM reference WHERE {BENCHMARK}") == [
        (10, 2)
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("workload = 'espcn-div2k' AND optimizer = 'sgd_clip'", (13.1684, "dB", "unknown", None)),
        ("workload = 'espcn-div2k' AND optimizer = 'sgd_agc'", (6.4209, "dB", "unknown", None)),
        ("workload = 'resnet18-tsinghua_dogs' AND optimizer = 'adagrad'", (4.615, "percent", "unknown", None)),
        ("dataset = 'MNIST' AND method = 'XNOR-Net' AND activation_bits = 1", (99.37, "percent", "best", None)),
        ("dataset = 'ImageNet' AND model = 'AlexNet' AND method = 'TTQ'", (43.17, "percent", "best", 68.07)),
        ("model = 'MixNet-S' AND method LIKE 'config 4%' AND weight_bits = 3", (66.1, "percent", "best", None)),
        ("source_table = '5' AND method LIKE '%LSQ+ init' AND weight_bits = 2", (46.8, "percent", "mean", None)),
    ],
)
def test_cells(ask: Any, where: str, expected: tuple[Any, ...]) -> None:
    assert ask(f"SELECT value, unit, statistic, top5 FROM reference WHERE {where}") == [expected]


def test_top5_is_kept(ask: Any) -> None:
    # 24 rows of AlexNet and 24 of ResNet-18, one of them without a result.
    assert ask(f"SELECT count(top5) FROM reference WHERE {WIKI}") == [(47,)]
    where = "dataset = 'ImageNet' AND model = 'ResNet-18' AND method = 'DoReFa-Net' AND weight_bits = 4"
    asked = f"SELECT learning_rate, batch_size, value, top5 FROM reference WHERE {where}"
    assert ask(asked) == [(0.001, 48, 61.11, 83.21)]


def test_rows_without_a_result_are_kept_and_null(ask: Any) -> None:
    columns = "optimizer, learning_rate, batch_size, value, top5, statistic"
    found = ask(f"SELECT {columns}, note FROM reference WHERE {WIKI} AND value IS NULL")
    assert len(found) == 7
    assert all(row[:6] == (None,) * 6 and row[6].startswith("no result published") for row in found)


def test_what_is_not_adam_is_heavy_ball_momentum(ask: Any) -> None:
    found = ask(f"SELECT optimizer, note FROM reference WHERE {WIKI} AND value IS NOT NULL AND optimizer IS DISTINCT "
                "FROM 'adam'")  # fmt: skip
    assert len(found) == 31
    assert all(optimizer == "sgd_momentum" and "SGD(momentum=0.9" in note for optimizer, note in found)


def test_only_the_stability_table_has_means_and_spreads(ask: Any) -> None:
    columns = "source_table, count(*), count(plus_minus), count(n)"
    asked = f"SELECT {columns} FROM reference WHERE {LSQ_PLUS} AND statistic = 'mean' GROUP BY 1"
    assert ask(asked) == [("5", 6, 6, 6)]
    assert ask("SELECT count(*) FROM reference WHERE plus_minus IS NOT NULL") == [(6,)]


def test_numbers_that_a_source_trained_itself_have_its_recipe(ask: Any) -> None:
    without = (
        "SELECT DISTINCT method, weight_bits FROM reference WHERE recipe IS NULL AND value IS NOT NULL ORDER BY ALL"
    )
    quoted = [(method, bits) for method in ("DSQ", "PACT", "QIL") for bits in (2, 3, 4)]
    assert ask(without) == [*quoted, ("full precision", 32)]
    asked = f"SELECT DISTINCT recipe FROM reference WHERE {WIKI} AND dataset = 'MNIST' AND optimizer = 'adam'"
    assert ask(asked) == [
        (
            "Adam(weight_decay=0); 100 epochs, learning rate times 0.1 every 20; "
            "optimizer and learning rate chosen per row",
        )
    ]
