"""The loop of the fuzzers: seeded cases, each of which must end in success or in one short message, and soon.

By hand, for as long as one likes: python -m tests.fuzz.NAME --seconds 600 --seed 1
Each finding is printed with the command that repeats it alone.
"""

import argparse
import contextlib
import faulthandler
import io
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from tune_qat.config import TuneQatError

HANGS_S = 30
"""Seconds after which a case counts as one that hangs."""
LONGEST = 20_000
"""Characters of the longest message: more is no sentence."""
Case = Callable[[random.Random, Path], Iterator[tuple[str, Callable[[], Any]]]]
"""What makes a case in an empty folder and yields its steps, each with its name: commands that must all end well."""


class Hangs(BaseException):
    """A case took too long."""


def fault(step: Callable[[], Any]) -> str | None:
    """What is wrong with how a step ends; nothing if it ends well, or in a message."""
    try:
        with _watched():
            step()
    except (TuneQatError, click.ClickException) as error:
        return f"a message of {len(str(error)):,} characters" if len(str(error)) > LONGEST else None
    except SystemExit as ended:
        return None if isinstance(ended.code, int) else f"ended with {ended.code!r}"
    except BaseException:
        return traceback.format_exc()[-4_000:]
    return None


def command(*words: object) -> None:
    """Run a command of `tune-qat` as the shell does, its output encoded and thrown away."""
    from tune_qat.cli import app

    with (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8") as screen,
        contextlib.redirect_stdout(screen),
        contextlib.redirect_stderr(screen),
    ):
        app([str(word) for word in words], prog_name="tune-qat", standalone_mode=False)


def faults(case: Case, *, seed: int, numbers: Iterator[int] | range) -> Iterator[str]:
    """Every fault of these cases: the case, its step, and what was wrong."""
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
            for name, step in case(random.Random(f"{seed}/{number}"), Path(folder)):
                wrong = fault(step)
                if wrong:
                    yield f"case {number} of seed {seed}, {name}:\n{wrong}"


def main(module: str, case: Case) -> None:
    """Run cases for some seconds, or one of them, and print every finding."""
    options = argparse.ArgumentParser(prog=f"python -m {module}")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", type=int, help="Number of the one case to repeat; its folder is kept.")
    given = options.parse_args()
    faulthandler.enable()
    if given.only is not None:
        _repeat(case, given.seed, given.only)
        return
    until, found, number = time.monotonic() + given.seconds, 0, -1

    def numbers() -> Iterator[int]:
        nonlocal number
        while time.monotonic() < until:
            number += 1
            # On a line of its own: if the process dies, the last one says where.
            print(f"\rcase {number} ", end="", file=sys.stderr, flush=True)
            yield number

    for one in faults(case, seed=given.seed, numbers=numbers()):
        found += 1
        print(f"\n{one}\n  again: python -m {module} --seed {given.seed} --only {number}\n", flush=True)
    print(f"\n{number + 1} cases, {found} findings", flush=True)
    sys.exit(1 if found else 0)


def _repeat(case: Case, seed: int, number: int) -> None:
    folder = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, step in case(random.Random(f"{seed}/{number}"), folder):
        print(f"{name}: {fault(step) or 'ends well'}")
    print(f"in {folder}")


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Raise `Hangs` where Python still runs after the limit; where it does not, end with every stack after twice it."""

    def hangs(*_: object) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANGS_S)
    faulthandler.dump_traceback_later(2 * HANGS_S, exit=True)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
