"""Everything that can be found wrong with a study before its first trial, and what it will take."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from tune_qat.config import Scheme, TuneQatError
from tune_qat.data.task import Dataset
from tune_qat.quantization.choices import Choices
from tune_qat.quantization.layer_table import LayerTable
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs
from tune_qat.study.mixed import budgets_of, number, stand_in
from tune_qat.text.numbers import duration
from tune_qat.text.tables import table_text
from tune_qat.training.device import default_device
from tune_qat.training.workload import Workload
from tune_qat.tuning.begun import as_begun
from tune_qat.tuning.cluster.machine import usable_cpus
from tune_qat.tuning.first_look import Taken, check_nodes, layers_of, timed
from tune_qat.tuning.given_start import given_start
from tune_qat.tuning.gpu.probe import measure
from tune_qat.tuning.mixed import choices
from tune_qat.tuning.run import checked


def looked_at(study: Study, results: StoragePath, *, data_dir: str | Path | None, address: str) -> Iterator[str]:
    """Yield what is known of a study, block by block, each as soon as it is known.

    Args:
        study: the study.
        results: folder that is going to be used, for what is read from it; nothing is written but a probe.
        data_dir: folder of the data.
        address: `local`, or that of the cluster that is going to be used.

    Raises:
        UsageError, TuneQatError: a mistake that would keep the study from running, or end each of its trials.
    """
    works, study = checked(study, data_dir), as_begun(study, results)
    work, device = works.first, default_device()
    yield _of_data(work.dataset)
    said = list[str]()
    given_start(study, work, results, said.append)
    yield from said
    scheme = next((one for one in study.schemes if not one.is_float), study.schemes[0])
    yield _of_layers(work, stand_in(scheme))
    if study.quantization.mixed is not None:
        yield _of_mixed(study, choices(study, work))
    taken = timed(study, work, device)
    yield _of_time(study, taken, device)
    yield _of_memory(study, work, device)
    if address != "local":
        check_nodes(study, list(works.by_options.values()), address)
        yield f"every node at {address} has the versions, the code and the data"


def _of_data(dataset: Dataset) -> str:
    sizes = ", ".join(f"{count:,} {split}" for split, count in dataset.sizes.items())
    given = dataset.model_input
    shape = "x".join("any" if one is None else str(one) for one in given.shape)
    return f"data: {dataset.spec.name}, {sizes}; a sample is {shape} {given.dtype}"


def _of_layers(work: Workload, scheme: Scheme) -> str:
    table = layers_of(work, scheme)
    lines = table_text(pd.DataFrame(table.lines), count=False)
    return f"layers of {work.model} at {scheme.label} ({scheme.quantizer}):\n{lines}\n{_of_operations(table)}"


def _of_mixed(study: Study, found: Choices) -> str:
    """Say which layers share the budgets of mixed schemes, from what to what these may be, and the bits there are."""
    part = study.quantization
    assert part.mixed is not None
    key = next(iter(budgets_of(part.mixed).values())).key
    least, most = map(number, found.ends(key))
    lines = [f"mixed: {', '.join(found.layers)} share the budget, {key} from {least} to {most}"]
    for name in budgets_of(part.mixed):
        bits = part.allocated.get(name, {})
        layers = ", ".join(f"{layer} {width}" for layer, width in bits.items())
        later = "bits are searched" if part.mixed.groups else "bits are allocated once the first start is there"
        lines.append(f"  {name}: {layers or later}")
    return "\n".join(lines)


def _of_operations(table: LayerTable) -> str:
    parameters = sum(line.parameters for line in table.lines)
    return (
        f"{parameters:,} parameters in these layers, {table.macs:,} multiply-accumulates a sample, "
        f"{table.share_outside:.1%} of them outside of quantized layers"
    )


def _of_time(study: Study, taken: Taken, device: str) -> str:
    processes = usable_cpus() if device == "cpu" else 1
    epochs = {stage: count for stage, _, count in stage_epochs(study)}
    seconds = sum(epochs.values()) * taken.epoch_s
    return (
        f"time on this machine ({device}, not compiled): {taken.step_s * 1e3:,.1f} ms a step of "
        f"{taken.config.batch_size}, {taken.epoch_s:,.1f} s an epoch of {taken.steps} steps with its evaluation\n"
        f"study: at most {sum(epochs.values()):,} epochs, {duration(seconds)} one after the other, "
        f"{duration(seconds / processes)} with {processes} trial{'s' * (processes > 1)} at once"
    )


def _of_memory(study: Study, work: Workload, device: str) -> str:
    need = measure(study, work, device)
    if isinstance(need, str):
        raise TuneQatError(
            f"{need} runs out of memory on this {device}. Lower space.batch_size.high, or use a machine with more."
        )
    what = "resident memory of its process" if device == "cpu" else "of the GPU"
    return f"memory: {need.trial} takes {need.peak_mb + need.context_mb:,.0f} MB ({what})"
