"""Runs of TensorBoard: an event file for each trial below the study's folder, and one for the HParams page."""

from collections.abc import Iterable
from pathlib import Path

from tune_qat.trackers.event_files import FILE, bring_up_to, file_bytes, run_folder
from tune_qat.trackers.hparams_page import HParamsPage
from tune_qat.trackers.tracked import TrackedRun


class EventFiles:
    """Event files of a folder, which `export-runs` and a running study write alike."""

    def __init__(self, folder: Path) -> None:
        """Make the folder. Raises `OSError`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._page = HParamsPage(folder)

    def write(self, runs: Iterable[TrackedRun]) -> tuple[int, int]:
        """Bring these runs up to date; return how many there are, and in how many something was missing.

        Raises `OSError`.
        """
        seen = changed = 0
        for run in runs:
            changed += bring_up_to(self._folder / run_folder(run) / FILE, file_bytes(run))
            self._page.add(run)
            seen += 1
        self._page.write()
        return seen, changed
