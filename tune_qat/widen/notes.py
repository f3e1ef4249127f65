"""Notes on a wider study, for its file and for the screen."""

from tune_qat.study import Study
from tune_qat.study.space import BATCH_SIZE
from tune_qat.widen.area import RATE
from tune_qat.widen.edges import WORDS, span


def moves(old: Study, new: Study) -> list[str]:
    """Return a line for each range that moved, with its old and new ends, and for the search trials."""
    lines = []
    for optimizer in old.space.optimizers:
        was, now = old.dimensions(optimizer), new.dimensions(optimizer)
        if RATE in was and was[RATE] != now[RATE]:
            moved = f"{span(was[RATE].low, was[RATE].high)} -> {span(now[RATE].low, now[RATE].high)}"
            lines.append(f"{WORDS[RATE]} of {optimizer}: {moved}")
    sizes, wide = old.space.batch_size, new.space.batch_size
    if (sizes.low, sizes.high) != (wide.low, wide.high):
        lines.append(f"{WORDS[BATCH_SIZE]}: {span(sizes.low, sizes.high)} -> {span(wide.low, wide.high)}")
    before, after = old.stages.search, new.stages.search
    return [*lines, f"search trials of an arm: {f'{before} -> ' if before != after else ''}{after}"]


def kept(old: Study, new: Study, lost: int) -> list[str]:
    """Return lines on which recorded trials still count."""
    lines = ["Recorded trials that fit count, as long as the name stays; only what is new is run."]
    if lost:
        which = "One recorded trial lies" if lost == 1 else f"{lost} recorded trials lie"
        lines.append(f"{which} outside of the new ranges and no longer count{'s' * (lost == 1)}.")
    before, after = old.space.batch_size.middle, new.space.batch_size.middle
    if before != after and old.stages.default:
        lines.append(f"The default trials are run again, at batch size {after}: {before} is not in the range.")
    return lines
