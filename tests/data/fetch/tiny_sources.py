"""Tiny data sets in the real layouts, packed as their publishers do, with their lines of the table."""

import gzip
import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data import tiny_folders
from tests.data.fetch.site import Site
from tune_qat.data.fetch import SOURCES, Source

DOGS = len(tiny_folders.BREEDS)


def offer(site: Site, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, checked: bool = True) -> Source:
    """Writes a tiny data set, serves its archives as a mirror does, and returns its line, with or without checksums."""
    samples = _write(name, folder, monkeypatch)
    archives = []
    for one in SOURCES[name].archives:
        packed = _packed(one.file, one.gives, folder)
        site.files[f"/{name}/{one.file}"] = packed
        files = [path for path in (folder / one.gives).rglob("*") if path.is_file()] or [folder / one.gives]
        archives.append(
            replace(
                one,
                size=len(packed),
                exact=checked,
                unpacked=sum(path.stat().st_size for path in files),
                members=len(files),
                urls=(f"{site.url}/{name}/{one.file}",),
                checksum=f"md5:{hashlib.md5(packed).hexdigest()}" if checked else "",
            )
        )
    return replace(SOURCES[name], archives=tuple(archives), samples=samples, torchvision="")


def _write(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    if name == "cifar10":
        tiny_folders.write_cifar10(folder, monkeypatch)
        return 5 * tiny_folders.CIFAR_BATCH, tiny_folders.CIFAR_BATCH
    if name == "div2k":
        tiny_folders.write_div2k(folder)
        return 6, 2
    if name == "tsinghua_dogs":
        tiny_folders.write_tsinghua_dogs(folder)
        return DOGS * tiny_folders.DOGS_TRAIN, DOGS * tiny_folders.DOGS_TEST
    tiny_folders.write_mnist(folder, {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[name])
    return tiny_folders.MNIST_TRAIN, tiny_folders.MNIST_TEST


def _packed(file: str, gives: str, folder: Path) -> bytes:
    path, out = folder / gives, io.BytesIO()
    if file.endswith(".tar.gz"):
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            tar.add(path, gives)
    elif file.endswith(".zip"):
        above = "TrainValSplit/" if file == "TrainValSplit.zip" else ""  # as one of its unpacked forms has it
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr("__MACOSX/._odd", b"")
            for one in sorted(path.rglob("*")):
                packed.write(one, f"{above}{one.relative_to(folder)}")
    else:
        out.write(gzip.compress(path.read_bytes()))
    return out.getvalue()
