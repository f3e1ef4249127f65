"""The table of timm's networks: what converts, and a record that the command goes on from."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import timm_convert, timm_table
from benchmarks.timm_convert import Row, convert
from benchmarks.timm_table import append, recorded, summary

TINY = ("test_convnext", "test_efficientnet", "test_resnet", "test_vit")
"""Networks of timm for tests, of the most used families."""


@pytest.mark.parametrize("name", TINY)
def test_a_small_network_of_a_family_converts(name: str) -> None:
    row = convert(name)
    assert row.converts, f"{row.reason}: {row.detail}"
    assert row.share is not None and row.share > timm_convert.ENOUGH and row.layers > 4


def test_what_does_not_convert_says_at_which_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a value is not finite: inf")

    monkeypatch.setattr(timm_convert, "calibrate", broken)
    row = convert("test_resnet")
    assert (row.converts, row.reason) == (False, "calibrate: values that are not finite")
    assert row.detail == "a value is not finite: inf"
    monkeypatch.setattr(timm_convert, "LARGEST", 1000)
    assert convert("test_resnet").reason == timm_convert.TOO_LARGE


ROW = Row(name="a", family="resnet", parameters=3, side=96, converts=True, share=0.99, layers=5, seconds=1.5)


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    refused = replace(ROW, name="b", converts=False, reason='build: "x", y', share=None)
    for row in (ROW, refused, replace(ROW, name="c", timm_version="0.1")):
        append(path, row)
    with path.open("a") as file:
        file.write("d,resnet,3")  # a process that died as it wrote
    assert recorded(path) == {"a": ROW, "b": refused}


def test_the_summary_counts_by_reason() -> None:
    rows = [ROW, *(replace(ROW, name=name, converts=False, reason="build: TypeError") for name in "bc")]
    rows += [replace(ROW, name="d", converts=False, reason=timm_convert.TOO_LARGE)]
    said = summary(rows)
    assert "1 of 3 convert (33.3%; bar 80%)" in said and "1 more have too many parameters" in said
    assert "    2  build: TypeError, as b" in said


@pytest.mark.slow
def test_a_name_that_ends_its_process_has_a_line_and_the_next_one_goes_on() -> None:
    worker = timm_table.Worker(seconds=60.0, gigabytes=4.0)
    try:
        assert worker.convert("test_resnet").converts
        worker._seconds = 0.0
        late = worker.convert("test_vit")
        assert (late.converts, late.reason) == (False, "more than 0 s")
        worker._seconds = 60.0
        assert worker.convert("test_vit").converts
    finally:
        worker.end()
