"""A test of a task of one's own: what training, sampling and the record rely on."""

import math
from collections.abc import Callable, Iterator

import torch

from tune_qat.config import UsageError
from tune_qat.data.array_task import ArrayTask
from tune_qat.data.task import Dataset

_SAMPLES = 12
_CLOSE = 1e-4
"""Relative difference that sums of float32 in another order may make."""


def check_task(dataset: Dataset) -> None:
    """Check the task of a dataset, as `tune_qat.data.load` gives it, on its own data.

    Raises:
        UsageError: the task is no `ArrayTask`, or breaks rules; the message has a line for each.
    """
    _task_of(dataset)
    broken = _wrong_numbers(dataset)
    if broken:
        raise UsageError("\n".join([f"Task {dataset.spec.task!r} breaks {len(broken)} of the rules:", *broken]))


def _task_of(dataset: Dataset) -> ArrayTask:
    task = dataset.task()
    if not isinstance(task, ArrayTask):
        raise UsageError(f"Task {dataset.spec.task!r} is no ArrayTask.")
    return task


def _wrong_numbers(dataset: Dataset) -> list[str]:
    found = []
    for rule, keeps in _RULES.items():
        try:
            kept = keeps(dataset)
        except Exception as error:  # whatever the user's code raises
            found.append(f"{rule}: it fails ({type(error).__name__}: {error}).")
            continue
        if not kept:
            found.append(f"{rule}.")
    return found


def _is_drawn_by_counters(dataset: Dataset) -> bool:
    task = _task_of(dataset)
    index = torch.arange(min(_SAMPLES, task.train_size))
    whole, backwards = task.batch(5, 2, index), task.batch(5, 2, index.flip(0))
    alone = [task.batch(5, 2, one[None]) for one in index]
    return all(
        torch.equal(part, backwards[side].flip(0)) and torch.equal(part, torch.cat([one[side] for one in alone]))
        for side, part in enumerate(whole)
    )


def _has_scalar_loss(dataset: Dataset) -> bool:
    task = _task_of(dataset)
    for output, target in _batches(task):
        output.requires_grad_()
        loss = task.loss(output, target)
        loss.backward()
        if loss.shape or not math.isfinite(float(loss.detach())) or output.grad is None:
            return False
    return True


def _measures_any_batch(dataset: Dataset) -> bool:
    task = _task_of(dataset)
    return all(task.batch_metric(output, target).shape == () for output, target in _batches(task))


def _is_the_same_over_batches(dataset: Dataset) -> bool:
    task = _task_of(dataset)
    whole, parts = _task_of(dataset), _task_of(dataset)
    whole.evaluation_batch, parts.evaluation_batch = dataset.sizes["val"], 1  # type: ignore[misc]  # of these alone
    predict = _predictor(task)
    one, other = whole.evaluate(predict, "val").metric, parts.evaluate(predict, "val").metric
    return math.isclose(one, other, rel_tol=_CLOSE, abs_tol=_CLOSE)


def _has_a_finite_constant(dataset: Dataset) -> bool:
    trivial = _task_of(dataset).trivial("val")
    return math.isfinite(trivial.loss) and math.isfinite(trivial.metric)


def _has_the_worst_metric(dataset: Dataset) -> bool:
    task = _task_of(dataset)
    return task.sign * task.worst_metric <= task.sign * task.trivial("val").metric


def _tells_what_is_not_finite(dataset: Dataset) -> bool:
    task = _task_of(dataset)
    predict = _predictor(task)
    result = task.evaluate(lambda inputs: predict(inputs) * math.nan, "val")
    return not math.isfinite(result.loss) and not math.isfinite(result.metric)


_RULES: dict[str, Callable[[Dataset], bool]] = {
    "A training sample depends on (seed, epoch, sample) alone, not on the batch that it is in": _is_drawn_by_counters,
    "`loss` is a finite number of shape () that has a gradient": _has_scalar_loss,
    "`batch_metric` is of shape (), also for a batch of one": _measures_any_batch,
    "The metric over a split does not depend on how it is cut into batches": _is_the_same_over_batches,
    "`constant` has a finite loss and metric on validation data": _has_a_finite_constant,
    "`worst_metric` is no better than the metric of `constant`": _has_the_worst_metric,
    "Outputs that are not finite have a loss and a metric that are not finite": _tells_what_is_not_finite,
}


def _batches(task: ArrayTask) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield outputs and targets of several samples, and of one."""
    predict = _predictor(task)
    for size in (min(_SAMPLES, task.train_size), 1):
        inputs, target = task.batch(5, 2, torch.arange(size))
        yield predict(inputs), target


def _predictor(task: ArrayTask) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a prediction near the constant one, another for each sample and each output."""
    always = task.constant().to(task.device)
    steps = torch.linspace(-1, 1, always.numel() + 1, device=always.device)[1:].reshape(always.shape)

    def predict(inputs: torch.Tensor) -> torch.Tensor:
        shift = torch.sin(inputs.float().reshape(len(inputs), -1).sum(1))
        return always + shift.reshape(-1, *[1] * always.dim()) * steps

    return predict
