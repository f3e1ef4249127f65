"""Progress of downloads: a bar on a terminal, elsewhere a line for each file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tune_qat.text.printable import exact, printable

Shown = tuple[Callable[[str, int, int], None], Callable[[str], None]]
"""Function told of a file, its bytes so far and in all, and one told of what else there is to say."""


@contextmanager
def shown_progress() -> Iterator[Shown]:
    """Show downloads while the block runs."""
    from rich.console import Console

    console = Console(file=exact(sys.stderr))
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield _lines()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
        tasks: dict[str, int] = {}

        def told(file: str, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total or None, completed=done)
            bars.update(tasks[file], completed=done, total=total or None)  # type: ignore[arg-type]

        yield told, lambda text: bars.console.print(printable(text), markup=False, highlight=False)


def _lines() -> Shown:
    begun = set()

    def told(file: str, done: int, total: int) -> None:
        if file not in begun:
            begun.add(file)
            print(f"{file}: downloading", file=sys.stderr, flush=True)

    return told, lambda text: print(printable(text), file=sys.stderr, flush=True)
