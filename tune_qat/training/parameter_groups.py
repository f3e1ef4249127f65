"""Groups of trainable parameters: weights, others (biases and norms), and those of quantizers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd

from tune_qat.config import TuneQatError
from tune_qat.quantization.order import LAYERS
from tune_qat.quantizers.base import Quantizer


@dataclass(frozen=True, kw_only=True)
class ParameterGroups:
    """A partition of a model's trainable parameters."""

    weights: list[nn.Parameter]
    """Matrices and filters: they get weight decay, and adaptive clipping limits their gradients."""
    others: list[nn.Parameter]
    """Biases and norms, without weight decay."""
    quantizer: list[nn.Parameter]
    """Step sizes and the like, without weight decay and with a learning-rate multiplier of their own."""
    decayed_quantizer: list[nn.Parameter]
    """Quantizer parameters whose method asks for weight decay, with the same multiplier."""
    transposed: Mapping[int, int] = field(default_factory=dict)
    """Groups of channels of each transposed convolution, by the `id` of its weight, which has inputs in dimension 0."""
    last_weight: nn.Parameter | None
    """The last layer's weight, which adaptive clipping leaves out."""

    @property
    def hidden_weights(self) -> list[nn.Parameter]:
        """Weights that Muon orthogonalizes: all except the first and the last layer's and depthwise filters.

        This is the choice of its authors for convolutional networks (github.com/KellerJordan/Muon). A depthwise filter
        is a vector for each channel, which leaves nothing to orthogonalize.
        """
        return [weight for weight in self.weights[1:-1] if min(weight.shape[:2]) > 1]

    @property
    def of_quantizers(self) -> list[nn.Parameter]:
        return [*self.quantizer, *self.decayed_quantizer]

    @property
    def all(self) -> list[nn.Parameter]:
        return [*self.weights, *self.others, *self.of_quantizers]


def parameter_groups(model: nn.Module) -> ParameterGroups:
    """Return the model's groups; raise `TuneQatError` unless each trainable parameter is in exactly one."""
    trainable = {id(parameter): parameter for parameter in model.parameters() if parameter.requires_grad}
    quantizers = [module for module in model.modules() if isinstance(module, Quantizer)]
    layers = [module for module in model.modules() if isinstance(module, LAYERS)]
    decayed = {id(getattr(quantizer, name)) for quantizer in quantizers for name in quantizer.decayed}
    # Ordered sets of ids: a module or a parameter may be used in several places.
    of_quantizers = dict.fromkeys(id(parameter) for module in quantizers for parameter in module._parameters.values())
    of_layers = dict.fromkeys(id(layer._parameters.get("weight")) for layer in layers)
    weights = [trainable[key] for key in of_layers if key in trainable and key not in of_quantizers]
    taken = of_quantizers.keys() | of_layers.keys()
    groups = ParameterGroups(
        weights=weights,
        others=[parameter for key, parameter in trainable.items() if key not in taken],
        quantizer=[trainable[key] for key in of_quantizers if key in trainable and key not in decayed],
        decayed_quantizer=[trainable[key] for key in of_quantizers if key in trainable and key in decayed],
        transposed={id(one.weight): one.groups for one in layers if isinstance(one, _ConvTransposeNd)},
        last_weight=weights[-1] if weights else None,
    )
    if sorted(map(id, groups.all)) != sorted(trainable):
        raise TuneQatError("Parameter groups must hold every trainable parameter exactly once; this model's do not.")
    return groups


def output_units_first(weights: Sequence[nn.Parameter], transposed: Mapping[int, int]) -> list[torch.Tensor]:
    """Return weights and their gradients as tensors that have output units in dimension 0, sharing their memory.

    The weight of a transposed convolution, `ParameterGroups.transposed`, is returned as one tensor for each group.
    """
    found: list[torch.Tensor] = []
    for weight in weights:
        if id(weight) not in transposed or weight.grad is None:
            found.append(weight)
            continue
        groups = transposed[id(weight)]
        for values, grad in zip(weight.detach().chunk(groups), weight.grad.chunk(groups), strict=True):
            part = values.transpose(0, 1)
            part.grad = grad.transpose(0, 1)
            found.append(part)
    return found
