"""Checkpoints that declare more than they hold: refused before their memory is taken."""

import io
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tune_qat.config import TuneQatError
from tune_qat.training.checkpoints import load_checkpoint, load_weights

MANY = 4_000_000


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def rewritten(data: bytes, *, compression: int = zipfile.ZIP_STORED, pickled: bytes | None = None) -> bytes:
    """A file of torch with its parts compressed, or another pickle in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", compression) as new:
        for entry in old.infolist():
            replaced = pickled if pickled is not None and entry.filename.endswith("data.pkl") else old.read(entry)
            new.writestr(entry.filename, replaced)
    return file.getvalue()


def compressed() -> bytes:
    return rewritten(saved({"a": torch.zeros(MANY)}), compression=zipfile.ZIP_DEFLATED)


def one_part_under_many_names() -> bytes:
    """Entries of the folder of a zip file that all lead to the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as new:
        new.writestr("archive/data/0", bytes(1_000_000))
        new.filelist += new.filelist * 15
    return file.getvalue()


def by_a_number() -> bytes:
    """A pickle of a few bytes that makes 16 MB of zeros."""
    made = b"\x80\x02}X\x01\x00\x00\x00acbuiltins\nbytearray\nJ\x00\x24\xf4\x00\x85Rs."
    return rewritten(saved({"a": torch.zeros(1)}), pickled=made)


@pytest.mark.parametrize("make", [compressed, one_part_under_many_names, by_a_number])
@pytest.mark.parametrize("load", [load_checkpoint, load_weights])
def test_a_small_file_takes_little_memory(
    tmp_path: Path, make: Callable[[], bytes], load: Callable[[Path], object]
) -> None:
    path = tmp_path / "bomb.pt"
    path.write_bytes(make())
    refused = f"{re.escape(str(path))} (has .* but what it holds has|holds more than)"
    tracemalloc.start()
    try:
        with pytest.raises(TuneQatError, match=refused):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size + 200_000
    finally:
        tracemalloc.stop()


def test_one_number_repeated_is_no_weight(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(saved({"a": torch.zeros(1).expand(MANY)}))
    with pytest.raises(TuneQatError, match=f"{re.escape(str(path))} does not store all numbers of a"):
        load_weights(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "of a torch before 1.6"])
def test_files_of_torch_are_loaded(tmp_path: Path, zipped: bool) -> None:
    whole = torch.arange(12.0)
    weights = {"a": whole[:6].reshape(2, 3), "b": whole[6:], "c": whole.reshape(3, 4).T, "n": torch.tensor(3)}
    torch.save(weights, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    found = load_weights(tmp_path / "w.pt")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
