"""Transfer of a study to the cluster: a bundled one is there by name, a user's file is sent as one text."""

import base64
import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import PurePosixPath

from tune_qat.config import UsageError
from tune_qat.config.own_parts import LIBRARIES, package_path, top_package
from tune_qat.config.part_files import sources
from tune_qat.config.secrets import hide_secrets
from tune_qat.data import get_spec
from tune_qat.study import Study
from tune_qat.study.file import bundled, merged
from tune_qat.text.toml import toml_text

LONGEST_CODE = 700_000
"""Most characters of code in a job's file: a ConfigMap of Kubernetes takes a mebibyte."""


def study_toml(space: str) -> str | None:
    """Return the study file's text, merged with the files it extends; None for a bundled study."""
    return None if space in bundled() else toml_text(merged(space))


def code_archive(parts: Mapping[str, str]) -> str | None:
    """Return the packages of own parts, by kind, as the base64 of a `.tar.gz`: every `.py`, and nothing else of them.

    Nothing is imported. None where there are no own parts.

    Raises:
        UsageError: it would be too long for a job's file.
    """
    packages = {top_package(name): package_path(name) for name in parts.values()}
    if not packages:
        return None
    packed = io.BytesIO()
    # Without the time: the same code is the same text.
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for package in packages.values():
            for file in sources(package):
                entry = tarfile.TarInfo(file.relative_to(package.parent).as_posix())
                content = file.read_bytes()
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    text = base64.encodebytes(packed.getvalue()).decode()
    if len(text) > LONGEST_CODE:
        raise UsageError(
            f"--code: {', '.join(packages)} would be {len(text):,} characters of a job's file, which takes "
            f"{LONGEST_CODE:,}. Put what the study needs into a package of its own."
        )
    return text


def check_paths(study: Study, data_dir: str | None) -> None:
    """Raise `UsageError` unless data and starting checkpoint have absolute paths, which mean the same on all nodes."""
    folder, option = (data_dir, "--data-dir") if data_dir is not None else (study.data_dir, "data_dir")
    spec = get_spec(study.workload.dataset)
    if folder is None and spec.layout:
        raise UsageError(
            f"Dataset {spec.name!r} is read from a folder, and the nodes do not know this machine's TUNE_QAT_DATA. "
            "Name the folder with --data-dir."
        )
    training = study.training
    named = None if training.weights in LIBRARIES else training.weights
    for name, path in ((option, folder), ("training.init_path", training.init_path), ("training.weights", named)):
        if path is not None and not PurePosixPath(path).is_absolute():
            raise UsageError(
                f"{name} {hide_secrets(path)}: give the absolute path, as the nodes of the cluster see it."
            )
