"""Settings that a study began with and keeps, though its file leaves them to a default that has changed since."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """Settings of an earlier run, from the record of the study; all are None in a study that begins."""

    first_rung: int | None = None
    """First rung where the file names none."""
