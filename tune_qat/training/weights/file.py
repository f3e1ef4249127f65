"""Weights in a file of any program: read as data and never as code, out of what they are wrapped in."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from tune_qat.config import TuneQatError
from tune_qat.config.shown import cause, listed
from tune_qat.storage.paths import StoragePath, read_whole
from tune_qat.training.checkpoint_sizes import check_tensors
from tune_qat.training.checkpoints import state_of

WRAPPINGS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model")
"""Keys of checkpoints under which the weights are, averages of training ahead of its last weights, as timm has them."""
PREFIXES = ("module.", "_orig_mod.", "network.")
"""Beginnings of names: of a parallel module, of a compiled one, and of our networks of enlarged images."""
_CODE = re.compile(r"GLOBAL ([\w.]+)")
"""Name of what torch refuses to import, in its message."""


def read_weights(path: StoragePath) -> dict[str, torch.Tensor]:
    """Read named tensors from a file: `.safetensors`, else a file of `torch.save`.

    Raises:
        NotRead: storage does not give the file, which may be whole.
        TuneQatError: it does not exist, or holds something else than weights; the message names it.
    """
    try:
        data = read_whole(path)
    except FileNotFoundError:
        raise TuneQatError(f"Weights {path} do not exist.") from None
    weights = _of_safetensors(data, path) if path.name.endswith(".safetensors") else _of_torch(data, path)
    other = [name for name, value in weights.items() if not isinstance(value, torch.Tensor)]
    if other or not weights:
        what = f"hold more than tensors ({listed(map(str, other[:3]))})" if other else "hold no tensor"
        raise TuneQatError(
            f"Weights {path} {what}. Give the floating-point weights of a network: torch.save(model.state_dict(), ...)."
        )
    check_tensors(weights, path)
    return weights


def _of_safetensors(data: bytes, path: StoragePath) -> dict[str, Any]:
    try:
        return dict(load_safetensors(data))
    except SafetensorError as error:
        raise TuneQatError(f"Weights {path} are damaged, or no safetensors file: {cause(error)}.") from error


def _of_torch(data: bytes, path: StoragePath) -> dict[str, Any]:
    try:
        return unwrapped(state_of(data, path))
    except TuneQatError as error:
        code = _CODE.search(str(error.__cause__))
        if code is None:
            raise
        raise TuneQatError(
            f"Weights {path} hold more than weights: {code[1]}, which would be imported, and is not. Load the file "
            "where you trust it, and save torch.save(model.state_dict(), ...) alone."
        ) from error


def unwrapped(state: Mapping[str, Any]) -> dict[str, Any]:
    """Take off what weights are wrapped in: `{"epoch": 3, "model_ema": {...}}` holds those of `model_ema`."""
    for key in WRAPPINGS:
        inside = state.get(key)
        if isinstance(inside, Mapping) and inside:
            return unwrapped(inside)
    return dict(state)
