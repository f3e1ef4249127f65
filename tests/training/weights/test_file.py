"""Weights of other programs: read as data, out of their wrappings."""

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tune_qat.config import TuneQatError
from tune_qat.training.weights.file import read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Hostile:
    """A value whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def test_safetensors_and_torchs_own_files(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    torch.save(WEIGHTS, tmp_path / "w.pth")
    assert same(read_weights(tmp_path / "w.safetensors")) and same(read_weights(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": WEIGHTS, "epoch": 3},
        {"model": WEIGHTS, "optimizer": {"state": {}}},
        {"model": {k: v + 1 for k, v in WEIGHTS.items()}, "model_ema": WEIGHTS},
        {"ema": {"state_dict": WEIGHTS}, "model": {"a.weight": torch.zeros(1)}},
    ],
    ids=["state_dict", "model", "model_ema ahead of model", "both"],
)
def test_wrappings_are_taken_off(wrapped: dict[str, Any], tmp_path: Path) -> None:
    torch.save(wrapped, tmp_path / "w.pt")
    assert same(read_weights(tmp_path / "w.pt"))


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "args": Hostile(tmp_path / "made")}, tmp_path / "w.pt")
    with pytest.raises(TuneQatError, match=r"w\.pt hold more than weights: posix\.mkdir, which would be imported"):
        read_weights(tmp_path / "w.pt")
    assert not (tmp_path / "made").exists()
    torch.load(tmp_path / "w.pt", weights_only=False)
    assert (tmp_path / "made").exists()  # it would have run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": WEIGHTS, "args": argparse.Namespace(lr=1)}, "argparse.Namespace, which would be imported"),
        ({"model": {"a.weight": torch.ones(2), "a.quantizer": {"bits": 4}}}, r"hold more than tensors \(a.quantizer\)"),
        ({}, "hold no tensor"),
        ([1], "holds a list"),
    ],
)
def test_what_is_no_weights_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(TuneQatError, match=message):
        read_weights(tmp_path / "w.pt")


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    for name, message in (("w.safetensors", "damaged, or no safetensors file"), ("other.pt", "do not exist")):
        with pytest.raises(TuneQatError, match=message):
            read_weights(tmp_path / name)
