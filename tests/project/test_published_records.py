"""The published studies: their records, and what the page of results says of them."""

import re

import pytest

import analysis
from analysis.report.page import page
from benchmarks.results_table import FOLDER, STUDIES, results_table
from tune_qat.results.publishable import publishable
from tune_qat.results.reader import check_files, read_rows
from tune_qat.results.schema import TABLES
from tune_qat.study import Study


def test_the_page_of_results_has_the_table_of_the_records() -> None:
    assert results_table() in (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STUDIES)
def test_a_published_record_is_whole_and_of_the_bundled_study(name: str) -> None:
    record = FOLDER / name / "record"
    check_files(record)
    (row,) = read_rows(record, "studies")
    recorded, bundled = Study.model_validate_json(row["definition_json"]), Study.load(name)
    assert row["complete"] and row["prereg_hash"] == bundled.prereg_hash and recorded.note
    assert (recorded.workload, recorded.training, recorded.stages) == (
        bundled.workload, bundled.training, bundled.stages
    )  # fmt: skip
    for optimizer in bundled.space.optimizers:
        assert recorded.dimensions(optimizer) == bundled.dimensions(optimizer), optimizer
    budget = analysis.frame(record, "budget")
    for stage in ("default", "random", "search", "retrain"):
        assert (budget[f"ended_{stage}"] >= budget[f"planned_{stage}"]).all(), stage


@pytest.mark.slow
def test_the_page_of_a_published_record_says_first_what_was_cut() -> None:
    whole = page(FOLDER / "lenet5_mnist_small" / "record")
    assert "Study lenet5_mnist_small: lenet5_mnist cut to what two cores do" in whole.partition("<nav")[0]
    assert len(whole.encode()) < 8e6


@pytest.mark.parametrize("name", STUDIES)
def test_a_published_record_names_no_place_on_a_machine(name: str) -> None:
    for table in TABLES:
        rows = read_rows(FOLDER / name / "record", table)
        texts = {value for row in rows for value in row.values() if isinstance(value, str)}
        assert [text for text in texts if publishable(text) != text] == [], table
    said = (FOLDER / name / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"(?s)<script.*?</script>", "", said)
    assert not re.search(r"/(?:home|root|Users|tmp|var|mnt|srv|scratch)/\w", text)
