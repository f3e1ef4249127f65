"""One backend for all trials of a study, chosen before the first."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from tune_qat.config import AUTO, EAGER, INDUCTOR
from tune_qat.quantization.model import calibrate, quantize, quantized_layers
from tune_qat.study import Study
from tune_qat.training.compile_cost import Plan, worth_compiling
from tune_qat.training.compiler import usable
from tune_qat.training.workload import Workload

WORDS = {EAGER: "training steps run eagerly", INDUCTOR: "training steps are compiled by Inductor"}


def choose(
    study: Study,
    work: Workload,
    requested: str,
    *,
    recorded: Iterable[Mapping[str, Any]],
    device: str,
    processes: int,
) -> tuple[str, str]:
    """The backend, and a sentence that says which and why.

    A study that goes on keeps the backend of its recorded trials, so that all of them can be compared bit for bit.
    """
    wanted, why = requested, "as asked for"
    if requested == AUTO:
        before = [row["backend"] for row in recorded if row.get("backend")]
        pays = not before and worth_compiling(plan(study, work, processes), device)
        wanted = before[-1] if before else INDUCTOR if pays else EAGER
        why = (
            "as the recorded trials" if before else "which pays" if pays else "compiling would cost more than it saves"
        )
    backend, problem = usable(wanted, torch.device(device))
    return backend, f"{WORDS[backend]}: {f'no compiler works here ({problem})' if problem else why}"


def plan(study: Study, work: Workload, processes: int) -> Plan:
    """Counts of what the study trains in quantized form if nothing is stopped early."""
    task = work.task()
    quantized = [arm for arm in study.arms() if not arm.scheme.is_float]
    trials = sum(sum(study.planned(arm).values()) for arm in quantized)
    sizes = study.space.batch_size
    samples = trials * study.training.epochs * task.train_size
    features, layers = _size(work, quantized[0].scheme) if quantized else (0, 0)
    batch_sizes = (sizes.high // sizes.low).bit_length()
    return Plan(
        samples=samples,
        steps=samples // sizes.middle,
        features=features,
        layers=layers,
        programs=len(study.schemes) * batch_sizes,
        processes=processes,
    )


def _size(work: Workload, scheme: Any) -> tuple[int, int]:
    """Quantized activations of a sample, and quantized layers, of the model in this scheme."""
    # Two samples: batch norm has no statistics of one.
    batch, _ = work.task().batch(0, 1, torch.arange(2))
    model = quantize(work.build_model(init_seed=0), scheme, batch)
    calibrate(model, batch)
    layers = quantized_layers(model)
    return sum(layer.input_features for layer in layers), len(layers)
