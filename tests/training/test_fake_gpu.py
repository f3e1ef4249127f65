"""Training steps on a GPU that is not there: no tensor is left on the host, and nothing waits for the device.

Every model of the table once, with methods and optimizers in turn; every method, optimizer and recipe once on a small
network. What fake tensors cannot show, `tests/helpers/fake_gpu.py` says; `python -m benchmarks.gpu` is for that.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conformance import test_models
from tests.conformance.models import ModelSizeConformance, images
from tests.conformance.test_quantized_training import schemes
from tests.helpers.fake_gpu import GPU, FakeGpu, LeftOnHost, WaitsForDevice, fake_gpu, walk
from tests.helpers.trials import PHOTOS, tiny_trial, training_of, work_of
from tests.training.test_further_models import CASES, own
from tune_qat.config import EAGER, Dampening, Distillation, Freezing, QuantizerOptimizer, Scheme, TrialConfig
from tune_qat.data import resolve_options
from tune_qat.data.labelled import labelled_dataset
from tune_qat.data.spec import SUPER_RESOLUTION, LabelledImages, ModelInput
from tune_qat.data.table import DATASETS
from tune_qat.models import MODELS
from tune_qat.optimizers import OPTIMIZERS
from tune_qat.quantization.model import calibrate, quantize, quantized_layers
from tune_qat.quantizers import QUANTIZERS
from tune_qat.training import batch_norm
from tune_qat.training.distillation import Teacher
from tune_qat.training.epoch_totals import EpochTotals
from tune_qat.training.step import TrainingStep
from tune_qat.training.workload import Workload

ROOT = Path(__file__).parents[2]
SAMPLES, BATCH = 12, 4
AT_THE_START = {
    "data.arrays:as_tensor": "the data goes to the device once",
    "data.array_batches:statistics": "mean and deviation go to the device once",
    "data.array_statistics:level_counts": "grey levels are counted once",
    "quantization.order:execution_order": "two outputs of the model are compared once",
    "quantization.model:quantize": "quantizers are made on the host, and go to the device once",
    "quantization.model:calibrate": "norms that have seen no batch yet are looked for",
    "quantizers.lsq:_calibrate": "the sign of a calibration batch",
    "quantizers.squared_error:smallest_error": "LSQ+ begins with a search",
    "quantizers.base:calibrate": "a calibration batch is looked through for what is not finite",
    "quantizers.base:step_size": "the first scale is recorded",
    "a test": "the model goes to the device once",
}
"""Functions that wait for the device before the first step, and why they may."""
BEHIND_AN_EPOCH = {
    "data.classification:_judged": "sums of a split, read once",
    "data.super_resolution:evaluate": "errors of a split, read once",
    "data.arrays:as_tensor": "the split goes to the device once",
    "training.batch_norm:reestimate": "torch's norms read how many batches an average has",
    "training.epoch_totals:columns": "the epoch's row",
    "training.epoch_totals:_means": "the epoch's row",
    "training.epoch_totals:nonfinite_steps": "one look every 50 steps, and the epoch's row",
    "quantization.oscillations.tracking:columns": "the layers' rows",
    "quantization.oscillations.recipe:columns": "the layers' rows",
}
"""Functions that wait for the device at the end of an epoch."""
IN_A_STEP = {"prodigy": ("training.step:__call__",)}
"""Functions that wait in every step, by optimizer. Prodigy's library keeps its estimate of the step size as a number of
the host, and reads two sums of the device for it."""


def inputs() -> dict[str, ModelInput]:
    """The smallest input of every model of the table, as the conformance tests have it."""
    tests = [
        one for one in vars(test_models).values() if isinstance(one, type) and issubclass(one, ModelSizeConformance)
    ]
    return {one.name: one.smallest for one in tests if "name" in vars(one)}


def workload_of(model: str, given: ModelInput) -> Workload:
    """A model with random images that fit it; photographs where it enlarges them."""
    if given.task == SUPER_RESOLUTION:
        return replace(work_of(tiny_trial(**PHOTOS)), model=model)
    spec = DATASETS["cifar10"]
    draw = np.random.default_rng(0)
    labels = np.arange(SAMPLES) % (given.classes or 1)
    shape = (SAMPLES, given.channels, given.height or 0, given.width or 0)
    part = LabelledImages(images=draw.integers(0, 256, shape).astype(np.uint8), labels=labels)
    dataset = labelled_dataset(
        spec,
        resolve_options(spec, {}),
        {"train": part, "val": part},
        classes=given.classes or 1,
        content="random",
        members={"train": range(SAMPLES), "val": range(SAMPLES)},
        train_index=np.arange(SAMPLES),
    )
    return Workload(model=model, dataset=dataset)


class Trial:
    """A trial up to its first step, on the device."""

    def __init__(self, config: TrialConfig, work: Workload, gpu: FakeGpu) -> None:
        self.config, self.gpu = config, gpu
        self.task = work.task(GPU)
        self.model = work.build_model(0).to(GPU)
        teacher = Teacher(self.model, config.distillation) if config.distillation else None
        batch, _ = self.task.batch(0, 1, torch.arange(BATCH))
        self.model = quantize(self.model, config.scheme, batch[:1])
        calibrate(self.model, batch)
        self.step = TrainingStep(config, self.model, self.task, GPU, EAGER, teacher)
        self.totals = EpochTotals(GPU, steps=2, first_step=1, clips=self.step.clips)
        self.task.batch(0, 1, torch.arange(BATCH))  # loads what all batches share

    def train(self, steps: int) -> None:
        """Train and look for gradients: a batch made on the device, forward, loss, metric, backward, optimizer."""
        self.model.train()
        with self.step.at_gradients(), self.gpu.never(but=IN_A_STEP.get(self.config.optimizer, ())):
            for _ in range(steps):
                batch = self.task.batch(0, 1, torch.arange(BATCH))
                self.step(*batch, 0.5, 0.5, self.totals)
        for name, parameter in self.model.named_parameters():
            assert parameter.device == GPU, name
        assert any(parameter.grad is not None and parameter.grad.device == GPU for parameter in self.model.parameters())

    @torch.no_grad()
    def finish_epoch(self) -> None:
        if self.config.bn_reestimation_batches:
            batch_norm.reestimate(self.model, [self.task.batch(0, 1, torch.arange(BATCH))[0]])
        self.model.eval()
        self.task.evaluate(self.model, "val")
        assert self.totals.columns() and self.totals.nonfinite_steps >= 0
        self.step.oscillations.columns()


def check(config: TrialConfig, work: Workload, *, steps: int = 2) -> None:
    """Train and evaluate; every function that waited is in one of the lists."""
    with fake_gpu() as gpu:
        trial = Trial(config, work, gpu)
        unknown = gpu.waits - AT_THE_START.keys()
        gpu.waits.clear()
        trial.train(steps)
        gpu.waits -= set(IN_A_STEP.get(config.optimizer, ()))
        trial.finish_epoch()
        unknown |= gpu.waits - BEHIND_AN_EPOCH.keys()
    assert not unknown, f"these wait for the device, and are in no list: {sorted(unknown)}"


def small(**changes: Any) -> None:
    config = tiny_trial(**{"model": "lenet5_bn", **changes})
    check(config, workload_of(config.model, inputs()[config.model]))


PAIRS = list(zip(inputs(), cycle([name for name in OPTIMIZERS if name != "soap"]), cycle(schemes()), strict=False))
DEEPER = ("resnet101", "resnet152", "preresnet101", "preresnet152")


@pytest.mark.slow
@pytest.mark.parametrize(("model", "optimizer", "scheme"), PAIRS, ids=[model for model, *_ in PAIRS])
def test_every_model(model: str, optimizer: str, scheme: Scheme) -> None:
    given = inputs()[model]
    work = workload_of(model, given)
    data = PHOTOS if given.task == SUPER_RESOLUTION else {}
    check(tiny_trial(**{**data, "model": model}, scheme=scheme, optimizer=optimizer), work, steps=1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer: str) -> None:
    small(optimizer=optimizer)


@pytest.mark.parametrize("scheme", schemes(), ids=lambda one: f"{one.quantizer}-{one.label}")
def test_every_method(scheme: Scheme) -> None:
    small(scheme=scheme)


RECIPES: dict[str, dict[str, Any]] = {
    "freezing": {"freezing": Freezing(threshold_start=0.03, threshold_end=0.02)},
    "dampening": {"dampening": Dampening(weight=1e-3)},
    "batch norm": {"bn_reestimation_batches": 1},
    "distillation": {"distillation": Distillation()},
    "own optimizer of steps": {"quantizer_optimizer": QuantizerOptimizer(name="adam", learning_rate=1e-3)},
    "steps per channel": {"scheme": Scheme(options={"per_channel": True})},
    "label smoothing": {"label_smoothing": 0.1},
    "floating point": {"scheme": Scheme.floating_point()},
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe(recipe: str) -> None:
    small(**RECIPES[recipe])


def test_random_resized_crops() -> None:
    config, work = tiny_trial(model="resnet20_cifar", dataset="imagenet"), workload_of("lenet5", images(3, 32, 10))
    part = work.dataset.splits["train"]
    assert isinstance(part, LabelledImages)
    whole = replace(part, sizes=np.full((SAMPLES, 2), 40))
    check(config, replace(work, dataset=replace(work.dataset, splits={**work.dataset.splits, "train": whole})))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_further_layers(case: str) -> None:
    build, changes = CASES[case]
    config = tiny_trial(**changes)
    check(config, own(config, build))


def test_the_table_has_other_methods_and_models_than_these_tests_by_nothing() -> None:
    assert {scheme.quantizer for scheme in schemes()} == set(QUANTIZERS)
    assert inputs().keys() == set(MODELS)


@pytest.mark.parametrize("listed", [*AT_THE_START, *BEHIND_AN_EPOCH])
def test_functions_of_the_lists_are_there(listed: str) -> None:
    module, _, function = listed.partition(":")
    if function:
        source = (ROOT / "tune_qat" / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        assert f"def {function}(" in source


def _host_constant(model: nn.Module) -> None:
    """A quantizer of weights that adds a tensor which nothing moves."""
    quantizer = quantized_layers(model)[1].weight_quantizer
    assert quantizer is not None
    plain, constant = quantizer._codes, torch.zeros(1)
    quantizer._codes = lambda value: plain(value + constant)  # type: ignore[method-assign]


def _reads(read: Callable[[torch.Tensor], Any]) -> Callable[[nn.Module], None]:
    """A layer that looks at its output on the host."""

    def put(model: nn.Module) -> None:
        def looked_at(layer: nn.Module, given: Any, output: torch.Tensor) -> None:
            read(output)

        quantized_layers(model)[0].register_forward_hook(looked_at)

    return put


def _constrains_by_a_number(model: nn.Module) -> None:
    """A quantizer whose step is kept positive by reading it."""
    quantizer = quantized_layers(model)[0].weight_quantizer
    assert quantizer is not None

    def constrain() -> None:
        if quantizer.step < 0:  # type: ignore[operator]
            quantizer.step.fill_(0)  # type: ignore[operator]

    quantizer.constrain = constrain  # type: ignore[method-assign]


FAULTS: dict[str, tuple[Callable[[nn.Module], None], type[Exception]]] = {
    "a constant left on the host": (_host_constant, LeftOnHost),
    "a number of one element left on the host": (_reads(lambda output: output * torch.ones(())), LeftOnHost),
    "item": (_reads(lambda output: output.sum().item()), WaitsForDevice),
    "float": (_reads(lambda output: float(output.sum())), WaitsForDevice),
    "a truth value": (_reads(lambda output: bool(output.sum() > 0)), WaitsForDevice),
    "nonzero": (_reads(torch.nonzero), WaitsForDevice),
    "a mask as an index": (_reads(lambda output: output[output > 0]), WaitsForDevice),
    "a copy to the host": (_reads(lambda output: output.cpu()), WaitsForDevice),
    "a new tensor from numbers": (
        _reads(lambda output: torch.tensor([1.0, 2.0], device=output.device)),
        WaitsForDevice,
    ),
    "a comparison": (_reads(lambda output: torch.equal(output, output)), WaitsForDevice),
    "a constraint by a number": (_constrains_by_a_number, WaitsForDevice),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault: str) -> None:
    put, error = FAULTS[fault]
    config = tiny_trial()
    with fake_gpu() as gpu:
        trial = Trial(config, workload_of(config.model, inputs()[config.model]), gpu)
        put(trial.model)
        with pytest.raises(error):
            trial.step = TrainingStep(config, trial.model, trial.task, GPU, EAGER)
            trial.train(1)


def test_gradients_are_those_of_the_engine() -> None:
    # The walk through the graph is this project's: on the host it must agree with torch's own.
    config = tiny_trial(model="lenet5_bn", scheme=Scheme(weight_bits=3))
    steps = []
    for walks in (False, True):
        training = training_of(config)
        batch = training.task.batch(0, 1, torch.arange(BATCH))
        output, _ = training._step.oscillations.model.train()(batch[0])
        loss = training.task.loss(output, batch[1])
        walk(loss) if walks else loss.backward()
        steps.append([parameter.grad for parameter in training.model.parameters()])
    for ours, theirs in zip(*steps, strict=True):
        assert ours is not None and theirs is not None and torch.equal(ours, theirs)
