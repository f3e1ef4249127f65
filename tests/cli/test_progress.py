"""The display of a running study, drawn to text, and the lines in its place where there is no terminal."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.helpers.studies import tiny_study
from tests.tuning.test_queue import ACCURACY, row_of
from tune_qat.cli.progress import Progress
from tune_qat.cli.progress_view import View
from tune_qat.cli.run_screen import heading
from tune_qat.study import Study
from tune_qat.tuning.plan import Planner, RecordedData
from tune_qat.tuning.queue import StudyQueue


def make_queue(study: Study, record: list[dict[str, Any]] | None = None) -> StudyQueue:
    """A queue of data that is not there."""
    nowhere = RecordedData(data_fingerprint="d", split_fingerprint="s")
    return StudyQueue(Planner(study=study, work=nowhere), record or [], objective=ACCURACY)


def drawn(progress: Progress, width: int = 100, height: int = 40, **options: Any) -> list[str]:
    """The lines of a terminal of this size that has the display on it."""
    console = Console(width=width, height=height, **options)
    with console.capture() as capture:
        console.print(View(progress), height=height)
    return capture.get().splitlines()


def line_with(lines: list[str], *parts: str) -> str:
    (found,) = [line for line in lines if all(part in line for part in parts)]
    return found


def go_on(queue: StudyQueue, progress: Progress, status: str = "completed", metric: float | None = 0.5) -> Any:
    """Start the next trial and end it."""
    plan = queue.next()
    assert plan is not None
    progress.listen("started", plan, {})
    row = {**row_of(plan, status=status, metric=metric), "epochs_run": plan.config.epochs}
    queue.ended(plan, row)
    progress.listen("ended", plan, row)
    return plan


def test_counts_and_best_configurations_follow_the_study() -> None:
    queue = make_queue(tiny_study())
    progress = Progress(queue, unit="fraction")
    assert line_with(drawn(progress), "starting the processes of trials")
    start = queue.next()
    assert start is not None
    progress.listen("started", start, {})
    progress.listen("epoch", start, {"epoch": 1, "val_metric": 0.25})
    lines = drawn(progress)
    # 1 pretrain, 4 default, 4 random, 12 search and 8 retrain trials; 2 epochs of the start, 3 of each other.
    assert line_with(lines, "0/29 trials", "1/86 epochs") and line_with(lines, "stage pretrain · 1 running")
    assert line_with(lines, "start", "epoch 1/2", "25.00 %", "rate 0.001", "batch 32")
    queue.ended(start, row_of(start))
    progress.listen("ended", start, row_of(start))
    first = go_on(queue, progress)
    go_on(queue, progress, "diverged", None)
    lines = drawn(progress)
    assert line_with(lines, "3/29 trials", "8/86 epochs") and line_with(lines, "0 running · 1 diverged")
    (at,) = [number for number, line in enumerate(lines) if line.startswith("best so far, on validation data")]
    assert lines[at + 1].split() == "32/32 Adam 50.00 % rate 0.001 batch 32".split()
    assert line_with(lines, "best accuracy in %, trials ended/planned, + running")
    row = line_with(lines, "Adam ", "50.00   1/7")
    assert "–   0/7" in row and first.config.optimizer == "adam"


def test_what_earlier_runs_have_left_is_counted_and_a_resumed_trial_from_its_epoch() -> None:
    study = tiny_study(training={"epochs": 3, "init": "scratch"}, pretrain=None)
    before, record = make_queue(study), []
    for _ in range(3):
        plan = before.next()
        assert plan is not None
        record.append({**row_of(plan), "epochs_run": 3})
    cut = {**record.pop(), "status": "interrupted"}
    queue = make_queue(study, [*record, cut])
    progress = Progress(queue, unit="fraction")
    assert (progress.ended, progress.epochs_done) == (2, 6)
    plan = queue.next()
    assert plan is not None and plan.trial_key == cut["trial_key"]
    progress.listen("started", plan, {})
    progress.listen("epoch", plan, {"epoch": 3, "val_metric": 0.5})
    assert (progress.epochs_done, progress.epochs_run) == (9, 1)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 24), (40, 10), (20, 5)])
def test_twenty_arms_fit_every_terminal(width: int, height: int) -> None:
    """Ten optimizers at two bit widths, with trials that run and have ended: every line is there, and none too long."""
    queue = make_queue(Study.load("quickstart"))
    progress = Progress(queue, unit="dB")
    for number in range(60):
        go_on(queue, progress, "stopped" if number % 7 == 6 else "completed", 25 + number / 17)
    for plan in itertools.islice(iter(queue.next, None), 2):
        progress.listen("started", plan, {})
    lines = drawn(progress, width, height)
    assert len(lines) == height and max(map(len, lines)) <= width
    if (width, height) in ((80, 24), (120, 40), (60, 24)):
        names = ("Adam", "AdamW", "RMSProp", "AdaGrad", "Adadelta", "SGD", "Nesterov", "Lion", "SGD with clipping")
        starts = [line.split("  ")[0] for line in lines]
        assert all(name in starts for name in names)
        assert line_with(lines, "32/32 ", " 4/4") and "+1" in "".join(lines) and lines[-1].startswith("Ctrl-C")
        assert [line.split()[0] for line in lines if "rate " in line][:2] == ["4/4", "32/32"]


def test_colour_is_there_where_there_is_colour() -> None:
    progress = Progress(make_queue(Study.load("quickstart")), unit="dB")
    coloured = "\n".join(drawn(progress, force_terminal=True, color_system="standard", no_color=False))
    plain = "\n".join(drawn(progress, force_terminal=True, color_system="standard", no_color=True))
    assert "\x1b[36m" in coloured and "\x1b[36m" not in plain


def test_a_joint_search_shows_its_best_three() -> None:
    queue = make_queue(tiny_study(mode="joint", quantization={"bits": [[4, 4]]}))
    progress = Progress(queue, unit="fraction")
    for metric in (0.9, 0.5, 0.7, 0.6, 0.8):
        go_on(queue, progress, metric=metric)
    lines = drawn(progress)
    assert line_with(lines, "best accuracy in %, trials ended, + running")
    (at,) = [number for number, line in enumerate(lines) if line.startswith("best so far")]
    scores = [line.split("%")[0].split()[-1] for line in lines[at + 1 : at + 4]]
    assert scores == ["80.00", "70.00", "60.00"], "the start, of 0.9, is none of them"
    assert lines[at + 4].strip() == ""


def test_a_line_a_stage_where_there_is_no_terminal() -> None:
    queue = make_queue(tiny_study())
    progress = Progress(queue)
    lines: list[str] = []
    progress.announce = lines.append
    start = queue.next()
    assert start is not None
    progress.listen("started", start, {})
    progress.listen("started", start, {})
    assert len(lines) == 1 and lines[0].startswith("pretrain: 0 of 29 trials ended")
    # Arms do not wait for one another.
    for stage in ("search", "retrain", "search"):
        progress.listen("started", replace(start, stage=stage), {})
    assert [line.partition(":")[0] for line in lines] == ["pretrain", "search", "retrain"]


def test_the_heading_says_what_is_run_and_where_it_goes() -> None:
    assert heading(Study.load("quickstart"), Path("results")) == [
        "Study quickstart: espcn on photos, PSNR",
        "20 arms: 10 optimizers at 32/32, 4/4 bits; at most 201 trials, 1,870 epochs",
        "Results in results",
    ]
    joint = heading(Study.load("joint_quickstart"), Path("results"))
    assert joint[1].startswith("1 arm: one search over 10 optimizers at 4/4 bits; at most ")
