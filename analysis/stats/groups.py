"""Compact letter display of the optimizers that cannot be told apart."""

from collections.abc import Iterable, Sequence
from string import ascii_letters


def letters(names: Sequence[str], apart: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return each name's letters: two names share a letter if and only if their pair is not in `apart`.

    The algorithm is insert and absorb (Piepho, Journal of Computational and Graphical Statistics 2004), correct also
    where a differs from c, but b from neither. Letters follow the order of `names`; beyond 52, they are numbers in
    brackets.
    """
    groups = [frozenset(names)] if names else []
    for pair in apart:
        split = [group - {name} if group >= set(pair) else group for group in groups for name in pair]
        groups = [group for group in dict.fromkeys(split) if not any(group < other for other in split)]
    place = {name: index for index, name in enumerate(names)}
    groups.sort(key=lambda group: sorted(place[name] for name in group))
    return {name: "".join(_letter(index) for index, group in enumerate(groups) if name in group) for name in names}


def _letter(index: int) -> str:
    return ascii_letters[index] if index < len(ascii_letters) else f"({index + 1})"
