"""Errors for people, and the exit code of each."""


class TuneQatError(Exception):
    """An error for people: its text is shown as it is, without a traceback. Exit code 1: environment or data."""

    exit_code = 1


class StudyHalted(TuneQatError):
    """Something that every trial of a study needs is gone or has changed: it stops, and the same command goes on."""


class StorageRefused(StudyHalted):
    """Storage that did not take a file of the record, or did not give it, for longer than is waited."""


class NotRead(StorageRefused):
    """Storage that did not give a file, which may be whole: it may be asked again."""


class UsageError(TuneQatError):
    """A wrong command line, study file or value. Exit code 2."""

    exit_code = 2


class TooManyFailures(TuneQatError):
    """More trials ended in an error than the study allows. Exit code 3."""

    exit_code = 3


class Interrupted(TuneQatError):
    """Stopped before the end by the user or a budget; the same command goes on. Exit code 4."""

    exit_code = 4


def is_ctrl_c(error: BaseException) -> bool:
    """Tell whether an exception is Ctrl-C: pressed while DuckDB answers, it is a `RuntimeError` of DuckDB's own."""
    return isinstance(error, KeyboardInterrupt) or (type(error) is RuntimeError and str(error) == "Query interrupted")
