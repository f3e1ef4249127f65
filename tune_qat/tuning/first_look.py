"""First look at a study: its layers, and the seconds of a trial, from a few batches of training."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from tune_qat.config import EAGER, Scheme, TrialConfig
from tune_qat.quantization.layer_table import LayerTable, layer_table
from tune_qat.study import Study
from tune_qat.study.mixed import stand_in
from tune_qat.training.checkpoints import save_checkpoint
from tune_qat.training.device import thread_count
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload
from tune_qat.tuning.cluster.connect import cluster
from tune_qat.tuning.cluster.nodes import check_code, check_data, check_versions
from tune_qat.tuning.gpu.probe import Few
from tune_qat.tuning.own_code import code_of, code_sent

SAMPLES = 64
"""Most samples that layers are calibrated on."""
BATCHES = 2
"""Batches of an epoch that is timed."""
TIMES = 4
"""Epochs, of which the fastest counts: the first one loads what the others find, and others may use the machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """Time of a trial on this machine."""

    config: TrialConfig
    step_s: float
    """Seconds of one training step."""
    steps: int
    """Steps of an epoch."""
    evaluation_s: float
    """Seconds of one evaluation of the validation split."""

    @property
    def epoch_s(self) -> float:
        return self.steps * self.step_s + self.evaluation_s


def timed(study: Study, work: Workload, device: str) -> Taken:
    """Train a few batches of a trial, at the middle batch size and the first quantized scheme, and time them.

    On one thread, as trials of one CPU have.

    Raises:
        UsageError, TuneQatError: what would end a trial.
    """
    config = replace(_like(study), epochs=TIMES, warmup_epochs=0.0, milestones=())
    task = work.task(device)
    few: Any = Few(task, BATCHES * config.batch_size)
    with thread_count(1), tempfile.TemporaryDirectory(prefix="tune_qat-") as folder:
        start = Path(folder) / "start.pt"
        if config.distillation is not None:  # a teacher takes its time, whatever its weights
            save_checkpoint({"model": work.build_model(config.init_seed).state_dict()}, start)
        init = start if start.exists() else None
        training = Training(config, work, device=device, init=init, task=few, backend=EAGER)
        ends = [0.0, *(epoch.wall_s for epoch in training.epochs())]
        begun = time.perf_counter()
        training.task = task  # the whole evaluation, once
        training.evaluate("val")
        evaluation_s = time.perf_counter() - begun
    return Taken(
        config=config,
        step_s=min(after - before for before, after in pairwise(ends)) / training.steps_per_epoch,
        steps=task.train_size // config.batch_size,
        evaluation_s=evaluation_s,
    )


def layers_of(work: Workload, scheme: Scheme) -> LayerTable:
    """Return the table of a model's layers, calibrated on the first training samples (`layer_table`)."""
    task = work.task()
    batch, _ = task.batch(0, 1, torch.arange(min(SAMPLES, task.train_size)))
    return layer_table(work.build_model(0), scheme, batch)


def check_nodes(study: Study, works: Sequence[Workload], address: str) -> None:
    """Raise `TuneQatError` that names the nodes of a cluster which lack the versions, the code or the data."""
    code = code_of(study, sent=True)
    with code_sent(code, address) as modules, cluster(address, modules):
        check_versions()
        check_code(code)
        check_data(study, works)


def _like(study: Study) -> TrialConfig:
    """Return the default trial of the first quantized arm, or of the first one where none is."""
    arms = study.arms()
    arm = next((one for one in arms if not one.schemes[0].is_float), arms[0])
    config = study.default_config(arm, arm.optimizers[0])
    return replace(config, scheme=stand_in(config.scheme))
