"""The command line. Each command imports its modules when it runs, so that the others start quickly."""

import sys

from tune_qat.cli import clusters, imports, records, reports, simulations, studies, trials
from tune_qat.cli import ranges as widening
from tune_qat.cli.application import app
from tune_qat.config import TuneQatError
from tune_qat.text.printable import printable_output

__all__ = ["app", "clusters", "imports", "main", "records", "reports", "simulations", "studies", "trials", "widening"]


def main() -> None:
    """Run the command line; a `TuneQatError` ends in its message and exit code, without a traceback."""
    with printable_output():
        try:
            app(prog_name="tune-qat")
        except TuneQatError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
