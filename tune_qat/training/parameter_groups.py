"""Groups of trainable parameters: weights, others (biases and norms), and those of quantizers."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from tune_qat.config import TuneQatError
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
    last_weight: nn.Parameter | None
    """The last layer's weight, which adaptive clipping leaves out."""

    @property
    def hidden_weights(self) -> list[nn.Parameter]:
        """Weights that Muon orthogonalizes: all but the first and the last layer's, and depthwise filters.

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
    of_quantizers = _of(model, lambda module: isinstance(module, Quantizer))
    decayed_ids = {id(getattr(m, name)) for m in model.modules() if isinstance(m, Quantizer) for name in m.decayed}
    taken = {id(parameter) for parameter in of_quantizers}
    weights = [p for p in _of(model, lambda m: isinstance(m, nn.Conv2d | nn.Linear), "weight") if id(p) not in taken]
    taken |= {id(parameter) for parameter in weights}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    others = [parameter for parameter in trainable if id(parameter) not in taken]
    groups = ParameterGroups(
        weights=weights,
        others=others,
        quantizer=[parameter for parameter in of_quantizers if id(parameter) not in decayed_ids],
        decayed_quantizer=[parameter for parameter in of_quantizers if id(parameter) in decayed_ids],
        last_weight=weights[-1] if weights else None,
    )
    if sorted(map(id, groups.all)) != sorted(map(id, trainable)):
        raise TuneQatError("Parameter groups must hold every trainable parameter exactly once; this model's do not.")
    return groups


def _of(model: nn.Module, owns: Callable[[nn.Module], bool], name: str | None = None) -> list[nn.Parameter]:
    found: dict[int, nn.Parameter] = {}
    for module in model.modules():
        if owns(module):
            for own, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad and name in (None, own):
                    found[id(parameter)] = parameter
    return list(found.values())
