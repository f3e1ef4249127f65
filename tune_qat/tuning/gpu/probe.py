"""Measurement of the memory that a study's largest trials take on a device, by a few steps of each."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from tune_qat.config import EAGER, TrialConfig, UsageError
from tune_qat.config.system import memory_bytes
from tune_qat.data.task import Evaluation
from tune_qat.study import Study
from tune_qat.study.mixed import stand_in
from tune_qat.training.checkpoints import save_checkpoint
from tune_qat.training.compiler import set_precision
from tune_qat.training.device import peak_memory_mb, release_memory
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload
from tune_qat.tuning.cluster.connect import nodes
from tune_qat.tuning.gpu.packing import Need, cpus_per_gpu, fraction, pack, sentence, too_large
from tune_qat.tuning.own_code import NO_CODE, OwnCode
from tune_qat.tuning.process_failures import is_out_of_memory

STEPS = 2
"""Steps of each trial: optimizers create their state in the first, and the peak is in the second."""


def share_of_gpu(
    study: Study, work: Workload, *, backend: str, cpus: float, device: str = "cuda", code: OwnCode = NO_CODE
) -> tuple[float, str]:
    """Return the GPUs of each trial on the connected cluster, and a sentence that says what was measured.

    A task that holds one GPU trains the largest trials for a few steps. All GPUs are assumed to be alike; `cpus` are
    those of each trial.

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
    # `max_calls`: the process ends with the task, and frees the memory.
    task: Any = ray.remote(num_gpus=1, num_cpus=min(cpus, shared), max_calls=1, max_retries=0)(measure)
    found = ray.get(task.remote(study, work, device, backend, code))
    if isinstance(found, str):
        raise too_large(found, "it ran out of memory")
    trials = pack(found, cpus_per_gpu=shared, cpus_per_trial=cpus)
    return fraction(trials), sentence(found, trials)


def measure(study: Study, work: Workload, device: str, backend: str = EAGER, code: OwnCode = NO_CODE) -> Need | str:
    """Return the memory of the largest trial on this device, or the description of a trial that runs out of memory.

    On a CPU it is the resident memory of this process.
    """
    code.opened()
    set_precision(device)
    task = work.task(device)
    needs = []
    try:
        for config in largest(study):
            needs.append(_measured(config, work, task, device, backend))
        # An optimizer adds the same state to every scheme: each is measured with the heaviest scheme.
        for config in _optimizers(study, max(needs, key=itemgetter(0))[1]):
            needs.append(_measured(config, work, task, device, backend))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return _words(config)
    peak, config = max(needs, key=itemgetter(0))
    return Need(peak_mb=peak, trial=_words(config), **_device(device))


def largest(study: Study) -> list[TrialConfig]:
    """List the pretrained start, and each scheme with one optimizer at the largest batch size."""
    size = study.space.batch_size.high
    configs = {
        scheme: replace(study.default_config(arm, arm.optimizers[0]), scheme=scheme, batch_size=size)
        for arm in study.arms()
        for scheme in map(stand_in, arm.schemes)
    }
    start = [study.pretrain_config(study.repeat_numbers[0])] if study.training.init == "pretrain" else []
    return [*start, *configs.values()]


def _optimizers(study: Study, like: TrialConfig) -> Iterator[TrialConfig]:
    for arm in study.arms():
        if like.scheme in map(stand_in, arm.schemes):
            for optimizer in arm.optimizers:
                yield replace(study.default_config(arm, optimizer), scheme=like.scheme, batch_size=like.batch_size)


class Few:
    """Task with a short epoch and a short evaluation, and everything else of the wrapped task.

    An evaluation answers inputs of each shape once: others of that shape take as much memory.
    """

    def __init__(self, task: Any, samples: int) -> None:
        self._task = task
        self.train_size = min(samples, task.train_size)
        self.calibrated: dict[str, float] = {}  # of its own: scores of a short evaluation are none

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def evaluate(self, predict: Callable[[torch.Tensor], torch.Tensor], split: str) -> Evaluation:
        answers = dict[torch.Size, torch.Tensor]()

        def once(inputs: torch.Tensor) -> torch.Tensor:
            if inputs.shape not in answers:
                answers[inputs.shape] = predict(inputs)
            return answers[inputs.shape]

        evaluation: Evaluation = self._task.evaluate(once, split)
        return evaluation


def _measured(config: TrialConfig, work: Workload, task: Any, device: str, backend: str) -> tuple[float, TrialConfig]:
    """Train a few steps; return their peak memory in MB, and the configuration."""
    release_memory(device)
    few: Any = Few(task, STEPS * config.batch_size)
    with tempfile.TemporaryDirectory(prefix="tune_qat-") as folder:
        start = Path(folder) / "start.pt"
        if config.distillation is not None:  # a teacher takes memory as well, whatever its weights
            save_checkpoint({"model": work.build_model(config.init_seed).state_dict()}, start)
        init = start if start.exists() else None
        training = Training(config, work, device=device, init=init, task=few, backend=backend)
    next(training.epochs())
    return peak_memory_mb(device, reserved=True), config


def _device(device: str) -> dict[str, float]:
    if device.startswith("cuda"):
        free, total = torch.cuda.mem_get_info()
        # Memory that is neither free nor this process's tensors: its context, and other users of the GPU.
        return {"total_mb": total / 1e6, "context_mb": max(0.0, (total - free - torch.cuda.memory_reserved()) / 1e6)}
    return {"total_mb": memory_bytes() / 1e6, "context_mb": 0.0}


def _words(config: TrialConfig) -> str:
    bits = f"{config.scheme.weight_bits}/{config.scheme.activation_bits}"
    return f"a trial of {config.optimizer} at {bits} bits and batch size {config.batch_size}"
