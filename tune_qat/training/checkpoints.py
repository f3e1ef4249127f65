"""Checkpoint files: written atomically, read as data and never as code."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tune_qat.config import NotRead, StudyHalted, TrialConfig, TuneQatError
from tune_qat.config.statuses import PRETRAIN
from tune_qat.storage.paths import StoragePath, Write, naming, read_whole, write_whole
from tune_qat.training.checkpoint_sizes import check_declared, check_tensors


def save_checkpoint(state: Mapping[str, Any], path: StoragePath, write: Write = write_whole) -> None:
    """Write a state atomically (see `write_whole`)."""
    file = io.BytesIO()
    torch.save(state, file)
    write(path, file.getbuffer())


def save_trained(state: Mapping[str, Any], config: TrialConfig, path: Path) -> None:
    """Write the state of a trained model to a file of the user, with all that it takes to build the model again.

    Raises `TuneQatError` naming the file if it cannot be written.
    """
    with naming(path):
        save_checkpoint({**state, "trial": json.dumps(config.to_dict())}, path)


def load_checkpoint(path: StoragePath) -> dict[str, Any]:
    """Read a checkpoint as plain data, never as code.

    Raises:
        NotRead: storage does not give the file, which may be whole.
        TuneQatError: it does not exist, or is no checkpoint; the message names it.
    """
    try:
        data = read_whole(path)
    except FileNotFoundError:
        raise TuneQatError(f"Checkpoint {path} does not exist.") from None
    except NotRead as error:
        raise NotRead(f"Checkpoint {error}") from error
    except TuneQatError as error:
        raise TuneQatError(f"Checkpoint {error}") from error
    return state_of(data, path)


def state_of(data: bytes, path: StoragePath) -> dict[str, Any]:
    """Read the bytes of a checkpoint as plain data; raise `TuneQatError` naming its file if that cannot be done."""
    check_declared(data, path)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
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
    check_tensors(weights, path)
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


def check_start(path: StoragePath, sha256: str | None, advice: str) -> None:
    """Raise `StudyHalted` with `advice` unless the checkpoint that trials begin from holds the weights of this hash.

    Raises `NotRead` where storage does not give it, which may be asked again.
    """
    try:
        found = weights_sha256(load_weights(path))
    except NotRead:
        raise  # it may be given when it is asked for again
    except TuneQatError as error:
        raise StudyHalted(f"{error} Every trial of the study begins from it. {advice}") from error
    if found != sha256:
        raise StudyHalted(
            f"Checkpoint {path}, which every trial of the study begins from, holds other weights ({found[:12]}) than "
            f"when the study was started ({str(sha256)[:12]}). {advice}"
        )


def check_trained(state: Mapping[str, Any], path: StoragePath, *, stage: str, sha256: str | None, epochs: int) -> str:
    """Check that a checkpoint holds what a completed trial ended with, and return the hash of that.

    Args:
        state: content of the checkpoint.
        path: its file, for messages.
        stage: stage of the trial.
        sha256: recorded hash; None in records of earlier versions, where the number of epochs is all that is compared.
        epochs: recorded number of epochs.

    Raises `TuneQatError` that names the file if it holds anything else.
    """
    if not isinstance(state.get("model"), dict):
        raise TuneQatError(f"Checkpoint {path} is not that of a trial: it holds no model.")
    found, epoch = trained_sha256(state, stage), state.get("epoch")
    if epoch != epochs or (sha256 is not None and found != sha256):
        wanted = f"{sha256[:12]}, epoch {epochs}" if sha256 else f"epoch {epochs}"
        raise TuneQatError(
            f"Checkpoint {path} does not hold what its trial ended with: its weights are {found[:12]}, epoch {epoch}, "
            f"and the record says {wanted}. Another study, or another program, has written the file since."
        )
    return found


def trained_sha256(state: Mapping[str, Any], stage: str) -> str:
    """Hash what the checkpoint of a completed trial holds, as the record has it.

    Of a start it is the hash of the weights alone, which is in the keys of all trials that begin from it. Elsewhere it
    covers all that an export reads: weights, quantizers, and what the model takes as input.
    """
    about = {} if stage == PRETRAIN else {name: state.get(name) for name in ("model_input", "normalisation")}
    return weights_sha256({**state["model"], **about})


def weights_sha256(weights: Mapping[str, Any]) -> str:
    """Hash names, types, shapes and values by SHA-256: equal for equal weights, however their file was written.

    Values that are no tensors, such as what a quantizer's calibration decided, are hashed as JSON.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name]
        if not isinstance(value, torch.Tensor):
            digest.update(f"{name} {json.dumps(value, sort_keys=True)}\n".encode())
            continue
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
