"""Signals that stop a run: what the handler does, and what is left of real runs that get them."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.helpers.runs import assert_whole, begun, command, study_file, wait_for
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tune_qat.cli.status_text import describe as status
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.tuning.signals import ENDING, STOPPING, STOPS, stops

OWN_S = 60.0


def test_the_first_signal_stops_cleanly_and_the_second_at_once() -> None:
    before = [signal.getsignal(number) for number in STOPS]
    asked = []
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"), stops() as handler:
        handler.clean = lambda: asked.append("clean")
        signal.raise_signal(signal.SIGHUP)
        assert asked == ["clean"] and handler.asked
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in STOPS] == before


def test_two_signals_that_are_one_call_of_the_handler_end_at_once() -> None:
    """Python calls a handler once for signals that came while its main thread was inside a call."""
    with pytest.raises(KeyboardInterrupt, match="stopped by Ctrl-C\nresume"), stops("resume") as handler:
        handler.clean = lambda: None
        handler.pressed = 2
        signal.raise_signal(signal.SIGINT)
    # Where the handler was called before the second one was counted, it is sent again.
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"), stops() as handler:
        handler.clean = lambda: None
        handler(signal.SIGTERM, None)
        handler.insist(signal.SIGTERM)
        time.sleep(OWN_S)


def test_before_the_first_trial_a_signal_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt, match="stopped by Ctrl-C"), stops():
        signal.raise_signal(signal.SIGINT)


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stops() as handler:
            signal.raise_signal(signal.SIGHUP)
            assert not handler.asked
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in STOPS]
    seen: list[object] = []

    def run() -> None:
        with stops():
            seen.extend(signal.getsignal(number) for number in STOPS)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == before


BUSY = """
import hashlib, sys
from tune_qat.tuning import signals
signals.END_S = 1.0
with signals.stops("resume   the command") as handler:
    handler.clean = lambda: None
    print("ready", flush=True)
    while True:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)  # minutes in C: no handler of Python's runs meanwhile
"""


@pytest.mark.slow
def test_a_signal_is_acknowledged_at_once_and_two_end_a_process_that_does_not_return() -> None:
    """As a call of Ray to a head that is gone, or of storage that does not answer."""
    begun = [sys.executable, "-c", BUSY]
    with subprocess.Popen(begun, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)  # until it is in C
            process.send_signal(signal.SIGTERM)
            assert process.stderr.readline() + process.stderr.readline() == f"{STOPPING}\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 4
            assert process.stderr.read() == f"{ENDING}\nerror: ended by a second signal\nresume   the command\n"
        finally:
            process.kill()


def test_the_signal_that_ends_a_tune_run_is_harmless_before_one() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with stops():
        signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return study_file(tmp_path, tiny_study(quantization={"bits": [[4, 4]]}))


PLANNED = {"pretrain": 1, "default": 2, "random": 2, "search": 6, "retrain": 4}


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def assert_gone(processes: list[psutil.Process]) -> None:
    """Ray's processes end with the run."""
    _, alive = psutil.wait_procs(processes, timeout=OWN_S)
    assert not alive


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_stops_with_everything_recorded(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with begun(space, results) as process:
        wait_for(results, 2, process)
        started = family(process)
        process.terminate()
        shown, errors = process.communicate(timeout=120)
    assert process.returncode == 4, errors
    assert (
        "stopped" in shown
        and f"\nresume:\n  tune-qat run {space} --results {results} --no-progress --max-concurrent 1\n" in shown
    )
    assert "Traceback" not in errors and "Stop signal" not in errors
    rows = read_rows(results, "trials")
    statuses = Counter(row["status"] for row in rows)
    assert statuses["running"] == 0 and statuses["interrupted"] >= 1
    assert {row["stop_reason"] for row in rows if row["status"] == "interrupted"} == {"user"}
    assert_gone(started)
    run_here(Study.load(str(space)), results)
    assert_whole(results, PLANNED)


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_while_ray_starts_leaves_nothing_running(space: Path, tmp_path: Path) -> None:
    with begun(space, tmp_path / "results") as process:
        until = time.monotonic() + OWN_S
        while not (started := family(process)):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.02)
        process.terminate()
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 4, errors
    assert "stopped by SIGTERM" in errors and "Traceback" not in errors
    assert_gone(started)


@pytest.mark.ray
@pytest.mark.slow
def test_a_terminal_that_closes_leaves_a_study_that_goes_on(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    ours, theirs = os.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    live = [part for part in command(space, results) if part != "--no-progress"]
    process = subprocess.Popen(live, stdin=theirs, stdout=theirs, stderr=theirs, text=True, preexec_fn=take_terminal)
    try:
        os.close(theirs)
        reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
        reader.start()
        wait_for(results, 2, process)
        os.close(ours)
        assert process.wait(120) == 4
    finally:
        process.kill()
        process.wait()
    rows = read_rows(results, "trials")
    assert Counter(row["status"] for row in rows)["running"] == 0
    assert "study tiny: not complete" in status(results)


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        return
