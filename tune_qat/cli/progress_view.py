"""Drawing of a running study for a terminal of any size: bar, best configurations, optimizers by bits, trials."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tune_qat.cli.progress import Progress, Trial, minutes
from tune_qat.config.statuses import COMPLETED, DIVERGED, ERROR, OOM, PRETRAIN, RUNNING, STOPPED
from tune_qat.text.names import shown
from tune_qat.text.numbers import bare_score, rate, score, unit_name
from tune_qat.text.printable import printable

GAP = 2
"""Blanks between columns."""
LEAST_RECENT = 3
"""Lines of single trials, with their title, that the other parts leave where they can."""
NAME = 19
"""Limit of the letters of an optimizer's name."""
TWO_DECIMALS = ("fraction", "percent", "dB")
STYLES = {RUNNING: "cyan", COMPLETED: "green", STOPPED: "dim", DIVERGED: "red", OOM: "red", ERROR: "red"}
Part = list[Table | Text]
"""A part of the screen; each row of a table is one line."""
WORDS = {COMPLETED: "ended", STOPPED: "stopped early", OOM: "out of memory", ERROR: "failed"}
"""Statuses of ended trials that are told in other words than the record's."""


class View:
    """Drawing of a progress, and below it the last of some notes."""

    def __init__(self, progress: Progress, notes: Sequence[str] = ()) -> None:
        self._progress, self._notes = progress, notes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width, left = options.max_width, options.height or console.height
        progress = self._progress
        notes: Part = [Text(printable(note), style="yellow", no_wrap=True) for note in list(self._notes)[-2:]]
        head: Part = [_title(progress), _bar(progress, width), _status(progress)]
        left -= len(head) + len(notes) + 1
        grid = _grid(progress, width, most=left - LEAST_RECENT)
        left -= _lines(grid)
        best = _best(progress, width, most=max(left - LEAST_RECENT, min(left, LEAST_RECENT)))
        left -= _lines(best)
        trials = _trials(progress, width, most=left)
        left -= _lines(trials)
        for part in (head, best, grid, trials):
            yield from part
            if part and left > 0:
                left -= 1
                yield Text()
        yield from [Text()] * max(0, left)
        yield from notes
        yield Text("Ctrl-C stops it; the same command goes on", style="dim", no_wrap=True)


def _lines(part: Part) -> int:
    return sum(one.row_count if isinstance(one, Table) else 1 for one in part)


def _title(progress: Progress) -> Table:
    study = progress.study
    name = Text(printable(study.name), style="bold")
    name.append(printable(f"  {study.workload.model} on {study.workload.dataset}"), style="none")
    left = progress.seconds_left
    clock = minutes(progress.seconds) + ("" if left is None else f", at most {minutes(left)} left")
    return _line([name, Text(clock)])


def _bar(progress: Progress, width: int) -> Table:
    words = f"{progress.ended:,}/{progress.trials:,} trials  {progress.epochs_done:,}/{progress.epochs:,} epochs"
    room = max(8, width - len(words) - GAP)
    return _line([ProgressBar(total=max(1, progress.epochs), completed=progress.epochs_done, width=room), Text(words)])


def _line(parts: Sequence[RenderableType]) -> Table:
    """Put two parts on one line, the second one at its end."""
    line = Table.grid(expand=True, padding=(0, 0, 0, GAP))
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(no_wrap=True, justify="right")
    line.add_row(*parts)
    return line


def _status(progress: Progress) -> Text:
    if not progress.running and not progress.epochs_run:
        return Text("starting the processes of trials", style="cyan")
    counts = progress.outcomes
    line = Text(f"stage {progress.stage}", no_wrap=True, overflow="ellipsis")
    line.append(f" · {len(progress.running)} running", style=STYLES[RUNNING])
    for status in (STOPPED, DIVERGED, OOM, ERROR):
        if counts[status]:
            line.append(f" · {counts[status]} {WORDS.get(status, status)}", style=STYLES[status])
    return line


def _best(progress: Progress, width: int, *, most: int) -> Part:
    """Draw the best configurations in at most so many lines, those of quantized models first."""
    columns = sorted(dict.fromkeys(progress.columns.values()), key=lambda name: name.startswith("32/32"))
    found = [(column, trial) for column in columns for trial in progress.best.get(column, ())][: max(0, most - 1)]
    several = progress.queue.objectives.several
    rows = [
        [
            Text(_bits(one) if several else column),
            Text(_name(one)),
            Text(_score(progress, one.metric), style="bold green"),
            *_configured(one),
        ]
        for column, one in found
    ]
    title = "front so far, on validation data" if several else "best so far, on validation data"
    return [Text(title, style="dim", no_wrap=True), _table(rows, width)] if found else []


def _bits(trial: Trial) -> str:
    scheme = trial.plan.config.scheme
    return f"{scheme.weight_bits}/{scheme.activation_bits}"


