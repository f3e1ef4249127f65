"""The command line. Each command imports its modules when it runs, so that the others start quickly."""

import sys

from tune_qat.cli import (
    catalogue,
    checks,
    clusters,
    costs,
    data_sets,
    formats,
    imports,
    proposals,
    records,
    reports,
    show,
    simulations,
    studies,
    tracking,
    trials,
)
from tune_qat.cli import ranges as widening
from tune_qat.cli.application import app
from tune_qat.config import TuneQatError
from tune_qat.text.printable import printable_output
from tune_qat.text.sentences import fitted

__all__ = [
    "app",
    "catalogue",
    "checks",
    "clusters",
    "costs",
    "data_sets",
    "formats",
    "imports",
    "main",
    "proposals",
    "records",
    "reports",
    "show",
    "simulations",
    "studies",
    "tracking",
    "trials",
    "widening",
]


def main() -> None:
    """Run the command line; a `TuneQatError` ends in its message and exit code, without a traceback."""
    with printable_output():
        try:
            app(prog_name="tune-qat")
        except TuneQatError as error:
            print(fitted(f"error: {error}", sys.stderr), file=sys.stderr)
            sys.exit(error.exit_code)
