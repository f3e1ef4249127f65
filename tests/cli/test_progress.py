"""The display of a running study, drawn to text."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from tests.helpers.studies import tiny_study
from tests.tuning.test_queue import make_queue, row_of
from tune_qat.cli.progress import Progress


def drawn(progress: Progress) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(progress)
    return capture.get()


def test_counts_and_best_values_follow_the_study() -> None:
    queue = make_queue(tiny_study())
    searcher: Any = SimpleNamespace(queue=queue)
    progress = Progress(searcher)
    start = queue.next()
    assert start is not None
    progress.listen("started", start, {})
    progress.listen("epoch", start, {"epoch": 1, "val_metric": 0.25})
    # 1 pretrain, 4 default, 4 random, 12 search and 8 retrain trials.
    assert "stage pretrain · 0/29 trials done · 1 running" in drawn(progress)
    assert "epoch 1 of 2, validation 0.2500" in drawn(progress)
    queue.ended(start, row_of(start))
    progress.listen("ended", start, row_of(start))
    for status, metric in (("completed", 0.5), ("diverged", None)):
        plan = queue.next()
        assert plan is not None
        row = {**row_of(plan, status=status, metric=metric), "epochs_run": 3}
        queue.ended(plan, row)
        progress.listen("ended", plan, row)
    shown = drawn(progress)
    assert "3/29 trials done" in shown and "1 diverged" in shown
    assert "0.5000" in next(line for line in shown.splitlines() if "adam-w32a32" in line)


def test_a_line_a_stage_where_there_is_no_terminal() -> None:
    queue = make_queue(tiny_study())
    searcher: Any = SimpleNamespace(queue=queue)
    progress = Progress(searcher)
    lines: list[str] = []
    progress.announce = lines.append
    start = queue.next()
    assert start is not None
    progress.listen("started", start, {})
    progress.listen("started", start, {})
    assert len(lines) == 1 and lines[0].startswith("pretrain: 0 trials ended")
    # Arms do not wait for one another.
    for stage in ("search", "retrain", "search"):
        progress.listen("started", replace(start, stage=stage), {})
    assert [line.partition(":")[0] for line in lines] == ["pretrain", "search", "retrain"]
