"""Training subsets of repeats: how much of one is in another."""

import numpy as np

from tune_qat.config import UsageError
from tune_qat.study import Study
from tune_qat.training.workload import Workload
from tune_qat.tuning.plan import DataDraws


def subset_overlaps(study: Study, works: DataDraws[Workload]) -> dict[int, float]:
    """Return by repeat the largest share of its training samples that another repeat trains on, too.

    Nothing for studies whose repeats have no subsets of their own.
    """
    if study.repeat is None or "subset" not in study.repeat.varies:
        return {}
    data = {repeat: works.of(study.data_options(repeat)).dataset for repeat in study.repeat_numbers}
    subsets = {repeat: one.train_index for repeat, one in data.items() if one.train_index is not None}
    found = {}
    for repeat, own in subsets.items():
        shares = [np.isin(own, other).mean() for number, other in subsets.items() if number != repeat]
        found[repeat] = float(max(shares, default=0.0))
    return found


def check_subsets(study: Study, works: DataDraws[Workload]) -> None:
    """Raise `UsageError` where subsets overlap that must not, or are no subsets, since all samples are taken."""
    overlaps = subset_overlaps(study, works)
    if len(overlaps) > 1 and min(overlaps.values()) == 1.0:
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
