"""Search for a dataset's files under the data folder."""

from pathlib import Path

from tune_qat.config import TuneQatError
from tune_qat.data.spec import DatasetSpec, data_folder_hint


def require(spec: DatasetSpec, data_dir: Path | None, *alternatives: str, pattern: str = "") -> Path:
    """Return the first of these relative paths that exists under the data folder, joined to it.

    Args:
        spec: the dataset, for the message.
        data_dir: the data folder, or None if none was given.
        alternatives: relative paths, the usual one first.
        pattern: pattern that at least one file of the folder has to match, such as `*.png`.

    Raises `TuneQatError` if none of them exists; it says where they were searched, and how to get the data.
    """
    if data_dir is None:
        raise TuneQatError(data_folder_hint(spec, None))
    for alternative in alternatives:
        path = data_dir / alternative
        if path.exists() and (not pattern or any(path.glob(pattern))):
            return path
    looked_for = data_dir / alternatives[0]
    raise TuneQatError(data_folder_hint(spec, looked_for / pattern if pattern else looked_for, data_dir))
