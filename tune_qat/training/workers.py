"""Several processes that train one model together: what a step says to the others, and which models allow it.

Each process forwards its part of the global batch. Outputs and targets are gathered, so that loss and metric are those
of the global batch, whatever they are; gradients are summed, so that clipping, optimizer and quantizers' constraints
see what one process would have. Batch norm takes its statistics from the global batch.
"""

import copy
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tune_qat.config import UsageError

TOLERANCE = 1e-3
"""Share of the largest output by which a sample's output may differ among other samples, and still be called alike."""


class Workers:
    """The processes of torch's default process group, all of which make the same calls in the same order."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.summing = False
        """Whether batch norm sums over processes: in the forward pass of a step, and never where one evaluates."""

    def gathered(self, own: torch.Tensor) -> torch.Tensor:
        """Return the rows of all processes in the order of the global batch; a gradient flows to the own rows alone."""
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, own.detach().contiguous())
        parts[self.rank] = own
        return torch.cat(parts)

    @torch.no_grad()
    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their sums over processes, in one call."""
        gradients = [one.grad for one in parameters if one.grad is not None]
        if not gradients:
            return
        flat = torch.cat([one.reshape(-1) for one in gradients])
        dist.all_reduce(flat)
        for own, total in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
            own.copy_(total.view_as(own))

    def forward(self, model: nn.Module) -> Callable[[torch.Tensor], Any]:
        """Return the forward pass of `model` with batch norms that sum over processes; the model is changed for it."""
        for module in model.modules():
            if _is_plain(module):
                module.forward = MethodType(_forward_of(self), module)

        def run(inputs: torch.Tensor) -> Any:
            self.summing = True
            try:
                return model(inputs)
            finally:
                self.summing = False

        return run


def own_part(workers: Workers | None, order: torch.Tensor, batch_size: int) -> tuple[int, torch.Tensor]:
    """Return the size of this process's part of a batch, and its parts of all full batches, one after the other.

    `order` is int64 of shape (n,); a single process gets what it gave.
    """
    if workers is None:
        return batch_size, order
    size = batch_size // workers.size
    full = order[: len(order) // batch_size * batch_size]
    return size, full.view(-1, workers.size, size)[:, workers.rank].reshape(-1)


def follow(training: Any) -> None:
    """Train an epoch of a `Training` beside the first process, which alone evaluates."""
    training.epoch += 1
    training.train_epoch()


def _is_plain(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and type(module).forward is _BatchNorm.forward


def _forward_of(workers: Workers) -> Callable[[_BatchNorm, torch.Tensor], torch.Tensor]:
    def forward(norm: _BatchNorm, values: torch.Tensor) -> torch.Tensor:
        if not (workers.summing and norm.training):
            return _BatchNorm.forward(norm, values)
        return _of_all(norm, values)

    return forward


def _of_all(norm: _BatchNorm, values: torch.Tensor) -> torch.Tensor:
    """Return values (b, channels, ...) normalised by statistics of all processes; update running ones as torch does."""
    axes = [axis for axis in range(values.dim()) if axis != 1]
    shape = [1, -1, *[1] * (values.dim() - 2)]
    count = values.numel() // values.shape[1] * dist.get_world_size()
    mean = _Sum.apply(values.sum(axes)) / count
    centred = values - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(axes)) / count
    if norm.track_running_stats and norm.running_mean is not None and norm.running_var is not None:
        with torch.no_grad():
            assert norm.num_batches_tracked is not None
            norm.num_batches_tracked.add_(1)
            share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, share)
            norm.running_var.lerp_(variance * (count / max(1, count - 1)), share)
    normalised = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.weight is None:
        return normalised
    return normalised * norm.weight.view(shape) + norm.bias.view(shape)


class _Sum(torch.autograd.Function):
    """Sum over processes. Every process uses the sum, so that the gradient is a sum over processes, too."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


def check_divides(workers: int, sizes: Iterable[int], option: str) -> None:
    """Raise `UsageError` for a batch size that does not fall into equal parts; `option` is the user's spelling."""
    for size in sizes:
        if size % workers:
            raise UsageError(
                f"{option} = {size} does not fall into {workers} equal parts, one for each worker of a trial "
                "(--workers-per-trial). Take another number of workers, or a batch size that is a multiple of it."
            )


@torch.no_grad()
def check_model(model: nn.Module, batch: torch.Tensor) -> None:
    """Refuse a model whose numbers would depend on the number of processes beyond rounding; it stays as it is.

    `batch` holds at least four inputs on the model's device. Raises `UsageError` that says why, for random layers
    (dropout), and for layers other than torch's batch norms that mix the samples of a batch.
    """
    own = copy.deepcopy(model).train()
    advice = "Leave out --workers-per-trial, or take another model."
    kind = type(model).__name__
    with torch.random.fork_rng(devices=()):
        before = torch.get_rng_state()
        own(batch[:4])
        if not torch.equal(before, torch.get_rng_state()):
            raise UsageError(
                f"Model {kind} draws random numbers as it trains (dropout, stochastic depth), which several workers "
                f"would draw otherwise than one. {advice} dropout = 0 is one, where the model has that option."
            )
    for module in own.modules():
        if _is_plain(module):
            module.eval()
    few, more = own(batch[:2]), own(batch[:4])[:2]
    if (few - more).abs().max() > TOLERANCE * more.abs().max():
        raise UsageError(
            f"A layer of model {kind} mixes the samples of a batch (a batch norm that is not torch's own, such as "
            f"timm's with an activation inside), and cannot be summed over several workers. {advice}"
        )
