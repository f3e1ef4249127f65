"""Writes that are refused are tried again for a while: disks are emptied, shares come back."""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_qat.config import StorageRefused
from tune_qat.storage.paths import StoragePath, write_whole

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


@dataclass
class Patience:
    """Tries a refused write again, with pauses that double, until `seconds` have passed since it was first refused.

    After that every further refusal is final at once: the study is stopping.
    """

    results: StoragePath
    seconds: float
    say: Callable[[str], Any] = lambda text: None
    spent: bool = False

    def write_whole(self, path: StoragePath, data: bytes | memoryview) -> None:
        """As `write_whole`; `StorageRefused` once the patience is spent."""
        began, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                self._check_there()
                return write_whole(path, data)
            except OSError as error:
                left = self.seconds - (time.monotonic() - began)
                if self.spent or left <= 0:
                    self.spent = True
                    raise StorageRefused(_refused(path, error)) from error
                if pause == FIRST_PAUSE_S:
                    self.say(f"{path} cannot be written ({_cause(error)}): trying again for {self.seconds:.0f} s")
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _check_there(self) -> None:
        """A share that was lost leaves its empty mount point: writing there would be lost with it."""
        if isinstance(self.results, Path) and not self.results.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the results folder is gone", str(self.results))


def _refused(path: StoragePath, error: OSError) -> str:
    return (
        f"{path} cannot be written: {_cause(error)}. What is recorded is whole; "
        "make room or bring the storage back, and run the same command again."
    )


def _cause(error: OSError) -> str:
    return error.strerror or str(error)
