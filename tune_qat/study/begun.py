"""Settings that a study began with and keeps, though its file leaves them to a default that has changed since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupCosts:
    """Costs of groups of layers whose bits are searched, in the unit of their budget."""

    limit: float
    """Most that the groups may cost in all."""
    costs: Mapping[str, Sequence[float]]
    """Cost of each group at each candidate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """Settings of an earlier run, from the record of the study; a study that begins has none."""

    first_rung: int | None = None
    """First rung where the file names none."""
    unchecked_rung: bool = False
    """Whether its file named today's first rung already under an earlier version, which did not check it."""
    design_seeds: Mapping[str, int] = field(default_factory=dict)
    """Seeds of the designs that arms began with, by their id."""
    mixed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Bits by layer of mixed schemes, by the scheme's name; of one that is searched those that were chosen."""
    group_costs: GroupCosts | None = None
    """Costs of the groups whose bits are searched, from the model; None until it has been built."""
