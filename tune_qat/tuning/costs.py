"""Costs of a study's schemes, layer by layer, for the record: of a study that runs, and of those recorded before."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tune_qat.config import Scheme, TuneQatError
from tune_qat.config.shown import cause
from tune_qat.quantization.cost import quantized_costs
from tune_qat.results.layout import table_folder
from tune_qat.results.places import with_places
from tune_qat.results.reader import read_rows
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.study.arms import methods_of
from tune_qat.study.file import recorded_study
from tune_qat.study.mixed import searched_scheme, searches, waits
from tune_qat.study.objectives import COSTS
from tune_qat.training import workload
from tune_qat.training.workload import Workload
from tune_qat.tuning.begun import as_begun
from tune_qat.tuning.objectives import METRIC_ALONE, Objectives

LARGEST = "activation_bytes"
"""Cost of a scheme that is the largest of its layers and not their sum."""


def cost_rows(study: Study, work: Workload, chosen: Mapping[str, Scheme] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of `costs`: what each layer costs for one training sample, in each scheme of the study.

    Mixed schemes whose layers have no bits yet are left out; `chosen` has those of searches, by method.

    Raises `UsageError` for a scheme that does not fit the model.
    """
    task = work.task()
    # Two, since a batch norm that has seen no batch yet cannot normalise by the statistics of one.
    batch, _ = task.batch(0, 1, torch.arange(min(2, task.train_size)))
    part = study.quantization
    for scheme, method in methods_of(part).items():
        if searches(part, scheme):
            found = (chosen or {}).get(method) or searched_scheme(part, method, scheme)
            if found is None:
                continue
            scheme = found
        if waits(scheme):
            continue
        of_scheme = {"method": method, "weight_bits": scheme.weight_bits, "activation_bits": scheme.activation_bits}
        _, costs = quantized_costs(work.build_model(init_seed=0), scheme, batch)
        yield from ({**of_scheme, **asdict(cost)} for cost in costs)


def scheme_costs(study: Study, rows: Iterable[Mapping[str, Any]]) -> dict[Scheme, dict[str, float]]:
    """Add up `rows` of `costs` by scheme of the study, as the view `scheme_costs` does: the largest of activations."""
    found: dict[Scheme, dict[str, float]] = {}
    by_name = {(method, s.weight_bits, s.activation_bits): s for s, method in methods_of(study.quantization).items()}
    for row in rows:
        scheme = by_name.get((row["method"], row["weight_bits"], row["activation_bits"]))
        if scheme is not None:
            known = found.setdefault(scheme, dict.fromkeys(COSTS, 0.0))
            for name in COSTS:
                known[name] = max(known[name], row[name]) if name == LARGEST else known[name] + row[name]
    return found


def objectives_of(study: Study, rows: Callable[[], Iterable[Mapping[str, Any]]]) -> Objectives:
    """Return the objectives of a study, whose `rows` of `costs` are asked for where there are several.

    Raises `TuneQatError` where a cost cannot be worked out, or is the same in all schemes.
    """
    if study.search.objectives is None:
        return METRIC_ALONE
    try:
        costs = scheme_costs(study, rows())
    except TuneQatError:
        raise
    except Exception as error:  # of a model that does not run by itself
        raise TuneQatError(f"search.objectives: what the model costs cannot be worked out: {cause(error)}") from error
    return Objectives.of_study(study, costs)


def add_missing(results: StoragePath, data_dir: str | Path | None) -> Iterator[str]:
    """Add the costs of recorded studies that have none to the record, and yield the name of each study then.

    The model is built and the data read, of which two samples are needed; nothing is trained, and no file that is there
    changes. Imported studies have no model to build.

    Raises:
        TuneQatError: a study's data is missing, its model does not run, or the folder cannot be written.
        UsageError: an own part comes from a folder that the command line has not named.
    """
    known = {row["study_id"] for row in read_rows(results, "costs", columns=["layer"])}
    for row in read_rows(results, "studies", columns=["definition_json", "origin"]):
        name = row["study_id"]
        if name in known or row["origin"] is not None:
            continue
        definition = with_places(results, name, row["definition_json"])
        study = as_begun(recorded_study(Study, definition, {}, f"study {name} in {results}"), results)
        work = _first_work(study, data_dir)
        try:
            rows = list(cost_rows(study, work))
        except TuneQatError:
            raise
        except Exception as error:  # of a model that does not run by itself
            raise TuneQatError(
                f"What the layers of study {name!r} cost cannot be worked out: {cause(error)}"
            ) from error
        try:
            write_rows(table_folder(results, "costs", name) / "costs.parquet", "costs", rows)
        except OSError as error:
            raise TuneQatError(f"The costs of study {name!r} cannot be written to {results}: {error}.") from error
        yield name


def _first_work(study: Study, data_dir: str | Path | None) -> Workload:
    wanted = study.workload
    return workload.load(
        wanted.model,
        wanted.dataset,
        data_dir=data_dir,
        default_data_dir=study.data_dir,
        options=study.data_options(study.repeat_numbers[0]),
        model_options=wanted.model_options,
        task=wanted.task,
    )
