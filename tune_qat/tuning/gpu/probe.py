"""Measures the memory of a study's largest trials on a device, by a few steps of each."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tune_qat.config import EAGER, TrialConfig, UsageError
from tune_qat.study import Study
from tune_qat.training.checkpoints import save_checkpoint
from tune_qat.training.compiler import set_precision
from tune_qat.training.device import peak_memory_mb, release_memory
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload
from tune_qat.tuning.cluster.connect import nodes
from tune_qat.tuning.gpu.packing import Need, cpus_per_gpu, fraction, pack, sentence, too_large
from tune_qat.tuning.process_failures import is_out_of_memory

STEPS = 3
"""Optimizers make their state in the first; the peak is in the second."""


def share_of_gpu(study: Study, work: Workload, *, backend: str, cpus: float, device: str = "cuda") -> tuple[float, str]:
    """GPUs of each trial on the connected cluster, and a sentence that says what was measured.

    A task that holds one GPU trains the largest trials for a few steps. GPUs are taken to be alike.

    Args:
        study: whose trials.
        work: its data and model.
        backend: what runs training steps.
        cpus: of each trial.
        device: what the task measures on.

    Raises:
        TuneQatError: not even one trial fits, or there is no node to measure on.
    """
    import ray

    alive = nodes()
    if not any(node.get("CPU") for node in alive):
        raise UsageError(
            "--gpus-per-trial auto measures on a GPU of the cluster, which has no node for trials yet. "
            "Start one, or give a number such as --gpus-per-trial 0.25."
        )
    shared = cpus_per_gpu(alive)
    if not shared:
        return 0.0, "no node has a GPU, so trials hold none"
    # Its process ends with it, and gives the memory back.
    task: Any = ray.remote(num_gpus=1, num_cpus=min(cpus, shared), max_calls=1, max_retries=0)(measure)
    found = ray.get(task.remote(study, work, device, backend))
    if isinstance(found, str):
        raise too_large(found, "it ran out of memory")
    trials = pack(found, cpus_per_gpu=shared, cpus_per_trial=cpus)
    return fraction(trials), sentence(found, trials)


def measure(study: Study, work: Workload, device: str, backend: str = EAGER) -> Need | str:
    """What the largest trial takes on this device; the trial in words where it runs out of memory.

    On a CPU it is the resident memory of this process, of the host's.
    """
    set_precision(device)
    task = work.task(device)
    needs = []
    try:
        for config in largest(study):
            needs.append(_measured(config, work, task, device, backend))
        # The optimizer adds its state, whatever the scheme: on the heaviest scheme each of them.
        heaviest = max(needs, key=lambda found: found[0])[1]
        for config in _optimizers(study, heaviest):
            needs.append(_measured(config, work, task, device, backend))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _words(config)
    peak, config = max(needs, key=lambda found: found[0])
    return Need(peak_mb=peak, trial=_words(config), **_device(device))


def largest(study: Study) -> list[TrialConfig]:
    """The pretrained start, and each scheme with one optimizer at the largest batch size."""
    size = study.space.batch_size.high
    configs = {
        scheme: replace(study.default_config(arm, arm.optimizers[0]), scheme=scheme, batch_size=size)
        for arm in study.arms()
        for scheme in arm.schemes
    }
    start = [study.pretrain_config()] if study.training.init == "pretrain" else []
    return [*start, *configs.values()]


def _optimizers(study: Study, like: TrialConfig) -> Iterator[TrialConfig]:
    for arm in study.arms():
        if like.scheme in arm.schemes:
            for optimizer in arm.optimizers:
                yield replace(study.default_config(arm, optimizer), scheme=like.scheme, batch_size=like.batch_size)


class _Few:
    """A task whose epoch has a few steps, and everything else as it is."""

    def __init__(self, task: Any, samples: int) -> None:
        self._task = task
        self.train_size = min(samples, task.train_size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


def _measured(config: TrialConfig, work: Workload, task: Any, device: str, backend: str) -> tuple[float, TrialConfig]:
    release_memory(device)
    few: Any = _Few(task, STEPS * config.batch_size)
    with tempfile.TemporaryDirectory(prefix="tune_qat-") as folder:
        start = Path(folder) / "start.pt"
        if config.distillation is not None:  # a teacher takes memory as well, whatever its weights
            save_checkpoint({"model": work.build_model(config.init_seed).state_dict()}, start)
        training = Training(
            config, work, device=device, init=start if start.exists() else None, task=few, backend=backend
        )
    next(training.epochs())
    return peak_memory_mb(device, reserved=True), config


def _device(device: str) -> dict[str, float]:
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info()
        # What is neither free nor tensors of this process: its context, and whatever else is on this GPU.
        return {"total_mb": total / 1e6, "context_mb": max(0.0, (total - free - torch.cuda.memory_reserved()) / 1e6)}
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return {"total_mb": int(lines[0].split()[1]) * 1024 / 1e6, "context_mb": 0.0}


def _words(config: TrialConfig) -> str:
    bits = f"{config.scheme.weight_bits}/{config.scheme.activation_bits}"
    return f"a trial of {config.optimizer} at {bits} bits and batch size {config.batch_size}"
