"""How a study stands beside its record, in words, before anything runs: what is there, taken over, and new."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_qat.tuning.misfits import misfits
from tune_qat.tuning.queue import StudyQueue


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Numbers of a study's trials."""

    recorded: int
    """Trials that this study has run to their end."""
    taken: Mapping[str, int]
    """Trials that are taken over, by the study that ran them."""
    new: int
    """Planned trials that have not ended, those that are cut off included."""
    misfits: Sequence[str]
    """A sentence for each reason why recorded trials do not count any more."""

    def lines(self) -> list[str]:
        """Return a line of numbers, and one for each reason of misfits; nothing about a study that is all new."""
        if not (self.recorded or self.taken or self.misfits):
            return []
        taken = [f"{count} taken over from {study}" for study, count in sorted(self.taken.items())]
        return [", ".join([f"{self.recorded} recorded", *taken, f"{self.new} new"]), *self.misfits]


def expected(queue: StudyQueue) -> StudyQueue:
    """Return the queue, or if its start has to be made again one with the arms open: the same weights will come out."""
    row = None if queue.arms else queue.recorded_start()
    if row is None:
        return queue
    return queue.opened(row["checkpoint_sha256"])


def standing_of(
    queue: StudyQueue,
    record: Sequence[Mapping[str, Any]],
    *,
    start: Mapping[str, Any] | None,
    coming: Sequence[str] = (),
) -> Standing:
    """Count a study's trials.

    Args:
        queue: the study's queue, with its arms open if the weights of the start are known.
        record: rows of the study's trials.
        start: row of the completed start; None while it is not there, and without one.
        coming: `taken_from` of each trial that is not taken over yet and will be, the start among them.
    """
    rows = [row for state in queue.arms.values() for _, row in state.done.values()]
    rows += [start] if start is not None else []
    origins = [row["taken_from"] for row in rows if row.get("taken_from")]
    start_to_come = bool(queue.arms) and queue.pretrain is not None and start is None
    return Standing(
        recorded=len(rows) - len(origins),
        taken=Counter(origin.partition("/")[0] for origin in [*origins, *coming]),
        new=queue.remaining() + start_to_come - len(coming),
        misfits=misfits(queue, record),
    )
