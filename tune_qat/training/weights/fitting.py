"""Weights from elsewhere in a network: which tensors fit, which are made anew, and when it is another network's."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from tune_qat.config import TuneQatError
from tune_qat.config.absent import absent
from tune_qat.data.spec import ModelInput
from tune_qat.models.parts import Enlarged
from tune_qat.training.weights.file import PREFIXES

with absent("wandb"):  # of all that trains, this is the first to import timm
    from timm.models import adapt_input_conv

ENOUGH = 0.9
"""Share of the network's tensors that the weights must have, and of the weights' that the network must: the blocks of a
ResNet-18 are in the weights of a ResNet-34 too."""
NAMED = 3
"""Tensors that a sentence names, of each kind."""
_STEPS = "num_batches_tracked"


@dataclass(kw_only=True)
class Fit:
    """Account of weights in a network: what became of each tensor, by name."""

    loaded: list[str] = field(default_factory=list)
    head: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Left out: layers of another number of classes, with the weights' number and the network's."""
    stem: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Loaded after timm's rule: convolutions of another number of channels, with the weights' and the network's."""
    misfits: list[str] = field(default_factory=list)
    """Tensors of another shape, with both."""
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    total: int = 0

    def __str__(self) -> str:
        said = [f"{len(self.loaded)} of {self.total} tensors"]
        said += [f"{layer} left out: {theirs:,} classes for {ours:,}" for layer, (theirs, ours) in self.head.items()]
        said += [f"{layer} from {theirs} channels to {ours}" for layer, (theirs, ours) in self.stem.items()]
        for what, names in (("not found", self.missing), ("not used", self.unused)):
            said += [f"{what}: {_named(names)}"] if names else []
        return ", ".join(said[:2]) + "".join(f"; {one}" for one in said[2:])


def load_fitting(model: nn.Module, weights: Mapping[str, torch.Tensor], model_input: ModelInput, where: str) -> Fit:
    """Load weights into a model as far as they fit, and return what became of each tensor.

    Tensors of the same name and shape are loaded. A layer of another number of classes keeps its random weights; a
    first convolution of another number of channels gets the sum, or repeats, of the weights' channels (timm's
    `adapt_input_conv`).

    Args:
        model: the network; its tensors are written in place.
        weights: tensors by name.
        model_input: channels and classes of the network.
        where: name of the weights in messages.

    Raises:
        TuneQatError: the weights are another network's; the message says how many tensors fit.
    """
    own = model.network if isinstance(model, Enlarged) else model
    target = own.state_dict()
    given = _without_prefixes(weights, target)
    fit = Fit(total=sum(not name.endswith(_STEPS) for name in target))
    state = {
        name: _steps(name, given, tensor)
        if name.endswith(_STEPS)
        else _fitted(fit, name, given.get(name), tensor, model_input)
        for name, tensor in target.items()
    }
    fit.unused = [name for name in given if name not in target]
    _refuse_another(fit, len(given), where)
    with torch.no_grad():
        for name, tensor in target.items():  # not load_state_dict, in which modules look for the version of a file
            tensor.copy_(state[name])
    return fit


def _without_prefixes(weights: Mapping[str, torch.Tensor], target: Mapping[str, object]) -> Mapping[str, torch.Tensor]:
    """Take off beginnings that all names have, where more of the names are then the network's."""
    best, found = weights, sum(name in target for name in weights)
    names = weights
    while prefix := next((one for one in PREFIXES if all(name.startswith(one) for name in names)), None):
        names = {name.removeprefix(prefix): value for name, value in names.items()}
        if sum(name in target for name in names) > found:
            best, found = names, sum(name in target for name in names)
    return best


def _steps(name: str, given: Mapping[str, torch.Tensor], own: torch.Tensor) -> torch.Tensor:
    """Return a batch norm's count of steps, which old files lack: with their statistics loaded it is not 0.

    Calibration normalises by the batch where there are no statistics yet.
    """
    has_statistics = name.replace(_STEPS, "running_mean") in given
    return given.get(name, torch.ones_like(own) if has_statistics else own)


def _fitted(
    fit: Fit, name: str, given: torch.Tensor | None, own: torch.Tensor, model_input: ModelInput
) -> torch.Tensor:
    """Return the tensor that the network gets under this name, and note what became of the given one."""
    layer = name.rpartition(".")[0]
    if given is None:
        fit.missing.append(name)
        return own
    if given.shape == own.shape:
        fit.loaded.append(name)
        return given
    if given.shape[1:] == own.shape[1:] and own.ndim and own.shape[0] == model_input.classes:
        fit.head[layer] = given.shape[0], own.shape[0]
        return own
    adapted = _adapted(given, own, model_input.channels)
    if adapted is not None and not fit.stem:
        fit.loaded.append(name)
        fit.stem[layer] = given.shape[1], own.shape[1]
        return adapted
    fit.misfits.append(f"{name} has shape {tuple(given.shape)} for {tuple(own.shape)}")
    return own


def _adapted(given: torch.Tensor, own: torch.Tensor, channels: int) -> torch.Tensor | None:
    """Return a convolution's weight for other channels; None where it is not the first one's, or cannot be one."""
    if own.ndim != 4 or given.ndim != 4 or own.shape[1] != channels:
        return None
    if given.shape[0] != own.shape[0] or given.shape[2:] != own.shape[2:]:
        return None
    adapted: torch.Tensor = adapt_input_conv(channels, given, base_chans=given.shape[1])
    return adapted


def _refuse_another(fit: Fit, given: int, where: str) -> None:
    loaded, anew = len(fit.loaded), given - len(fit.unused) - len(fit.loaded) - len(fit.misfits)
    enough = loaded >= ENOUGH * (loaded + len(fit.missing) + len(fit.misfits))
    if loaded and not fit.misfits and enough and len(fit.unused) <= (1 - ENOUGH) * (given - anew):
        return
    details = [_named(fit.misfits)] if fit.misfits else []
    for what, names in (("not found", fit.missing), ("not used", fit.unused)):
        details += [f"{what}: {_named(names)}"] if names else []
    raise TuneQatError(
        f"{where} are those of another network: {loaded} of {fit.total} tensors fit ({'; '.join(details)}). "
        "Give weights of this network, built with the same model options for images of the same size."
    )


def _named(names: Iterable[str]) -> str:
    every = list(names)
    more = [f"{len(every) - NAMED} more"] if len(every) > NAMED else []
    return ", ".join([*every[:NAMED], *more])
