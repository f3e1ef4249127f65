"""Allocation of bits to the layers of a study's mixed schemes, from its first start; measured once per study."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from torch import nn

from tune_qat.config import LayerSensitivity, Scheme, TuneQatError, UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.quantization.allocation import allocate
from tune_qat.quantization.choices import Choices, choices_of
from tune_qat.quantization.sensitivity import Batch, by_hessian, by_loss
from tune_qat.results.layout import table_folder
from tune_qat.results.reader import read_rows
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.storage.retry import Patience
from tune_qat.study import Study
from tune_qat.study.begun import GroupCosts
from tune_qat.study.method_sections import MixedSection
from tune_qat.study.mixed import Budget, budgets_of, candidate, measured_hash, out_of_reach, searches
from tune_qat.training.checkpoints import start_from
from tune_qat.training.device import thread_count
from tune_qat.training.workload import Workload
from tune_qat.tuning.own_code import NO_CODE, OwnCode
from tune_qat.tuning.plan import DataDraws
from tune_qat.tuning.queue import StudyQueue

CHUNK = 64
"""Samples of a forward pass."""
Measure = Callable[[Study, Workload, StoragePath], list[LayerSensitivity]]


def choices(study: Study, work: Workload) -> Choices:
    """Find the layers that bits are allocated to, and check that each budget of the study can be met.

    Raises:
        UsageError: a budget is below or above what is possible, or the model has no such layer.
    """
    assert study.quantization.mixed is not None
    task = work.task()
    batch, _ = task.batch(0, 1, torch.arange(min(2, task.train_size)))
    found = choices_of(lambda: work.build_model(init_seed=0), _schemes(study), batch)
    if study.quantization.mixed.groups:
        _check_groups(study.quantization.mixed, found.layers)
    for budget in budgets_of(study.quantization.mixed).values():
        if wrong := out_of_reach(budget, *found.ends(budget.key)):
            raise UsageError(f"quantization.mixed.{budget.key}: {wrong}.")
    return found


def with_costs(study: Study, works: DataDraws[Workload]) -> Study:
    """Return the study with what groups cost whose bits are searched, from its model; any other as it is.

    Raises the errors of `choices`.
    """
    part = study.quantization
    if part.mixed is None or not part.mixed.groups or part.group_costs is not None:
        return study
    found = choices(study, works.first)
    (budget,) = budgets_of(part.mixed).values()
    of_layer = dict(zip(found.layers, found.costs(budget.key), strict=True))
    costs = {
        group: [sum(of_layer[layer][at] for layer in layers) for at in range(len(found.candidates))]
        for group, layers in part.mixed.groups.items()
    }
    known = GroupCosts(limit=found.limit(budget.key, budget.limit), costs=costs)
    return study.going_on(replace(study.begun, group_costs=known))


def choices_of_search(queue: StudyQueue) -> dict[str, Scheme]:
    """Return by method the schemes that searches of bits have chosen, of several repeats that of the first."""
    part, found = queue.study.quantization, dict[str, Scheme]()
    for state in queue.arms.values():
        if state.best and searches(part, state.arm.scheme):
            found.setdefault(state.arm.method, state.best[0].config.scheme)
    return found


def _check_groups(mixed: MixedSection, layers: Sequence[str]) -> None:
    """Raise `UsageError` unless each layer that bits are allocated to is in a group, and no other one."""
    named = [layer for of_group in mixed.groups.values() for layer in of_group]
    missing, other = ([one for one in a if one not in b] for a, b in ((layers, named), (named, layers)))
    key = "quantization.mixed.groups"
    if other:
        raise UsageError(
            f"{key}: {other[0]!r} is no layer whose bits can be searched. These are: {', '.join(layers)}."
            f"{did_you_mean(other[0], layers)}"
        )
    if missing:
        raise UsageError(f"{key}: every layer must be in a group, but these are in none: {', '.join(missing)}.")


def _schemes(study: Study) -> dict[int, Scheme]:
    """Return the scheme with all layers at a candidate, by candidate."""
    part = study.quantization
    assert part.mixed is not None
    return {bits: candidate(part, bits) for bits in part.mixed.candidates}


def allocated(study: Study, work: Workload, start: StoragePath | None, patience: Patience, measure: Measure) -> Study:
    """Return the study with bits for the layers of its mixed schemes, and write what was measured to the record.

    What is in the record is read; only a study without it is measured, from the weights of `start`.

    Raises:
        UsageError: a budget cannot be met, or two budgets come to the same bits.
        TuneQatError: the start or a sensitivity is not finite.
    """
    part = study.quantization
    assert part.mixed is not None and start is not None  # by the rules of a study
    found, known = choices(study, work), measured_hash(part)
    rows = patience.read(lambda: _recorded(study, patience.results, known))
    if not rows:
        patience.say(_measuring(study, found))
        rows = measure(study, work, start)
        path = table_folder(patience.results, "sensitivities", study.name) / "sensitivities.parquet"
        written = [{"measured_hash": known, **asdict(row)} for row in rows]
        write_rows(path, "sensitivities", written, patience.write_whole)
    bits = dict(part.allocated)
    for name, budget in budgets_of(part.mixed).items():
        if name not in bits:
            bits[name] = _bits(found, rows, budget)
            layers = ", ".join(f"{layer} {width}" for layer, width in bits[name].items())
            patience.say(f"{name}: {layers} ({found.average(bits[name]):.2f} bits a weight)")
    going_on = study.going_on(replace(study.begun, mixed=bits))
    going_on.arms()  # two budgets with the same bits are refused
    return going_on


def _measuring(study: Study, found: Choices) -> str:
    mixed = study.quantization.mixed
    assert mixed is not None
    how = f"by the Hessian ({mixed.probes} vectors)" if mixed.by == "hessian" else "by the loss, one layer at a time"
    return f"measuring how sensitive {len(found.layers)} layers are, {how}, on {mixed.samples} training samples at most"


def _recorded(study: Study, results: StoragePath, measured: str) -> list[LayerSensitivity]:
    names = [one.name for one in fields(LayerSensitivity)]
    rows = read_rows(results, "sensitivities", study.name)
    return [LayerSensitivity(**{name: row[name] for name in names}) for row in rows if row["measured_hash"] == measured]


def _bits(found: Choices, rows: Sequence[LayerSensitivity], budget: Budget) -> dict[str, int]:
    """Choose bits for each layer within a budget."""
    of = {(row.layer, row.bits): row.sensitivity for row in rows}
    if missing := [layer for layer in found.layers if (layer, found.candidates[0]) not in of]:
        raise TuneQatError(f"The record has no sensitivity of layer {missing[0]!r}. Give the study another name.")
    sensitivities = [falling([of[layer, bits] for bits in found.candidates]) for layer in found.layers]
    chosen = allocate(sensitivities, found.costs(budget.key), found.limit(budget.key, budget.limit))
    if chosen is None:
        raise UsageError(
            f"quantization.mixed: no bits of the layers fit {budget.text}, as some candidates give a loss that is not "
            "finite. Take a larger budget, or leave out the smallest candidate."
        )
    return {layer: found.candidates[at] for layer, at in zip(found.layers, chosen, strict=True)}


def falling(sensitivities: Sequence[float | None]) -> list[float | None]:
    """Return a layer's sensitivities so that more bits are never more sensitive: a loss that rises there is noise.

    None, where a loss is not finite, stays.
    """
    found, least = list[float | None](), math.inf
    for one in sensitivities:
        least = least if one is None else min(least, one)
        found.append(None if one is None else least)
    return found


def measure(
    study: Study, work: Workload, start: StoragePath, *, device: str = "cpu", cpus: float = 1.0, code: OwnCode = NO_CODE
) -> list[LayerSensitivity]:
    """Measure how sensitive the study's layers are, from the weights of `start`, on this device.

    Raises `TuneQatError` where the start does not fit the model, or its loss is not finite.
    """
    mixed = study.quantization.mixed
    assert mixed is not None
    code.opened()
    task, found, seed = work.task(device), choices(study, work), study.drawn(study.repeat_numbers[0]).trial_seed

    def build() -> nn.Module:
        model = work.build_model(init_seed=0)
        start_from(model, start, work.model)
        return model.to(device)

    with thread_count(max(1, int(cpus))):
        batches = _batches(task, seed, mixed.samples)
        given = (build, found, _schemes(study), batches, task.loss)
        if mixed.by == "hessian":
            rows = by_hessian(*given, probes=mixed.probes, seed=seed)
        else:
            rows = by_loss(*given)
    if not any(row.sensitivity is not None for row in rows):
        raise TuneQatError("How sensitive layers are cannot be measured: the loss of the first start is not finite.")
    return rows


def _batches(task: Any, seed: int, samples: int) -> list[Batch]:
    """Return the first training samples of the first epoch in chunks, in the order that the seed draws."""
    order = torch.randperm(task.train_size, generator=torch.Generator().manual_seed(seed))[:samples]
    return [task.batch(seed, 1, index) for index in order.split(CHUNK)]


def on_cluster(cpus: float, gpus: float, device: str, code: OwnCode) -> Measure:
    """Return a measurement by a task of the connected cluster, which holds what a trial holds."""

    def measured(study: Study, work: Workload, start: StoragePath) -> list[LayerSensitivity]:
        import ray

        task: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1)(_task)
        found = ray.get(task.remote(study, work, start, device, cpus, code))
        if isinstance(found, str):
            raise TuneQatError(found)
        return list(found)

    return measured


def _task(
    study: Study, work: Workload, start: StoragePath, device: str, cpus: float, code: OwnCode
) -> list[LayerSensitivity] | str:
    """Measure; return the text of an error, since Ray would add its own to it."""
    try:
        return measure(study, work, start, device=device, cpus=cpus, code=code)
    except TuneQatError as error:
        return str(error)
