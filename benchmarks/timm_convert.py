"""Conversion of one network of timm: does it build, quantize, calibrate and take a backward step, and how much of it.

*Converts* means: built with random weights, 4/4 with LSQ, calibrated on two images, one backward step with a finite
gradient of every quantized weight, and at least 95 % of its multiply-accumulates, those of attention's two products
left aside, in quantized layers.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional

from tune_qat import models
from tune_qat.config import Scheme, UsageError
from tune_qat.data.spec import CLASSIFICATION, ModelInput
from tune_qat.models import timm_networks
from tune_qat.quantization.macs import count
from tune_qat.quantization.model import calibrate, quantize, quantized_layers

BATCH = 2
CLASSES = 10
SIDE = 96
"""Height and width of the images of networks that take any size; the others get their own."""
TOO_LARGE = "too large"
LARGEST = 100_000_000
"""Parameters of the networks in the table, with 1,000 classes."""
ENOUGH = 0.95


@dataclass(frozen=True, kw_only=True)
class Row:
    """Line of the table."""

    name: str
    family: str
    parameters: int
    side: int
    converts: bool
    reason: str = ""
    """Step that it failed at, and why in few words; empty where it converts."""
    detail: str = ""
    share: float | None = None
    """Share of multiply-accumulates in quantized layers."""
    layers: int = 0
    seconds: float = 0.0
    timm_version: str = timm.__version__


class Refused(Exception):
    """A step that a network failed at; `args` are the reason in few words, and the detail."""


def family_of(name: str) -> str:
    """Return the module of timm that a network is in, as `vision_transformer`."""
    return timm.models.model_entrypoint(name).__module__.rpartition(".")[2]


def parameters_of(name: str) -> int:
    """Count a network's parameters with the classes that timm builds it for; it takes no memory."""
    with torch.device("meta"):
        return sum(one.numel() for one in timm.create_model(name, pretrained=False).parameters())


def convert(name: str) -> Row:
    """Convert a network, and say what came of it; a network that is too large is not tried."""
    begun, parameters, reason, detail = time.perf_counter(), 0, "", ""
    found: dict[str, Any] = {}
    try:
        with _step("build"):
            parameters = parameters_of(name)
        if parameters > LARGEST:
            raise Refused(TOO_LARGE, f"{parameters:,} parameters")
        found = converted(name)
        if found["share"] < ENOUGH:
            raise Refused(f"below {ENOUGH:.0%} of multiply-accumulates in quantized layers", f"{found['share']:.1%}")
    except Refused as refused:
        reason, detail = refused.args
    return Row(
        name=name,
        family=family_of(name),
        side=side_of(name),
        parameters=parameters,
        converts=not reason,
        reason=reason,
        detail=detail,
        seconds=round(time.perf_counter() - begun, 2),
        **found,
    )


def side_of(name: str) -> int:
    """Return the height and width of the images that a network is tried on."""
    known = timm.models.get_pretrained_cfg(name)
    own = known.input_size[-1] if known else 224
    return own if timm_networks.fixes_size(name) else min(own, max(SIDE, *timm_networks.size(name, (SIDE, SIDE), {})))


def converted(name: str) -> dict[str, Any]:
    """Return the share of multiply-accumulates in quantized layers, and the number of layers.

    `Refused` names a step that fails.
    """
    torch.manual_seed(0)
    side = side_of(name)
    known = timm.models.get_pretrained_cfg(name)
    channels = known.input_size[0] if known else 3
    images = torch.rand(BATCH, channels, side, side)
    wanted = ModelInput(task=CLASSIFICATION, channels=channels, height=side, width=side, classes=CLASSES, scale=None)
    with _step("build"):
        model = models.build(f"timm:{name}", wanted, 0)
        model.eval()(images)
    with _step("count"):
        counted = count(model, images[:1])
    with _step("quantize"):
        model = quantize(model.train(), Scheme(weight_bits=4, activation_bits=4), images[:1])
    with _step("calibrate"):
        calibrate(model, images)
    layers = quantized_layers(model)
    with _step("backward"):
        _backward(model, images)
    share = sum(counted.layers.get(layer.name, 0) for layer in layers) / max(counted.total - counted.products, 1)
    return {"share": round(share, 4), "layers": len(layers)}


def _backward(model: nn.Module, images: torch.Tensor) -> None:
    output = model.train()(images)
    if not isinstance(output, torch.Tensor) or output.shape != (BATCH, CLASSES):
        raise UsageError(f"gives {type(output).__name__} in place of one tensor ({BATCH}, {CLASSES}) in training")
    functional.cross_entropy(output, torch.arange(BATCH)).backward()
    for layer in quantized_layers(model):
        gradient = layer.layer.weight.grad
        if gradient is None or not bool(gradient.isfinite().all()):
            raise UsageError(f"layer {layer.name!r} has no finite gradient")


@contextmanager
def _step(step: str) -> Iterator[None]:
    """Name the step that an error comes from; what takes too much memory ends the process instead."""
    try:
        yield
    except (Refused, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        if "allocate" in text and "memory" in text:
            raise MemoryError(text) from error
        raise Refused(f"{step}: {_kind(error, text)}", text[:300]) from error


def _kind(error: Exception, text: str) -> str:
    known = {
        "does not reach": "layers that a forward pass does not reach",
        "has no convolution": "no layer to quantize",
        "cannot be quantized": "a kind of layer that is not quantized",
        "finite gradient": "no finite gradient",
        "in training": "another output in training",
        "not finite": "values that are not finite",
    }
    return next((kind for part, kind in known.items() if part in text), type(error).__name__)
