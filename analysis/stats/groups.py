"""Compact displays: letters of the optimizers that cannot be told apart, numbers of those that are equivalent."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from string import ascii_letters


def letters(names: Sequence[str], apart: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return each name's letters: two names share a letter if and only if their pair is not in `apart`.

    The algorithm is insert and absorb (Piepho, Journal of Computational and Graphical Statistics 2004), correct also
    where a differs from c, but b from neither. Letters follow the order of `names`; beyond 52, they are numbers in
    brackets.
    """
    groups = _groups(names, apart)
    return {name: "".join(_letter(index) for index, group in enumerate(groups) if name in group) for name in names}


def _groups(names: Sequence[str], apart: Iterable[tuple[str, str]]) -> list[frozenset[str]]:
    """Return the largest groups without a pair in `apart`, in the order of `names`."""
    groups = [frozenset(names)] if names else []
    for pair in apart:
        split = [group - {name} if group >= set(pair) else group for group in groups for name in pair]
        groups = [group for group in dict.fromkeys(split) if not any(group < other for other in split)]
    place = {name: index for index, name in enumerate(names)}
    return sorted(groups, key=lambda group: sorted(place[name] for name in group))


def _letter(index: int) -> str:
    return ascii_letters[index] if index < len(ascii_letters) else f"({index + 1})"


def alikes(names: Sequence[str], equal: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return each name's numbers: two names share a number if and only if their pair is in `equal`.

    Numbers, in brackets where there are several digits, follow the order of `names`; a name that is equal to no other
    has none.
    """
    pairs = {frozenset(pair) for pair in equal}
    apart = [pair for pair in combinations(names, 2) if frozenset(pair) not in pairs]
    groups = [group for group in _groups(names, apart) if len(group) > 1]
    return {name: "".join(_number(index + 1) for index, group in enumerate(groups) if name in group) for name in names}


def _number(index: int) -> str:
    return str(index) if index < 10 else f"({index})"
