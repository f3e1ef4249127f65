"""Search spaces that have fewer points than a study's stages ask trials of."""

from tune_qat.config.statuses import RANDOM, SEARCH
from tune_qat.study.study import Study


def used_up(study: Study) -> list[str]:
    """Return a sentence for each such space, which its trials use up."""
    said: dict[str, str] = {}
    for arm in study.arms():
        planned, asked = study.planned(arm), {RANDOM: study.stages.random, SEARCH: study.stages.search}
        few = [f"{planned[stage]} of {trials} {stage}" for stage, trials in asked.items() if planned[stage] < trials]
        if few:
            name, count = ", ".join(arm.optimizers), len(study.points(arm) or [])
            points = "1 point" if count == 1 else f"{count} points"
            said[name] = f"The space of {name} has {points}, all used by {' and '.join(few)} trials."
    return list(said.values())
