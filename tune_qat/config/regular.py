"""Regular files. What else has a name, such as a named pipe, may keep whoever opens it waiting for ever."""

import stat
from pathlib import Path

from tune_qat.config.errors import TuneQatError

IRREGULAR = "is no regular file, but a folder, a named pipe, a device or a link to nothing"


def is_regular(path: Path) -> bool:
    """Tell whether a file may be opened; also of a name that leads nowhere, which opening will say."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return not path.is_symlink()


def check_regular(path: Path) -> None:
    """Raise `TuneQatError` for what is no regular file."""
    if not is_regular(path):
        raise TuneQatError(f"{path} {IRREGULAR}.")
