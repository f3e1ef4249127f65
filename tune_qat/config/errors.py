"""Errors for people, and the exit code of each."""


class TuneQatError(Exception):
    """An error for people: its text is shown as it is, without a traceback. Exit code 1: environment or data."""

    exit_code = 1


class StudyHalted(TuneQatError):
    """Something that every trial of a study needs is gone or has changed: it stops, and the same command goes on."""


class StorageRefused(StudyHalted):
    """Storage refused a write of the record for longer than is waited, or a checkpoint could not be read from it."""


class UsageError(TuneQatError):
    """A wrong command line, study file or value. Exit code 2."""

    exit_code = 2


class TooManyFailures(TuneQatError):
    """More trials ended in an error than the study allows. Exit code 3."""

    exit_code = 3


class Interrupted(TuneQatError):
    """Stopped before the end by the user or a budget; the same command goes on. Exit code 4."""

    exit_code = 4
