"""What models cost, in the record of a study: of one that runs, and of one that was recorded before."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.studies import tiny_study
from tune_qat.cli import main
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.tuning.record import Record
from tune_qat.tuning.run import checked


def files(results: Path) -> dict[Path, bytes]:
    return {path.relative_to(results): path.read_bytes() for path in results.rglob("*.parquet")}


def command(monkeypatch: pytest.MonkeyPatch, *typed: str) -> int:
    monkeypatch.setattr("sys.argv", ["tune-qat", *typed])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_costs_are_recorded_and_worked_out_for_earlier_records(
    ended: tuple[Study, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ended[1], results := tmp_path / "results")
    recorded = read_rows(results, "costs")
    assert {(row["method"], row["weight_bits"]) for row in recorded} == {("lsq", 4)}
    assert sum(row["macs"] for row in recorded) == 416_520

    (costs,) = (results / "costs").rglob("*.parquet")
    before, made = files(results), costs.read_bytes()
    costs.unlink()  # as in a record from before there were costs
    assert command(monkeypatch, "cost", str(results)) == 0
    said = capsys.readouterr()
    assert "study tiny: its costs are in the record now" in said.err and "12349440" in said.out
    assert files(results) == before and costs.read_bytes() == made, "nothing else was written"

    assert command(monkeypatch, "cost", str(results)) == 0
    assert "now" not in capsys.readouterr().err, "known already"


def record_of(study: Study, results: Path) -> Record:
    return Record(results, study, checked(study, None), sign=1)


def test_a_norm_that_has_seen_no_batch_has_costs(tmp_path: Path) -> None:
    """One sample has no variance where an image has shrunk to a pixel, or is a row of features."""
    study = tiny_study(workload={"model": "lenet5_bn", "dataset": "digits"}, quantization={"bits": [[4, 4]]})
    assert record_of(study, tmp_path).costs() is None
    rows = read_rows(tmp_path, "costs")
    assert {row["type"] for row in rows} == {"Conv2d", "Linear", "BatchNorm2d", "BatchNorm1d"}
    assert sum(row["macs"] for row in rows) == 416_520


def test_a_model_whose_costs_cannot_be_worked_out_stops_no_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no kernel for this\nand more")

    monkeypatch.setattr("tune_qat.quantization.cost.count", fails)
    record = record_of(tiny_study(quantization={"bits": [[4, 4]]}), tmp_path)
    assert record.costs() == "what its layers cost is not recorded: no kernel for this"
    assert not (tmp_path / "costs").exists()
