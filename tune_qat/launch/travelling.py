"""Transfer of a study to the cluster: a bundled one is there by name, a user's file is sent as one text."""

from pathlib import PurePosixPath

from tune_qat.config import UsageError
from tune_qat.config.secrets import hide_secrets
from tune_qat.data import get_spec
from tune_qat.study import Study
from tune_qat.study.file import bundled, merged
from tune_qat.text.toml import toml_text


def study_toml(space: str) -> str | None:
    """Return the study file's text, merged with the files it extends; None for a bundled study."""
    return None if space in bundled() else toml_text(merged(space))


def check_paths(study: Study, data_dir: str | None) -> None:
    """Raise `UsageError` unless data and starting checkpoint have absolute paths, which mean the same on all nodes."""
    folder, option = (data_dir, "--data-dir") if data_dir is not None else (study.data_dir, "data_dir")
    spec = get_spec(study.workload.dataset)
    if folder is None and spec.layout:
        raise UsageError(
            f"Dataset {spec.name!r} is read from a folder, and the nodes do not know this machine's TUNE_QAT_DATA. "
            "Name the folder with --data-dir."
        )
    for name, path in ((option, folder), ("training.init_path", study.training.init_path)):
        if path is not None and not PurePosixPath(path).is_absolute():
            raise UsageError(
                f"{name} {hide_secrets(path)}: give the absolute path, as the nodes of the cluster see it."
            )
