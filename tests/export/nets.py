"""Small trained models for every method and bit width, and what a float32 rounding can do to them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tune_qat import quantizers
from tune_qat.config import FLOAT_BITS, Scheme, TrialConfig
from tune_qat.data.spec import CLASSIFICATION, ModelInput
from tune_qat.export.trained import Trained
from tune_qat.quantization.model import calibrate, constrain, constraints, quantize, quantized_layers, quantizers_of
from tune_qat.quantizers.spec import ACTIVATIONS, WEIGHTS

ROUNDING = 1e-6
"""Of a channel's largest value: 8 roundings of float32. Sums of codes are exact, so that what comes between two layers
(a scale, a bias, batch norm as a product and a sum or as one fused operation) rounds a few times and no more."""
INPUT = ModelInput(task=CLASSIFICATION, channels=2, height=9, width=11, classes=5, scale=None)
LAYERS = ("stem", "depth", "point", "grouped", "strided", "signed", "hidden", "head")
SHORT = ("stem", "grouped", "strided", "head")
"""Layers of a case whose methods have one width alone, or are in another case at all widths: an export takes as long as
its network is. Padding, groups, steps and inputs of both kinds of sign are in these, too."""
CASES: Mapping[str, tuple[str, str | None, Mapping[str, Any]]] = {
    "lsq": ("lsq", None, {}),
    "lsq_plus": ("lsq_plus", None, {}),
    "lsq_plus-unsigned_symmetric": ("lsq_plus", None, {"activations": "unsigned_symmetric"}),
    "lsq_plus-signed_symmetric": ("lsq_plus", None, {"activations": "signed_symmetric", "per_channel": True}),
    "lsq_plus-signed_asymmetric": ("lsq_plus", None, {"activations": "signed_asymmetric"}),
    "pact": ("pact", None, {"alpha_init": 2.0}),
    "dsq": ("dsq", None, {}),
    "qil": ("qil", None, {}),
    "qnn": ("qnn", None, {}),
    "dorefa": ("dorefa", None, {}),
    "xnor": ("xnor", None, {}),
    "twn": ("twn", None, {}),
    "ttq": ("ttq", None, {}),
    "ttq-lsq_plus": ("ttq", "lsq_plus", {"activations": "signed_asymmetric"}),
}
"""Weights' method, activations' where it is another, and options."""
WHOLE = ("lsq", "lsq_plus", "pact", "dsq", "qil", "qnn", "dorefa")
"""Cases with all `LAYERS`, and so with all widths of their methods."""
SIGNS = ("qnn", "xnor")


class Small(nn.Module):
    """Eight layers of every geometry: depthwise, grouped, strided, dilated, uneven padding, with bias and without.

    Without `whole`, four of them. With `signs`, batch norm stands behind each ReLU: what a layer sees has both signs,
    which methods with values of -1 and 1 need.
    """

    def __init__(self, signs: bool, whole: bool) -> None:
        super().__init__()
        self.signs, self.whole = signs, whole
        self.stem = nn.Conv2d(2, 8 if whole else 12, 3, padding=1, bias=False)
        if whole:
            self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
            self.point = nn.Conv2d(8, 12, 1)
            self.signed = nn.Conv2d(8, 8, 3, padding="same")
            self.hidden = nn.Linear(8 * 5 * 5, 20)
            self.last_norm = nn.BatchNorm1d(20, momentum=0.5)
        self.grouped = nn.Conv2d(12, 12, 3, padding=2, dilation=2, groups=2)
        self.strided = nn.Conv2d(12, 8, (3, 2), stride=2, padding=(1, 0))
        self.head = nn.Linear(20 if whole else 8 * 5 * 5, 5)
        self.convolutions = [name for name in layers_of(whole) if name not in ("hidden", "head")]
        widths = [getattr(self, name).out_channels for name in self.convolutions]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, momentum=0.5) for width in widths)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = images
        for name, norm in zip(self.convolutions, self.norms, strict=True):
            value = getattr(self, name)(value)
            if self.signs:
                value = norm(value.relu())
            else:
                value = norm(value).relu() if name != "strided" else norm(value)  # what comes next sees both signs
        value = value.flatten(1)
        if self.whole:
            value = self.last_norm(self.hidden(value))
            value = value if self.signs else value.relu()
        return self.head(value)


def layers_of(whole: bool) -> tuple[str, ...]:
    return LAYERS if whole else SHORT


def scheme_of(case: str) -> Scheme:
    """Bit widths that the case's methods define, of weights upwards over the layers, of activations downwards."""
    method, other, options = CASES[case]
    weights = quantizers.get_spec(method).side(WEIGHTS)
    inputs = quantizers.get_spec(other or method).side(ACTIVATIONS)
    assert weights is not None
    # Methods with eight widths have one a layer; the others begin again. The head gets an input of more bits than one.
    up = [*weights.bits] * 8
    down = [*reversed(inputs.bits[4:]), *inputs.bits[:4]] * 8 if inputs else [FLOAT_BITS] * 8
    pairs = {name: (up[i], down[i]) for i, name in enumerate(layers_of(case in WHOLE))}
    return quantizers.scheme_of(
        quantizer=method,
        activation_quantizer=other,
        weight_bits=up[0],
        activation_bits=down[0],
        options=options,
        layer_bits=pairs,
    )


