"""The screen of a run in a pseudo-terminal: drawn whole at every size, and given back as soon as Ctrl-C is pressed."""

import fcntl
import io
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tune_qat.cli.run_screen import RunScreen
from tune_qat.study import Study
from tune_qat.tuning.objectives import METRIC_ALONE
from tune_qat.tuning.signals import ENDING, STOPPING

SHOWN = """
import time
from types import SimpleNamespace
from tune_qat.cli.run_screen import RunScreen
from tune_qat.study import Study
from tune_qat.text.printable import printable_output
from tune_qat.tuning.objectives import METRIC_ALONE
from tune_qat.tuning.signals import stops

queue = SimpleNamespace(study=Study.load("quickstart"), arms={}, starts=[], objective=None, objectives=METRIC_ALONE)
searcher = SimpleNamespace(queue=queue, unit="dB", listen=lambda listener: None)
try:
    with printable_output(), stops("resume:\\n  the command") as signals:
        screen = RunScreen(live=True)
        signals.leave = screen.leave
        screen.say("said before")
        with screen.display(searcher, None):
            signals.clean = lambda: None
            screen.say("said meanwhile")
            time.sleep(60)
except KeyboardInterrupt as stopped:
    print("error:", stopped)
"""
HOME, SECOND_SCREEN, FIRST_SCREEN = "\x1b[H", "\x1b[?1049h", "\x1b[?1049l"
STYLE = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")
PATIENCE_S = 60.0


class Terminal:
    """The other end of a pseudo-terminal that a program runs in."""

    def __init__(self, end: int) -> None:
        self._end, self.text = end, ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, key: str) -> None:
        os.write(self._end, key.encode())

    def read_until(self, pattern: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.text, re.DOTALL):
            assert time.monotonic() < until, self.text
            if select.select([self._end], [], [], 1.0)[0]:
                try:
                    self.text += os.read(self._end, 65536).decode()
                except OSError:  # the program has ended
                    assert re.search(pattern, self.text, re.DOTALL), self.text

    def frame(self, width: int, height: int) -> list[str]:
        """The next whole drawing of this size."""
        self.text = ""
        line = f"[^\r\n]{{{width}}}"
        while True:
            self.read_until(f"{re.escape(HOME)}.*{re.escape(HOME)}")
            for drawn in self.text.split(HOME)[1:-1]:
                lines = STYLE.sub("", drawn).split("\r\n")
                if len(lines) == height and all(re.fullmatch(line, one) for one in lines):
                    return lines
            self.text = HOME + self.text.split(HOME)[-1]


@contextmanager
def shown(width: int, height: int) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    ours, theirs = os.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    terminal = Terminal(ours)
    terminal.resize(width, height)
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    begun = [sys.executable, "-c", SHOWN]
    process = subprocess.Popen(
        begun, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, preexec_fn=take_terminal
    )
    os.close(theirs)
    try:
        yield terminal, process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.slow
def test_a_resized_terminal_is_drawn_whole_and_ctrl_c_gives_it_back_at_once() -> None:
    with shown(80, 24) as (terminal, process):
        terminal.read_until(re.escape(SECOND_SCREEN))
        assert "said before" in terminal.text
        terminal.read_until("said meanwhile")
        lines = terminal.frame(80, 24)
        assert lines[0].startswith("quickstart") and lines[-2].startswith("said meanwhile")
        for width, height in ((60, 20), (120, 40)):
            terminal.resize(width, height)
            lines = terminal.frame(width, height)
            assert lines[0].startswith("quickstart") and lines[-1].startswith("Ctrl-C stops it")
        terminal.text = ""
        terminal.press("\x03")
        stopping = STOPPING.replace("\n", "\r\n")
        terminal.read_until(f"{re.escape(FIRST_SCREEN)}.*{re.escape(stopping)}")
        after = terminal.text.partition(FIRST_SCREEN)[2]
        assert "said meanwhile" in after and HOME not in after, "nothing is drawn over the words"
        terminal.press("\x03")
        terminal.read_until(re.escape(ENDING))
        terminal.read_until("error: stopped by Ctrl-C\r\nresume:\r\n  the command\r\n")
        assert HOME not in terminal.text.partition(FIRST_SCREEN)[2]
        assert process.wait(PATIENCE_S) == 0


class Dumb(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("kind", "name"), [(Dumb, "dumb"), (io.StringIO, "xterm")])
def test_lines_where_nothing_can_be_drawn(kind: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that only prints, and in a pipe, whatever is said of colours."""
    taken = kind()
    monkeypatch.setattr(sys, "stderr", taken)
    monkeypatch.setenv("TERM", name)
    monkeypatch.setenv("FORCE_COLOR", "1")
    queue: Any = SimpleNamespace(
        study=Study.load("quickstart"), arms={}, starts=[], objective=None, objectives=METRIC_ALONE
    )
    listeners: list[Any] = []
    searcher: Any = SimpleNamespace(queue=queue, unit="dB", listen=listeners.append)
    screen = RunScreen(live=True)
    with screen.display(searcher, None):  # type: ignore[arg-type]
        screen.doing("Training")
        listeners[0]("started", SimpleNamespace(stage="pretrain", trial_key="t"), {})
    assert taken.getvalue() == "Training ...\npretrain: 0 of 201 trials ended, 0:00 so far\n"
