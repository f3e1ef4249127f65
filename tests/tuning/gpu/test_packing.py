"""Trials that share a GPU: how many fit, what each may take, and the measurement, on the memory of a CPU."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.helpers.runs import command, study_file
from tests.helpers.studies import tiny_study
from tune_qat.config import TuneQatError, UsageError
from tune_qat.training import workload
from tune_qat.tuning.cluster import connect as cluster
from tune_qat.tuning.cluster.connect import resources, room
from tune_qat.tuning.gpu import memory_share as gpu_share
from tune_qat.tuning.gpu import probe
from tune_qat.tuning.gpu.memory_share import CONTEXT_MB, memory_share, share
from tune_qat.tuning.gpu.packing import Need, cpus_per_gpu, fraction, pack, sentence

NEED = Need(peak_mb=4_400.0, context_mb=600.0, total_mb=80_000.0, trial="a trial of adam")


@pytest.mark.parametrize(
    ("need", "cpus", "of_a_trial", "trials"),
    [
        (NEED, 32, 1, 14),  # 72,000 MB of 80,000 for 5,000 each
        (NEED, 8, 1, 8),
        (NEED, 8, 2, 4),
        (NEED, 8, 16, 1),
        (NEED, 0.6, 0.2, 3),
        # Nearly all of it: no room for the reserve, but for one.
        (replace(NEED, peak_mb=79_000.0), 32, 1, 1),
    ],
)
def test_as_many_trials_share_a_gpu_as_memory_and_cpus_allow(
    need: Need, cpus: float, of_a_trial: float, trials: int
) -> None:
    assert pack(need, cpus_per_gpu=cpus, cpus_per_trial=of_a_trial) == trials


def test_a_trial_that_does_not_fit_alone_is_refused_with_what_to_do() -> None:
    with pytest.raises(TuneQatError, match=r"a trial of adam does not fit.*80,100 MB.*80,000 MB.*batch_size\.high=64"):
        pack(replace(NEED, peak_mb=79_500.0), cpus_per_gpu=8, cpus_per_trial=1)


def test_fractions_are_what_ray_can_count_and_as_many_fit() -> None:
    for trials in range(1, 65):
        held = fraction(trials)
        assert held * trials <= 1 and round(held * 10_000) == pytest.approx(held * 10_000), trials
        assert cluster._trials_on({"CPU": 64.0, "GPU": 1.0}, 1.0, held) == trials


def test_the_sentence_says_what_was_measured_and_chosen() -> None:
    assert sentence(NEED, 8) == (
        "8 trials share a GPU (--gpus-per-trial 0.125): a trial of adam takes 5,000 MB of its 80,000 MB"
    )


def test_cpus_of_a_gpu_are_those_of_the_node_with_the_fewest() -> None:
    nodes = [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 12.0, "GPU": 2.0}, {"CPU": 1.0}]
    assert cpus_per_gpu(nodes) == 6.0
    assert cpus_per_gpu([{"CPU": 4.0}]) == 0.0


def on(monkeypatch: pytest.MonkeyPatch, *nodes: dict[str, float]) -> None:
    monkeypatch.setattr(cluster, "nodes", lambda: list(nodes))


def test_a_share_lies_on_one_gpu_and_whole_gpus_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, {"CPU": 64.0, "GPU": 2.0})
    assert room(1.0, 0.4) == 4, "two on each GPU, not five on both"
    assert (room(1.0, 1.0), room(1.0, 2.0), room(64.0, 0.1), room(1.0, 0.0)) == (2, 1, 1, 64)
    with pytest.raises(UsageError, match=r"must be a whole number above 1, but got 1\.5"):
        resources(cpus=1.0, gpus=1.5, concurrent=None)


def test_a_limit_above_the_room_counts_where_nodes_may_join(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, {"CPU": 4.0})
    assert resources(cpus=1.0, gpus=0.0, concurrent=None, grows=True).limit is None
    assert resources(cpus=1.0, gpus=0.0, concurrent=64, grows=True).limit == 64
    assert resources(cpus=1.0, gpus=0.0, concurrent=64).limit == 4
    assert resources(cpus=1.0, gpus=0.0, concurrent=3).concurrent == 3
    on(monkeypatch, {})
    waiting = resources(cpus=8.0, gpus=1.0, concurrent=5, grows=True)
    assert (waiting.room, waiting.concurrent) == (0, 5)
    with pytest.raises(UsageError, match="--max-concurrent N"):
        resources(cpus=1.0, gpus=0.0, concurrent=None, grows=True)


def test_shares_of_a_gpu_leave_room_for_the_contexts_of_all() -> None:
    total = 80_000.0
    for trials in (2, 4, 8):
        assert trials * (share(1 / trials, total) * total + CONTEXT_MB) == pytest.approx(total)
    assert share(0.001, total) == 0.0


def test_a_process_keeps_to_its_share_and_the_limit_goes_with_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[float] = []
    fake = SimpleNamespace(
        current_device=lambda: 0,
        get_device_properties=lambda device: SimpleNamespace(total_memory=80e9),
        set_per_process_memory_fraction=set_to.append,
    )
    monkeypatch.setattr(torch, "cuda", fake)
    for device, gpus in (("cuda", 1.0), ("cuda", 2.0), ("cpu", 0.5), ("cuda", 0.0)):
        with memory_share(device, gpus):
            assert not set_to
    with pytest.raises(ZeroDivisionError), memory_share("cuda", 0.25):
        assert set_to == [pytest.approx(0.25 - gpu_share.CONTEXT_MB / 80_000)]
        raise ZeroDivisionError
    assert set_to[1:] == [1.0]


@pytest.mark.slow
def test_the_largest_trials_are_measured() -> None:
    study = tiny_study()
    configs = probe.largest(study)
    # The start, 32/32 and 4/4 bits.
    assert [config.batch_size for config in configs] == [32, 64, 64]
    assert {config.scheme for config in configs[1:]} == set(study.schemes)
    work = workload.load("lenet5", "digits", options={"train_limit": 128})
    need = probe.measure(study, work, "cpu")
    assert isinstance(need, Need)
    assert 0 < need.peak_mb < need.total_mb and need.context_mb == 0.0
    assert "batch size" in need.trial


LARGE = """
import os
import torch
torch.set_num_threads(1)  # threads do not survive a fork
from tests.helpers.studies import tiny_study
from tune_qat.training import workload
from tune_qat.tuning.gpu.probe import measure
work = workload.load("lenet5", "digits", options={})
for size in (16, 1024):
    study = tiny_study(
        workload={"model": "lenet5", "dataset": "digits"},
        pretrain=None,
        training={"epochs": 3, "init": "scratch"},
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": size}},
    )
    if not os.fork():  # what one process has taken and given back would hide what the next one takes
        print(measure(study, work, "cpu").peak_mb, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.slow
def test_a_larger_batch_takes_more() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    less, more = map(float, done.stdout.split())
    # 1,024 images of 28 x 28 through 6 and 16 channels of activations, kept for the way back: tens of MB.
    assert more > less + 20, done.stdout


def test_a_short_evaluation_answers_each_shape_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = workload.load("lenet5", "digits", options={"train_limit": 128}).task()
    monkeypatch.setattr(type(task), "evaluation_batch", 50)
    asked = list[torch.Size]()

    def predict(inputs: torch.Tensor) -> torch.Tensor:
        asked.append(inputs.shape)
        return torch.zeros(len(inputs), 10)

    few = probe.Few(task, 64)
    assert few.evaluate(predict, "val").n == task.evaluate(predict, "val").n
    shapes = {shape[0] for shape in asked}
    assert 50 in shapes and len(shapes) == 2 and len(asked) > 2 + len(shapes)
    assert few.calibrated is not task.calibrated, "its scores are none"


def test_a_probe_that_runs_out_of_memory_names_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    work = workload.load("lenet5", "digits", options={"train_limit": 128})

    class Large(torch.nn.Module):
        def forward(self, inputs: Any) -> Any:
            return torch.empty(1 << 60)  # more than any address space: the allocator really refuses

    monkeypatch.setattr(type(work), "build_model", lambda self, init_seed: Large()(None))
    assert probe.measure(tiny_study(), work, "cpu") == "a trial of adam at 32/32 bits and batch size 32"


@pytest.mark.slow
@pytest.mark.ray
def test_the_probe_runs_on_a_node_that_says_it_has_a_gpu() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("0.5; 2 trials share a GPU (--gpus-per-trial 0.5): a trial of "), done.stderr


PROBE = """
import ray
from tests.helpers.studies import tiny_study
from tune_qat.training import workload
from tune_qat.tuning.gpu.probe import share_of_gpu
work = workload.load("lenet5", "digits", options={"train_limit": 128})
ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
print(*share_of_gpu(tiny_study(), work, backend="eager", cpus=1.0, device="cpu"), sep="; ")
"""


def test_without_a_gpu_trials_hold_none_and_without_a_node_nothing_can_be_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing: Any = None
    monkeypatch.setattr(probe, "nodes", lambda: [{"CPU": 4.0}])
    assert probe.share_of_gpu(nothing, nothing, backend="eager", cpus=1.0) == (
        0.0,
        "no node has a GPU, so trials hold none",
    )
    monkeypatch.setattr(probe, "nodes", lambda: [{}])
    with pytest.raises(UsageError, match="no node for trials yet"):
        probe.share_of_gpu(nothing, nothing, backend="eager", cpus=1.0)


@pytest.mark.ray
@pytest.mark.slow
def test_a_trial_has_as_many_threads_as_cpus_and_libraries_beside_torch_as_well(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    study = tiny_study(
        workload={"model": "lenet5", "dataset": "digits", "options": {"train_limit": 64}},
        quantization={"bits": [[4, 4]]},
        training={"epochs": 1, "init": "scratch"},
        pretrain=None,
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 16}},
        stages={"search": 0, "retrain": 0},
    )
    typed = command(study_file(tmp_path, study), tmp_path / "results", "--cpus-per-trial", "2", kind="Tells")
    done = subprocess.run(typed, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # torch's own count, that of OpenMP for libraries that are loaded later, and that of Inductor's kernels.
    assert (tmp_path / "threads").read_text() == "2 2 2"
