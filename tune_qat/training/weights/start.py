"""Start of trials from given weights: the whole model, its parts that the weights lack made anew from a seed."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tune_qat.config import UsageError
from tune_qat.config.own_parts import LIBRARIES
from tune_qat.storage.paths import StoragePath, storage_path
from tune_qat.training.checkpoints import save_checkpoint, weights_sha256
from tune_qat.training.weights.file import read_weights
from tune_qat.training.weights.fitting import load_fitting
from tune_qat.training.weights.published import published
from tune_qat.training.workload import Workload


@dataclass(frozen=True, kw_only=True)
class GivenStart:
    """Floating-point weights of a whole model, assembled from given ones."""

    state: Mapping[str, Any]
    """Tensors by name, as `start_from` loads them."""
    text: str
    """Account of what loaded, as "60 of 62 tensors, fc left out: 1,000 classes for 10"."""

    @property
    def sha256(self) -> str:
        """Hash of the weights, which is in the keys of trials that begin from them."""
        return weights_sha256(self.state)


def assemble(weights: str, work: Workload, init_seed: int) -> GivenStart:
    """Return a workload's model with given weights; what they lack is random, from `init_seed`.

    Args:
        weights: path of a file, or `timm` or `torchvision` for what the library publishes.
        work: workload of the trials.
        init_seed: seed of what is made anew.

    Raises:
        UsageError, TuneQatError: the weights cannot be had, or are another network's.
    """
    model, model_input = work.build_model(init_seed), work.dataset.model_input
    if weights in LIBRARIES:
        given = published(weights, work.model, model_input, work.model_options)
        where = f"The weights that {weights} publishes"
    else:
        given, where = read_weights(storage_path(weights)), f"Weights {weights}"
    fit = load_fitting(model, given, model_input, f"{where}, given for model {work.model!r},")
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UsageError(f"{where} hold a number that is not finite: {name}.")
    return GivenStart(state=model.state_dict(), text=str(fit))


@contextmanager
def starting(
    work: Workload,
    init_seed: int,
    *,
    init: str | StoragePath | None,
    weights: str | None,
    say: Callable[[str], Any],
) -> Iterator[StoragePath | None]:
    """Give the checkpoint that a lone trial begins from: `init`, or one that holds given weights while this is open."""
    if weights is None:
        yield None if init is None else storage_path(init)
        return
    if init is not None:
        raise UsageError("A trial starts from a checkpoint (init) or from weights (--weights), but got both.")
    start = assemble(weights, work, init_seed)
    say(f"weights {weights}: {start.text}")
    with tempfile.TemporaryDirectory(prefix="tune_qat-") as folder:
        path = Path(folder) / "start.pt"
        save_checkpoint({"model": start.state}, path)
        yield path
