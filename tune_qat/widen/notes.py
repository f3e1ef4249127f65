"""Notes on a wider study, for its file and for the screen."""

from tune_qat.config import Range
from tune_qat.study import Study
from tune_qat.study.space import BATCH_SIZE, MULTIPLIER, is_position
from tune_qat.study.steps import RANGES, step_dimension
from tune_qat.widen.edges import span, words


def moves(old: Study, new: Study) -> list[str]:
    """Return a line for each range that moved, with its old and new ends, and for the search trials."""
    lines, of_study = list[str](), list[str]()
    for optimizer in old.space.optimizers:
        was, now = old.dimensions(optimizer), new.dimensions(optimizer)
        for name in [name for name in was if not is_position(name) and was[name] != now[name]]:
            moved = _moved(was[name], now[name])
            if name in (BATCH_SIZE, MULTIPLIER):
                of_study.append(f"{words(name)}: {moved}")
            else:
                lines.append(f"{words(name)} of {optimizer}: {moved}")
    for level in RANGES:
        pairs = zip(step_dimension(old.space, level).values(), step_dimension(new.space, level).values(), strict=True)
        of_study += [f"rate of step sizes, {level}: {_moved(*pair)}" for pair in pairs if pair[0] != pair[1]]
    before, after = old.stages.search, new.stages.search
    # What belongs to the study is the same for each optimizer.
    return [
        *lines,
        *dict.fromkeys(of_study),
        f"search trials of an arm: {f'{before} -> ' if before != after else ''}{after}",
    ]


def _moved(was: Range, now: Range) -> str:
    return f"{span(was.low, was.high)} -> {span(now.low, now.high)}"


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
