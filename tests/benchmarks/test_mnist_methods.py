"""The table of MNIST: what it trains, and that a finished trial is not trained again."""

import json
from pathlib import Path

import pytest

from benchmarks import mnist_methods
from tune_qat.quantizers import QUANTIZERS


def test_every_method_is_there_and_every_published_line() -> None:
    rows = mnist_methods.rows()
    assert {row.config.scheme.quantizer for row in rows} == {*QUANTIZERS, "none"}
    assert sum(row.published is not None for row in rows) == 24
    assert len({row.config.config_id for row in rows}) == len(rows) - 1  # QNN's and TWN's 32/32 are one and the same
    decays = {row.config.optimizer_options["weight_decay"] for row in rows if row.method == "Baseline"}
    assert decays == {1e-4}
    assert all(row.config.model == "lenet5_xnor" for row in rows if row.config.scheme.quantizer in ("qnn", "xnor"))


def test_what_is_there_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_methods, "CACHE", tmp_path)
    row = mnist_methods.rows()[3]
    known = {"test": 0.97, "status": "completed", "seconds": 60.0}
    (tmp_path / f"{row.config.config_id}-0.json").write_text(json.dumps(known))
    assert mnist_methods.run(row, "no such folder") == known
    page = mnist_methods.text([(row, known)], ["mnist_methods.py", "--data-dir", "somewhere"])
    assert "97.00" in page and "99.55" in page and "--data-dir DATA" in page and "somewhere" not in page
