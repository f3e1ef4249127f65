"""Screen of `tune-qat run`: what is said before the first trial, and a display of its own while trials run."""

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs, trial_epochs
from tune_qat.study.mixed import mixed_schemes
from tune_qat.text.names import shown
from tune_qat.text.printable import exact
from tune_qat.text.sentences import fitted

if TYPE_CHECKING:
    from rich.live import Live

    from tune_qat.tuning.cluster.connect import Resources
    from tune_qat.tuning.searcher import StudySearcher

REFRESH_HZ = 4


def heading(study: Study, results: StoragePath) -> list[str]:
    """Return what is known of a study from its file alone: model, data, arms, cost at most, and where results go."""
    arms, optimizers = study.arms(), study.space.optimizers
    mixed = mixed_schemes(study.quantization)
    plain = (one for one in study.schemes if one not in mixed.values())
    bits = list(dict.fromkeys(f"{one.weight_bits}/{one.activation_bits}" for one in plain))
    schemes = " and ".join([f"{', '.join(bits)} bits", *([", ".join(mixed)] if mixed else [])])
    trials = sum(count for _, count, _ in stage_epochs(study))
    count = f"{len(optimizers)} optimizers" if len(optimizers) > 1 else shown(optimizers[0])
    what = f"one search over {count}" if study.mode == "joint" else count
    if study.search.objectives is not None:
        what += f" for the front of {' and '.join(map(shown, study.search.objectives))}"
    searches = "1 arm" if len(arms) == 1 else f"{len(arms)} arms"
    return [
        f"Study {study.name}: {study.workload.model} on {study.workload.dataset}, {shown(study.judgement.metric)}",
        f"{searches}: {what} at {schemes}; at most {trials:,} trials, {trial_epochs(study):,} epochs",
        f"Results in {results}",
    ]


class RunScreen:
    """Standard error of a run: lines, and while trials run in a terminal a display that fills it.

    The display is on the terminal's second screen, which it draws whole: nothing of another size stays on it, and what
    was there before comes back. What is said meanwhile is printed after it.
    """

    def __init__(self, *, live: bool) -> None:
        """Draw a display where standard error is a terminal that can move its cursor, if it is to be `live`."""
        self._wanted = live
        self._display: Live | None = None
        self._later: deque[str] = deque()

    def say(self, text: str) -> None:
        """Print a line; below the display once that is over."""
        if self._display is not None and self._display.is_started:
            self._later.append(text)
        else:
            _print(text)

    def doing(self, text: str) -> None:
        """Say what takes the next seconds."""
        self.say(f"{text} ...")

    @contextmanager
    def display(self, searcher: "StudySearcher", resources: "Resources") -> Iterator[None]:
        """Show the study of a searcher while the block runs: in a display, else with a line for each stage."""
        from rich.console import Console
        from rich.live import Live

        from tune_qat.cli.progress import Progress
        from tune_qat.cli.progress_view import View

        progress = Progress(searcher.queue, unit=searcher.unit)
        searcher.listen(progress.listen)
        console = Console(file=exact(sys.stderr))  # it draws with escapes of its own
        if not (self._wanted and sys.stderr.isatty() and not console.is_dumb_terminal):
            progress.announce = self.say
            yield
            return
        self._display = Live(
            View(progress, self._later),
            console=console,
            screen=True,
            refresh_per_second=REFRESH_HZ,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        try:
            with self._display:
                yield
        finally:
            self.leave()

    def leave(self) -> None:
        """Give the terminal back, from any thread, and print what was said meanwhile."""
        if self._display is not None:
            self._display.stop()
        while self._later:
            _print(self._later.popleft())


def _print(text: str) -> None:
    """Print a text, in a terminal without words that end on the next line."""
    print(fitted(text, sys.stderr), file=sys.stderr, flush=True)