@cache
def trained(case: str) -> Trained:
    """The small model of a case after a few steps on `images`."""
    scheme = scheme_of(case)
    torch.manual_seed(list(CASES).index(case))
    model = quantize(Small(CASES[case][0] in SIGNS, case in WHOLE), scheme, torch.zeros(1, 2, 9, 11))
    inputs, labels = images(60)
    for _ in range(2):  # ranges are found behind batch norm, which has to have seen the weights' own
        calibrate(model, inputs)
        with torch.no_grad():
            model.train()(inputs)
    of_quantizers = [value for part in quantizers_of(model) for value in part.parameters()]
    others = [value for value in model.parameters() if not any(value is one for one in of_quantizers)]
    groups = [{"params": others, "lr": 1e-2}, {"params": of_quantizers, "lr": 1e-4}]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    for _ in range(15):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        constrain(constraints(model))
    config = TrialConfig(
        model="small", dataset="none", scheme=scheme, optimizer="adam", learning_rate=3e-3, batch_size=64, epochs=1
    )
    return Trained(
        trial_key="small", config=config, model_input=INPUT, normalisation=([0.0] * 2, [1.0] * 2), model=model.eval()
    )


def images(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of five classes, each a pattern under noise, and their labels."""
    patterns = torch.randn(5, 2, 9, 11, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(count, 2, 9, 11, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(count) % 5
    return patterns[labels] + 0.5 * noise, labels


@torch.no_grad()
def steady(model: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's outputs, and which images no rounding of a layer's input gives another code anywhere."""
    same = torch.ones(len(inputs), dtype=torch.bool)

    def look(layer: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        (value,) = arguments
        # A zero is one whatever is rounded: that of a ReLU or of padding.
        over = [dim for dim in range(value.dim()) if dim != 1]
        moved = ROUNDING * value.abs().amax(over, keepdim=True) * (value != 0)
        code = layer.input_quantizer(value).code
        for other in (value + moved, value - moved):
            same.logical_and_((layer.input_quantizer(other).code == code).flatten(1).all(1))

    with _watching(model, look):
        outputs = model(inputs)
    return outputs, same


@contextmanager
def _watching(model: nn.Module, look: Any) -> Iterator[None]:
    layers = [layer for layer in quantized_layers(model) if layer.input_quantizer is not None]
    # The first layer's input is the same for both: nothing has been rounded yet.
    hooks = [layer.register_forward_pre_hook(look) for layer in layers if layer.index > 0]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
