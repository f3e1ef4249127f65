"""The GPU's command without a GPU: that it asks for one, that it needs no Ray, and that its numerics can fail."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_numerics
from tune_qat.config import EAGER

ROOT = Path(__file__).parent.parent.parent
WITHOUT_ENGINE = """
import sys
for name in ("ray", "optuna", "duckdb", "psutil", "brevitas", "pydantic", "pyarrow"):
    sys.modules[name] = None  # importing it is an error now
sys.argv = ["gpu.py"]
from benchmarks import gpu
gpu.main()
"""


@pytest.mark.slow
def test_without_a_gpu_it_ends_with_one_sentence_and_needs_no_engine_to_say_so() -> None:
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", WITHOUT_ENGINE]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=hidden, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("No GPU: ") and "Traceback" not in done.stderr


@pytest.mark.slow
def test_packing_trials_asks_for_a_gpu_as_well() -> None:
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "benchmarks.gpu_packing"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=hidden, timeout=120)
    assert done.returncode == 1 and done.stderr.startswith("No GPU: ")


@pytest.mark.parametrize("one", gpu_numerics.SUMS, ids=lambda one: one.name)
def test_sums_of_codes_are_exact_on_a_cpu(one: gpu_numerics.Sum) -> None:
    assert gpu_numerics.wrong_sums(one, "cpu", compiled=False) == 0


def test_sums_that_are_rounded_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = gpu_numerics.device_sums
    # What sums in bfloat16 would be.
    monkeypatch.setattr(gpu_numerics, "device_sums", lambda *args: exact(*args).to(torch.bfloat16))
    assert gpu_numerics.wrong_sums(gpu_numerics.SUMS[0], "cpu", compiled=False) > 0


def test_sums_beyond_float32_are_refused() -> None:
    with pytest.raises(ValueError, match="beyond the integers"):
        gpu_numerics.exact_sums(replace(gpu_numerics.SUMS[0], weights=2047))


def test_a_network_of_the_measurements_is_trained() -> None:
    training = gpu.QUICK.training(EAGER, "cpu", learning_rate=0.1)
    next(training.epochs())
    assert training.step == gpu.QUICK.steps


def test_a_cpu_does_not_multiply_in_tf32() -> None:
    assert gpu_numerics.rounding_of_fractions("cpu") < 1e-5  # float32 with sums of 512 terms; TF32 gives 1e-4