def _configured(trial: Trial) -> list[Text]:
    config = trial.plan.config
    return [Text(f"rate {rate(config.learning_rate)}"), Text(f"batch {config.batch_size}")]


def _grid(progress: Progress, width: int, *, most: int) -> Part:
    """Draw a table of at most so many lines with a row for each optimizer and a column for each pair of bits."""
    columns = list(dict.fromkeys(progress.columns.values()))
    rows = list(dict.fromkeys(optimizer for optimizer, _ in list(progress.cells)))
    if most < LEAST_RECENT:
        return []
    running = Counter(_where(progress, trial) for trial in list(progress.running.values()))
    room = width - min(NAME, max(len(shown(row)) for row in rows))
    for counted in (True, False):
        cells = {(row, column): _cell(progress, row, column, running, counted) for row in rows for column in columns}
        wide = max([len(one) for one in columns] + [cell.cell_len for cell in cells.values()])
        count = max(1, room // (wide + GAP))
        if count >= len(columns):
            break
    seen = rows if len(rows) <= most - 2 else rows[: most - 3]
    lines = [[Text(), *(Text(f"{column:>6}", style="bold") for column in columns[:count])]]
    lines += [[Text(printable(shown(row))[:NAME]), *(cells[row, one] for one in columns[:count])] for row in seen]
    drawn: Part = [_legend(progress, counted, len(columns) - count), _table(lines, width)]
    return drawn if len(seen) == len(rows) else [*drawn, Text(f"{len(rows) - len(seen)} more optimizers", style="dim")]


def _legend(progress: Progress, counted: bool, hidden: int) -> Text:
    unit = unit_name(progress.unit)
    metric = shown(progress.study.judgement.metric) + (f" in {unit}" if unit else "")
    planned = "" if progress.study.mode == "joint" else "/planned"
    counts = f"trials ended{planned}, + running" if counted else "* running"
    more = f"; {hidden} more columns in a wider terminal" if hidden > 0 else ""
    return Text(f"best {metric}, {counts}{more}", style="dim", no_wrap=True, overflow="ellipsis")


def _cell(progress: Progress, optimizer: str, column: str, running: Counter[tuple[str, str]], counted: bool) -> Text:
    cell, now = progress.cells.get((optimizer, column)), running[optimizer, column]
    if cell is None:
        return Text()
    decimals = 2 if progress.unit in TWO_DECIMALS else None
    best = progress.best.get(column, [])
    leads = bool(best) and best[0].plan.config.optimizer == optimizer
    score_text = f"{bare_score(cell.best, progress.unit, decimals):>6}"
    text = Text().append(score_text, style="bold green" if leads else None)
    if not counted:
        return text.append("*" if now else " ", style=STYLES[RUNNING])
    of = "" if cell.planned is None else f"/{cell.planned}"
    text.append(f" {cell.ended:>{max(3, len(of) - 1)}}{of}", style="green" if of == f"/{cell.ended}" else "dim")
    return text.append(f" +{now}" if now else "   ", style=STYLES[RUNNING])


def _where(progress: Progress, trial: Trial) -> tuple[str, str]:
    return trial.plan.config.optimizer, progress.columns.get(trial.plan.arm_id, "")


def _trials(progress: Progress, width: int, *, most: int) -> Part:
    """Draw in at most so many lines the trials that run, and of those that have ended the last ones."""
    trials = [*progress.running.values(), *progress.recent][: max(0, most - 1)]
    rows = [
        [
            Text(f"{_name(trial)} {_where(progress, trial)[1]}".rstrip()),
            Text("start" if trial.plan.stage == PRETRAIN else trial.plan.stage),
            Text(_told(trial), style=STYLES.get(trial.status, "")),
            Text(_score(progress, trial.metric)),
            *_configured(trial),
        ]
        for trial in trials
    ]
    title = Text("trials that run, and the last that ended", style="dim", no_wrap=True)
    return [title, _table(rows, width)] if trials else []


def _told(trial: Trial) -> str:
    if trial.status == RUNNING:
        return f"epoch {trial.epoch}/{trial.plan.config.epochs}"
    if trial.status == STOPPED:
        return f"stopped at {trial.epoch}/{trial.plan.config.epochs}"
    return WORDS.get(trial.status, trial.status)


def _name(trial: Trial) -> str:
    return printable(shown(trial.plan.config.optimizer))


def _score(progress: Progress, value: float | None) -> str:
    return score(value, progress.unit, 2 if progress.unit in TWO_DECIMALS else None)


def _table(rows: Sequence[Sequence[Text]], width: int) -> Table:
    """Return a table whose rows are one line each; it leaves out whole columns at its end where it is too wide."""
    table, used = Table.grid(padding=(0, GAP, 0, 0)), 0
    for column in zip(*rows, strict=True):
        used += GAP + max(cell.cell_len for cell in column)
        if used - GAP <= width or not table.columns:
            table.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    return table
