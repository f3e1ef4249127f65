"""Event files of TensorBoard while a study runs: `[logging] tensorboard`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_qat.config import TuneQatError
from tune_qat.results.layout import table_folder
from tune_qat.results.reader import last_epochs, read_file
from tune_qat.storage.paths import StoragePath
from tune_qat.trackers.recorded import Arms, Recorded, recorded
from tune_qat.trackers.tracked import TrackedRun, tracked

if TYPE_CHECKING:
    from tune_qat.trackers.tensorboard import EventFiles

Listener = Callable[[str, Any, Mapping[str, Any]], None]


class LiveLog:
    """Listener of a study that brings the event files of its trials up to date, from the record.

    Each time a trial's file is made as `export-runs` makes it, and lacks what is new. No error leaves it: logging ends
    with the first one of writing, and what could not be read is made good at the next epoch.
    """

    def __init__(self, folder: Path, results: StoragePath, study_id: str, say: Callable[[str], Any]) -> None:
        """Call `say` with the reason where logging ends."""
        self._folder, self._results, self._study_id, self._say = folder, results, study_id, say
        self._files: EventFiles | None = None
        self._arms: Arms | None = None
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._open: set[str] = set()
        self._over = False

    @contextmanager
    def used(self, listen: Callable[[Listener], Any]) -> Iterator[None]:
        """Write a study's log while the block runs: before it what earlier runs left, after it what was unheard."""
        with self._guarded() as files:
            if files is not None:
                files.write(map(self._noted, map(tracked, recorded(self._results, self._study_id))))
        listen(self.listen)
        try:
            yield
        finally:
            for key in sorted(self._open):
                self._bring_up_to_date(key)

    def listen(self, event: str, plan: Any, values: Mapping[str, Any]) -> None:
        """Take an event of a trial, as `StudySearcher.tell` passes it on."""
        key = plan.trial_key
        self._bring_up_to_date(key, values if event == "ended" else self._rows.get(key) if event == "epoch" else None)
        if event in ("ended", "lost"):
            self._rows.pop(key, None)

    def _bring_up_to_date(self, key: str, row: Mapping[str, Any] | None = None) -> None:
        """Write what a trial's file lacks; its row is that of the record where none is given."""
        with self._guarded() as files:
            if files is not None:
                known = {**(row or self._row(key)), "study_id": self._study_id}
                self._rows[key] = known
                self._arms = self._arms or Arms(self._results, self._study_id)
                epochs = last_epochs(self._results, self._study_id, key)
                trial = Recorded(arm=self._arms.of(known), trial=known, epochs=epochs)
                files.write([self._noted(tracked(trial))])

    def _noted(self, run: TrackedRun) -> TrackedRun:
        """Note which trials have not ended: an earlier run may have left one that only lacks its row."""
        (self._open.discard if run.ended else self._open.add)(run.key)
        return run

    def _row(self, key: str) -> Mapping[str, Any]:
        path = table_folder(self._results, "trials", self._study_id) / f"{key}.parquet"
        return dict(read_file(path).to_pylist()[0])

    @contextmanager
    def _guarded(self) -> Iterator["EventFiles | None"]:
        """Yield the files, None once logging has ended; an error of the block ends in a sentence, or in nothing."""
        if self._over:
            yield None
            return
        from tune_qat.trackers.tensorboard import EventFiles

        try:
            self._files = self._files or EventFiles(self._folder)
            yield self._files
        except (TuneQatError, FileNotFoundError):
            pass  # the record was not read; at the next epoch it is read again
        except Exception as error:
            self._over = True
            self._say(
                f"logging to {self._folder} has ended: {error}. The study goes on, and `tune-qat export-runs` writes "
                "what is missing."
            )
