"""The table of models. To add one: a builder, and a line here. Free of torch until a model is built."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune_qat.config import UsageError
from tune_qat.data.base import CLASSIFICATION, SUPER_RESOLUTION, DatasetSpec, ModelInput
from tune_qat.lookup import find, resolve

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One model: what it is for, how it is built, and where it comes from."""

    name: str
    task: str
    summary: str
    build: str
    """`package.module:function`, called as `function(model_input)`; raises `UsageError` where it does not fit."""
    source: str


_SPECS = (
    ModelSpec(
        name="espcn",
        task=SUPER_RESOLUTION,
        summary="ESPCN, three convolutions and a pixel shuffle, tanh (22,729 parameters at x3)",
        build="tune_qat.models.espcn:build",
        source="Shi et al., CVPR 2016, arXiv 1609.05158",
    ),
    ModelSpec(
        name="lenet5",
        task=CLASSIFICATION,
        summary="LeNet-5, ReLU and max pooling (61,706 parameters on 28 x 28 grey images, 10 classes)",
        build="tune_qat.models.lenet5:build",
        source="LeCun et al., Proceedings of the IEEE, 1998",
    ),
    ModelSpec(
        name="lenet5_bn",
        task=CLASSIFICATION,
        summary="LeNet-5 with batch norm ahead of each ReLU (62,158 parameters)",
        build="tune_qat.models.lenet5:build_bn",
        source="LeCun et al., Proceedings of the IEEE, 1998",
    ),
    ModelSpec(
        name="lenet5_xnor",
        task=CLASSIFICATION,
        summary="LeNet-5 with batch norm behind each ReLU, for binary inputs (62,158 parameters)",
        build="tune_qat.models.lenet5:build_xnor",
        source="LeCun et al., 1998; order of Rastegari et al., ECCV 2016, arXiv 1603.05279",
    ),
    ModelSpec(
        name="resnet18",
        task=CLASSIFICATION,
        summary="ResNet-18, post-activation, ImageNet stem (11,689,512 parameters at 1,000 classes)",
        build="tune_qat.models.resnet:build_resnet18",
        source="He et al., CVPR 2016, arXiv 1512.03385; torchvision",
    ),
)

MODELS: dict[str, ModelSpec] = {spec.name: spec for spec in _SPECS}


def get_spec(name: str) -> ModelSpec:
    """The model's line of the table; `UsageError` with the valid names where there is none."""
    return find(MODELS, name, "model")


def check_fits_task(name: str, dataset: DatasetSpec) -> None:
    """`UsageError` for a model that is made for another task than the dataset's."""
    _check_task(get_spec(name), dataset.task, f"dataset {dataset.name!r} is")


def build(name: str, model_input: ModelInput, init_seed: int) -> "nn.Module":
    """A freshly initialised model; torch's global random state is left as it was.

    Raises:
        UsageError: unknown name, another task, or input that the model does not take.
    """
    import torch

    spec = get_spec(name)
    _check_task(spec, model_input.task, "the input is")
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds the accelerators' generators as well.
        torch.default_generator.manual_seed(init_seed)
        model: nn.Module = resolve(spec.build)(model_input)
    return model


def _check_task(spec: ModelSpec, task: str, what: str) -> None:
    if spec.task != task:
        fitting = ", ".join(other.name for other in _SPECS if other.task == task)
        raise UsageError(
            f"Model {spec.name!r} is made for {_words(spec.task)}, but {what} for {_words(task)}. "
            f"Models for that: {fitting}."
        )


def _words(task: str) -> str:
    return task.replace("_", "-")
