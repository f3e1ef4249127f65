"""Sizes that a checkpoint file declares, looked at before torch takes memory for them: they may be anything."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from tune_qat.config import TuneQatError
from tune_qat.storage.paths import StoragePath

_ZIP = b"PK\x03\x04"
_BY_SIZE = b"\nbytearray\n"
"""Name by which a pickle makes as many zeros as a number in it says; no checkpoint of weights needs it."""


def check_declared(data: bytes, path: StoragePath) -> None:
    """Raise `TuneQatError` if a checkpoint file would take more memory than it has bytes.

    `torch.save` compresses nothing, so that a small file with large tensors was not written by it.
    """
    if _BY_SIZE in data:
        raise TuneQatError(f"Checkpoint {path} holds more than weights. Give a checkpoint of weights.")
    if not data.startswith(_ZIP):
        return  # of a torch before 1.6, which takes the memory as it reads
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            declared = sum(entry.file_size for entry in file.infolist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return  # torch will say that it is damaged
    if declared > len(data):
        raise TuneQatError(
            f"Checkpoint {path} has {_megabytes(len(data))}, but what it holds has {_megabytes(declared)}: it is "
            "compressed, which `torch.save` never does. Load it where the memory suffices, and save it with torch.save."
        )


def check_tensors(weights: Mapping[str, Any], path: StoragePath) -> None:
    """Raise `TuneQatError` for weights that are larger than what is stored of them, as one number that is repeated."""
    for name, value in weights.items():
        if isinstance(value, torch.Tensor):
            sparse = value.layout != torch.strided
            if sparse or value.numel() * value.element_size() > value.untyped_storage().nbytes():
                shape = tuple(value.shape)
                raise TuneQatError(f"Checkpoint {path} does not store all numbers of {name}, which has shape {shape}.")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
