"""Backend of all trials of a study, chosen before the first trial."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from tune_qat.config import EAGER, INDUCTOR, UsageError
from tune_qat.quantization.model import calibrate, features, quantize, quantized_layers
from tune_qat.study import Study
from tune_qat.study.mixed import stand_in
from tune_qat.training.compile_cost import CompileEstimate
from tune_qat.training.compiler import choose_backend
from tune_qat.training.workload import Workload

WORDS = {EAGER: "training steps run eagerly", INDUCTOR: "training steps are compiled by Inductor"}


def choose(
    study: Study, work: Workload, requested: str, *, recorded: Sequence[Mapping[str, Any]], device: str, processes: int
) -> tuple[str, str]:
    """Choose the backend, and give the reason in a sentence.

    A study that is resumed keeps the backend of its recorded trials, so that all can be compared bit for bit.
    """
    before = next((row["backend"] for row in reversed(recorded) if row.get("backend")), None)
    count = partial(plan, study, work, processes)
    choice = choose_backend(requested, torch.device(device), count, recorded=before)
    return choice.backend, f"{WORDS[choice.backend]}: {choice.why}"


def backend_of_several(requested: str) -> str:
    """Return the backend of trials of several workers, eager; raise `UsageError` where another is asked for."""
    if requested == INDUCTOR:
        raise UsageError(
            "--backend inductor compiles the steps of one process, but a trial has several workers. Leave it out, or "
            "take --workers-per-trial 1."
        )
    return EAGER


def plan(study: Study, work: Workload, processes: int) -> CompileEstimate:
    """Count the quantized training of the study if ASHA stops nothing."""
    task = work.task()
    quantized = [arm for arm in study.arms() if not arm.scheme.is_float]
    trials = sum(sum(study.planned(arm).values()) for arm in quantized)
    sizes = study.space.batch_size
    samples = trials * study.training.epochs * task.train_size
    features, layers = _size(work, stand_in(quantized[0].scheme)) if quantized else (0, 0)
    return CompileEstimate(
        samples=samples,
        steps=samples // sizes.middle,
        features=features,
        layers=layers,
        programs=len(study.schemes) * (sizes.high // sizes.low).bit_length(),
        processes=processes,
    )


def _size(work: Workload, scheme: Any) -> tuple[int, int]:
    """Count the quantized activations of one sample, and the quantized layers, of the model in this scheme."""
    # Two samples: batch norm needs more than one.
    batch, _ = work.task().batch(0, 1, torch.arange(2))
    model = quantize(work.build_model(init_seed=0), scheme, batch)
    calibrate(model, batch)
    return features(model), len(quantized_layers(model))
