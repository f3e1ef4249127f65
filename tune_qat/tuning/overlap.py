"""Data of a study's repeats, and how much of one's training subset is in another's."""

from functools import partial
from pathlib import Path

import numpy as np

from tune_qat.config import UsageError
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.training.workload import Workload
from tune_qat.tuning.plan import DataDraws


def load_works(study: Study, data_dir: str | Path | None) -> DataDraws[Workload]:
    """Load the study's workload, with the data of each repeat, and check that subsets are as the study wants them.

    Where subsets vary, those of the whole study's earlier repeats are loaded as well, in whichever file these are.
    """
    wanted, numbers = study.workload, study.repeat_numbers
    load = partial(
        workload.load,
        wanted.model,
        wanted.dataset,
        data_dir=data_dir,
        default_data_dir=study.data_dir,
        model_options=wanted.model_options,
        task=wanted.task,
    )
    if _draws_subsets(study):
        numbers = range(numbers.stop)
    works = DataDraws.of_study(study, lambda options: load(options=options), numbers)
    check_subsets(study, works)
    return works


def _draws_subsets(study: Study) -> bool:
    return study.repeat is not None and "subset" in study.repeat.varies


def subset_overlaps(study: Study, works: DataDraws[Workload]) -> dict[int, float]:
    """Return by repeat the largest share of its training samples that another repeat trains on, too.

    Nothing for studies whose repeats have no subsets of their own.
    """
    if not _draws_subsets(study):
        return {}
    known = {number: study.data_options(number) for number in range(study.repeat_numbers.stop)}
    data = {number: works.of(options).dataset for number, options in known.items() if options in works}
    subsets = {number: one.train_index for number, one in data.items() if one.train_index is not None}
    found = {}
    for repeat in set(study.repeat_numbers) & subsets.keys():
        own = subsets[repeat]
        shares = [np.isin(own, other).mean() for number, other in subsets.items() if number != repeat]
        found[repeat] = float(max(shares, default=0.0))
    return found


def check_subsets(study: Study, works: DataDraws[Workload]) -> None:
    """Raise `UsageError` where subsets overlap that must not, or are no subsets, since all samples are taken."""
    overlaps = subset_overlaps(study, works)
    if overlaps and min(overlaps.values()) == 1.0:
        raise UsageError(
            f"repeat.varies: {study.workload.dataset!r} has no more than {works.first.dataset.sizes['train']} training "
            'samples, so that "subset" varies nothing. Lower workload.options.train_limit.'
        )
    if study.repeat is not None and study.repeat.disjoint and max(overlaps.values(), default=0) > 0:
        dataset = works.first.dataset
        raise UsageError(
            f"repeat.disjoint: dataset {dataset.spec.name!r} is too little for {len(overlaps)} disjoint subsets of "
            f"{dataset.sizes['train']} samples: up to {max(overlaps.values()):.0%} of one is in another. "
            "Lower workload.options.train_limit or repeats, or leave repeat.disjoint out: intervals are then too short."
        )
