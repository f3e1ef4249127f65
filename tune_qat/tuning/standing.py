"""How a study stands beside its record, in words, before anything runs: what is there, taken over, and new."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_qat.tuning.misfits import misfits
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.start_state import StartState


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
    """Return the queue, with the arms open of a start that has to be made again: the same weights will come out."""

    def recorded(start: StartState) -> str | None:
        row = start.row or queue.recorded_start(start)
        return row["checkpoint_sha256"] if row else None

    if queue.open or not any(recorded(start) for start in queue.starts if not start.known):
        return queue
    return queue.opened(recorded)


def standing_of(
    queue: StudyQueue,
    record: Sequence[Mapping[str, Any]],
    *,
    coming: Sequence[str] = (),
) -> Standing:
    """Count a study's trials.

    Args:
        queue: the study's queue, with its arms open if the weights of the start are known.
        record: rows of the study's trials.
        coming: `taken_from` of each trial that is not taken over yet and will be, starts among them.
    """
    rows = [row for state in queue.arms.values() for _, row in state.done.values()]
    rows += [start.row for start in queue.starts if start.row is not None]
    rows += queue.baselines.done(queue.arms.values())
    origins = [row["taken_from"] for row in rows if row.get("taken_from")]
    starts_to_come = sum(start.known and start.plan is not None and start.row is None for start in queue.starts)
    return Standing(
        recorded=len(rows) - len(origins),
        taken=Counter(origin.partition("/")[0] for origin in [*origins, *coming]),
        new=queue.remaining() + starts_to_come - len(coming),
        misfits=misfits(queue, record),
    )
