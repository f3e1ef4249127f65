"""`tune-qat check`: what it shows of a study, and that a mistake is found before any trial."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import tune_qat as tune_qat  # the fixture
from tests.helpers.runs import study_file
from tests.helpers.studies import tiny_study
from tune_qat.tuning.cluster.doctor import Line


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor has tests of its own."""
    lines = [Line(kind="ok", name="ray", text="starts here"), Line(kind="FAIL", name="disk", text="is full")]
    monkeypatch.setattr("tune_qat.tuning.cluster.doctor.examine", lambda **asked: iter(lines))


@pytest.mark.usefixtures("without_ray")
def test_it_shows_data_layers_time_memory_and_what_the_doctor_says(tmp_path: Path, tune_qat: Any) -> None:
    done = tune_qat("check", str(study_file(tmp_path, tiny_study())), "--results", str(tmp_path / "results"))
    assert done.code == 1, done.err  # a line failed
    for said in (
        "data: digits, ",
        "layers of lenet5 at w4a4 (lsq):",
        "conv2  Conv2d  16x6x5x5",
        "0.0% of them outside of quantized layers",
        " ms a step of 32, ",
        " min one after the other, ",
        "memory: a trial of ",
        "ok    ray",
        "FAIL  disk",
    ):
        assert said in done.out, said
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 4096}}}, "Batch size 4096 is larger"),
        ({"quantization": {"bits": [[4, 4]], "layers": {"conv9": [8, 8]}}}, "Did you mean 'conv"),
    ],
)
def test_a_mistake_is_one_message(tmp_path: Path, tune_qat: Any, changes: dict[str, Any], said: str) -> None:
    done = tune_qat("check", str(study_file(tmp_path, tiny_study(**changes))), "--results", str(tmp_path / "results"))
    assert done.code in (1, 2) and said in done.err and "Traceback" not in done.err
