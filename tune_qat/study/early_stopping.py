"""Early stopping that a study does not have though its file leaves it on."""

from tune_qat.study.study import Study


def early_stopping_off(study: Study) -> list[str]:
    """Say that nothing is stopped early because there are several objectives; nothing where that is not why."""
    if study.search.objectives is None or not study.asha.enabled:
        return []
    metric = study.judgement.metric
    others = ", ".join(name for name in study.search.objectives if name != metric)
    return [
        f"Early stopping is off: {metric} is traded against {others}, and ASHA, which compares {metric} alone, would "
        "stop what costs less."
    ]
