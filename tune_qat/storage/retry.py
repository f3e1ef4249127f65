"""Repetition of refused writes: a full disk may be emptied, a lost share may come back."""

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
    """Time in seconds for which a refused write is repeated, with pauses that double.

    Once a write has used it up, each further refusal is final at once: the study is stopping.
    """

    results: StoragePath
    seconds: float
    say: Callable[[str], Any] = lambda text: None
    """Function that is told of the first refusal of a write."""
    spent: bool = False

    def write_whole(self, path: StoragePath, data: bytes | memoryview) -> None:
        """Write a file as `write_whole` does; raise `StorageRefused` once the time is used up."""
        began, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                self._check_there()
                return write_whole(path, data)
            except OSError as error:
                left = self.seconds - (time.monotonic() - began)
                if self.spent or left <= 0:
                    self.spent = True
                    raise StorageRefused(
                        f"{path} cannot be written: {_cause(error)}. The record is complete up to here: make room or "
                        "bring the storage back, and run the same command again."
                    ) from error
                if pause == FIRST_PAUSE_S:
                    self.say(f"{path} cannot be written ({_cause(error)}): trying again for {self.seconds:.0f} s")
            time.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _check_there(self) -> None:
        """Raise `FileNotFoundError` without the results folder: a file on an empty mount point would be lost."""
        if isinstance(self.results, Path) and not self.results.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the results folder is gone", str(self.results))


def _cause(error: OSError) -> str:
    return error.strerror or str(error)
