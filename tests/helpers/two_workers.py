"""A second process that trains beside that of the test, as the second of two workers."""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.utils import parameters_to_vector

from tests.helpers.trials import training_of
from tune_qat.config import EpochResult, TrialConfig
from tune_qat.training.loop import Training
from tune_qat.training.workers import Workers, follow, own_part

PATIENCE = timedelta(seconds=60)
TCPStore: Any = dist.TCPStore  # type: ignore[attr-defined]  # public, and not in its __all__


class Pair:
    """This process and its second worker."""

    def __init__(self, other: Connection) -> None:
        self._other = other

    def training(self, config: TrialConfig, *, state: Any = None, **more: Any) -> tuple[Training, list[EpochResult]]:
        """Train a configuration by both to its end, from `state` where it is given; that of this process."""
        epochs = config.epochs - (state["epoch"] if state else 0)
        self._other.send((config, state, epochs, more))
        training = training_of(config, workers=Workers(), **more)
        if state:
            training.load_state_dict(state)
        return training, list(training.epochs())

    def in_double(self, config: TrialConfig) -> torch.Tensor:
        """Make the steps of an epoch by both in double precision; the parameters after it."""
        self._other.send((config, None, None, {}))
        return steps_in_double(config, Workers())


def steps_in_double(config: TrialConfig, workers: Workers | None = None) -> torch.Tensor:
    """Make an epoch's steps in double precision, in which rounding turns no code; the parameters after it."""
    training = training_of(config, workers=workers)
    training.model.double()
    size, order = own_part(workers, training._order(1), config.batch_size)
    training.model.train()
    totals: Any = SimpleNamespace(add=lambda *values: None)
    with training._step.at_gradients():
        for number, (inputs, targets) in enumerate(training.task.batches(config.seed, 1, order, size)):
            training._step(inputs.double(), targets, 1.0, number / training.steps_per_epoch, totals)
    return parameters_to_vector(training.model.parameters()).detach()


@contextmanager
def two_workers() -> Iterator[Pair]:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=PATIENCE)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=second, args=(theirs, store.port), daemon=True)
    process.start()
    dist.init_process_group("gloo", store=store, rank=0, world_size=2, timeout=PATIENCE)
    try:
        yield Pair(ours)
    finally:
        ours.send(None)
        process.join(20)
        process.kill()
        dist.destroy_process_group()


def second(pipe: Connection, port: int) -> None:
    torch.set_num_threads(1)
    store = TCPStore("127.0.0.1", port, is_master=False, timeout=PATIENCE)
    dist.init_process_group("gloo", store=store, rank=1, world_size=2, timeout=PATIENCE)
    while (asked := pipe.recv()) is not None:
        config, state, epochs, more = asked
        if epochs is None:
            steps_in_double(config, Workers())
            continue
        training = training_of(config, workers=Workers(), **more)
        if state:
            training.load_state_dict(state)
        for _ in range(epochs):
            follow(training)
    os._exit(0)
