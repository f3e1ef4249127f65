"""Checkpoint files: written atomically, read as data and never as code."""

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tune_qat.config import TuneQatError
from tune_qat.storage.paths import StoragePath, Write, read_whole, write_whole


def save_checkpoint(state: Mapping[str, Any], path: StoragePath, write: Write = write_whole) -> None:
    """Write a state atomically (see `write_whole`)."""
    file = io.BytesIO()
    torch.save(state, file)
    write(path, file.getbuffer())


def load_checkpoint(path: StoragePath) -> dict[str, Any]:
    """Read a checkpoint as plain data, never as code; raise `TuneQatError` naming the file if it cannot be read."""
    try:
        state = torch.load(io.BytesIO(read_whole(path)), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TuneQatError(f"Checkpoint {path} does not exist.") from None
    except Exception as error:
        raise TuneQatError(
            f"Checkpoint {path} cannot be read ({type(error).__name__}); it is damaged or not a checkpoint of weights."
        ) from error
    if not isinstance(state, dict):
        raise TuneQatError(f"Checkpoint {path} holds a {type(state).__name__} instead of named weights.")
    return state


def load_weights(path: StoragePath) -> dict[str, torch.Tensor]:
    """Read floating-point weights from one of our checkpoints, or from a plain state dict.

    Raises `TuneQatError` naming the file if it cannot be read or holds something else.
    """
    state = load_checkpoint(path)
    ours = state.get("model")
    weights: dict[str, torch.Tensor] = ours if isinstance(ours, dict) else state
    other = [name for name, value in weights.items() if not isinstance(value, torch.Tensor)]
    if other:
        raise TuneQatError(
            f"Checkpoint {path} holds more than floating-point weights ({', '.join(map(str, other[:3]))}). "
            "Training cannot start from a quantized model: give a checkpoint of a 32/32 model, or a plain state dict."
        )
    return weights


def start_from(model: nn.Module, checkpoint: StoragePath, name: str) -> None:
    """Load floating-point weights into the model `name`; raise `TuneQatError` naming the file if they do not fit it."""
    try:
        model.load_state_dict(load_weights(checkpoint))
    except RuntimeError as error:
        raise TuneQatError(
            f"Checkpoint {checkpoint} does not fit model {name!r}: {error}\n"
            "The checkpoint must hold the floating-point weights of the same model on the same kind of data."
        ) from error


def weights_sha256(weights: Mapping[str, torch.Tensor]) -> str:
    """Hash names, types, shapes and values by SHA-256: equal for equal weights, however their file was written."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
