"""Starts of a study: the weights that the arms of each repeat begin from."""

from dataclasses import dataclass

from tune_qat.config import TrialConfig, stable_hash
from tune_qat.study.study import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Weights that the arms of some repeats begin from."""

    config: TrialConfig | None
    """Floating-point run that makes them; None where they are random, or there already."""
    repeats: tuple[int, ...]
    control_for: str | None = None
    """Bits whose worsened control begins from it, as "4/4"; it is made of the start of the same repeats."""


def starts_of(study: Study) -> list[Start]:
    """Return the starts of a study, each with the repeats whose arms begin from it."""
    found: dict[str, Start] = {}
    for number in study.repeat_numbers:
        config = study.pretrain_config(number) if study.training.init == "pretrain" else None
        key = stable_hash(config.identity()) if config else ""
        earlier = found[key].repeats if key in found else ()
        found[key] = Start(config=config, repeats=(*earlier, number))
    return list(found.values())
