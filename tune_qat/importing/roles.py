"""Choice of the parameters that hold learning rate, optimizer and so on: the user's, else those with usual names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.shown import listed, shown
from tune_qat.importing.found import FoundStudy, FoundTrial


@dataclass(frozen=True, kw_only=True)
class Role:
    """A column of our trials, and its usual names elsewhere. Names are compared without case and punctuation."""

    name: str
    words: frozenset[str]
    needed: bool = False

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


def _role(name: str, *words: str, needed: bool = False) -> Role:
    return Role(name=name, words=frozenset((name.replace("_", ""), *words)), needed=needed)


OPTIMIZER = _role("optimizer", "optim", "opt", "optimizername", "optimizertype", "optname", needed=True)
LEARNING_RATE = _role("learning_rate", "lr", "baselr", "initlr", "initiallr", "maxlr", needed=True)
BATCH_SIZE = _role("batch_size", "batch", "bs", "trainbatchsize", "perdevicetrainbatchsize", needed=True)
SEED = _role("seed", "randomseed", "randomstate")
WEIGHT_BITS = _role("weight_bits", "wbits", "weightbitwidth", "bits")
ACTIVATION_BITS = _role("activation_bits", "abits", "actbits", "activationbitwidth", "bits")
WEIGHT_DECAY = _role("weight_decay", "wd")
MOMENTUM = _role("momentum")
ROLES = (OPTIMIZER, LEARNING_RATE, BATCH_SIZE, SEED, WEIGHT_BITS, ACTIVATION_BITS, WEIGHT_DECAY, MOMENTUM)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Source of a role's values: one of `names` in each trial, or a value `fixed` for all trials."""

    role: Role
    names: Sequence[str] = ()
    fixed: str | None = None

    def name_in(self, trial: FoundTrial) -> str | None:
        """Return the one of `names` that has a value in this trial; None where none has.

        Raises `UsageError` if several have one.
        """
        present = [name for name in self.names if trial.named.get(name) is not None]
        if len(present) > 1:
            raise UsageError(
                f"Both {' and '.join(map(shown, present[:2]))} of trial {trial.number} may be its "
                f"{self.role.name.replace('_', ' ')}. Choose one: {self.role.option} NAME."
            )
        return present[0] if present else None

    def value(self, trial: FoundTrial) -> Any:
        """Return the role's value in this trial; None where it has none."""
        name = self.name_in(trial)
        return self.fixed if name is None else trial.named[name]


def take(study: FoundStudy, given: Mapping[str, Sequence[str]]) -> dict[str, Taken]:
    """Return the source of each role's values, by the role's name.

    Args:
        study: the study as it was found.
        given: for each role, the names that the user gave, or one `=VALUE` that all trials share.

    Raises `UsageError` if a given name is in no trial, or a needed role has no name that fits, or several in one trial.
    """
    known = list(dict.fromkeys(name for trial in study.trials for name in trial.named))
    taken = {OPTIMIZER.name: _take(OPTIMIZER, study, given.get(OPTIMIZER.name, ()), known, ())}
    spellings = sorted({plain(str(value)) for trial in study.trials if (value := taken["optimizer"].value(trial))})
    for role in ROLES[1:]:
        taken[role.name] = _take(role, study, given.get(role.name, ()), known, spellings)
    return taken


def plain(name: str) -> str:
    """Return a name in lower case with letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _take(
    role: Role, study: FoundStudy, given: Sequence[str], known: Sequence[str], optimizers: Sequence[str]
) -> Taken:
    if given:
        return _as_given(role, study, given, known)
    taken = Taken(role=role, names=[name for name in known if role.words.intersection(_spellings(name, optimizers))])
    if role.needed and known and not taken.names:
        raise UsageError(
            f"No parameter of study {shown(study.name)} has the usual name of a {role.name.replace('_', ' ')}. "
            f"Name it with {role.option} NAME, or give {role.option} =VALUE if all trials had the same. "
            f"It has {listed(known)}."
        )
    try:
        for trial in study.trials:
            taken.name_in(trial)
    except UsageError:
        if role.needed:
            raise
        return Taken(role=role)  # an optional role with several candidates stays empty: no guess among them
    return taken


def _as_given(role: Role, study: FoundStudy, given: Sequence[str], known: Sequence[str]) -> Taken:
    fixed = [one.removeprefix("=") for one in given if one.startswith("=")]
    if fixed and (len(given) > 1 or not fixed[0]):
        raise UsageError(f"{role.option} takes names, or one =VALUE, but got {shown(' '.join(given))}.")
    for name in given:
        if name not in known and not fixed:
            raise UsageError(
                f"No trial of study {shown(study.name)} has {shown(name)} ({role.option}).{did_you_mean(name, known)} "
                f"It has {listed(known) or 'no parameters'}. If it is a value that all trials had, give ={name}."
            )
    return Taken(role=role, fixed=fixed[0]) if fixed else Taken(role=role, names=list(given))


def _spellings(name: str, optimizers: Sequence[str]) -> Iterator[str]:
    """Yield a name (`lr`) and its last part (`train/lr`), each also without an optimizer's name at its ends."""
    whole, last = plain(name), plain(re.split(r"[/.]", name)[-1])
    for word in (whole, last):
        yield word
        for optimizer in optimizers:
            if word.startswith(optimizer):
                yield word.removeprefix(optimizer)
            if word.endswith(optimizer):
                yield word.removesuffix(optimizer)
