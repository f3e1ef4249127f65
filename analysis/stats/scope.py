"""Scope of a study's sentences: what its design allows them to speak of, and the words that follow from it.

Page, last screen of a run and JSON take their words from here. A search that ran once found one configuration for each
optimizer, and another search would have found another one: so its sentences speak of configurations.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.answers import Answers
from analysis.stats.retrained import Key, by_board
from analysis.stats.words import joined

OPTIMIZERS, CONFIGURATIONS = "optimizers", "configurations"
FEWEST_REPEATS = 3
"""Fewest repeats of the search from which sentences may speak of optimizers."""
FEWEST_PAIRS = 6
"""Fewest distinct pairs of model and data from which anything may be said of optimizers in general."""
DRAWN_ANEW = frozenset({"design", "order"})
"""Parts of a study that every repeat has to draw anew."""
ALL_VARY = '["start", "subset", "split", "design", "order"]'
DESIGNS = """SELECT study_id, coalesce(whole, study_id) AS whole, model, dataset, init, arm_id, repeat, sampler_seed,
       varies_json
FROM whole_arms WHERE mode <> 'joint' ORDER BY ALL"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Design of a whole study, from the record of its arms."""

    planned: int = 1
    """Number of repeats."""
    varies: frozenset[str] = frozenset()
    """Parts that each repeat draws anew; empty where the record does not say."""
    own: bool = False
    """Whether no two arms share the design of their search."""
    pairs: int = 1
    """Number of distinct pairs of model and data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Scope of the sentences on one board."""

    repeats: int
    """Number of repeats with retrain scores: that of the optimizer with the fewest."""
    design: Design

    @property
    def of_optimizers(self) -> bool:
        """Whether sentences may speak of optimizers; else they speak of the configurations that were found."""
        return self.repeats >= FEWEST_REPEATS and self.design.varies >= DRAWN_ANEW and self.design.own

    @property
    def speaks_of(self) -> str:
        """Either `optimizers` or `configurations`."""
        return OPTIMIZERS if self.of_optimizers else CONFIGURATIONS

    @property
    def noun(self) -> str:
        """Noun for the subjects of sentences: `optimizer` or `configuration`."""
        return self.speaks_of.removesuffix("s")

    @property
    def needed(self) -> str:
        """Sentence on what it would take to say more; empty where nothing more can be asked of a design."""
        return self._in_general() if self.of_optimizers else f"{self._luck()} {self._for_optimizers()}"

    def name(self, optimizer: str) -> str:
        """Name the subject of a sentence: an optimizer, or the configuration that was found for it."""
        return optimizer if self.of_optimizers else f"the configuration found for {optimizer}"

    def names(self, optimizers: Sequence[str]) -> str:
        """Name several subjects of a sentence."""
        if len(optimizers) == 1:
            return self.name(optimizers[0])
        return joined(optimizers) if self.of_optimizers else f"the configurations found for {joined(optimizers)}"

    def those(self, optimizers: Sequence[str]) -> str:
        """Name subjects in a sentence that has said whether it speaks of optimizers or of configurations."""
        if self.of_optimizers:
            return joined(optimizers)
        return f"{'the one' if len(optimizers) == 1 else 'those'} found for {joined(optimizers)}"

    def one_of(self, optimizers: Sequence[str]) -> str:
        """Name subjects of which one is meant, in such a sentence."""
        return joined(optimizers, "or") if self.of_optimizers else f"the one found for {joined(optimizers, 'or')}"

    def _luck(self) -> str:
        if self.repeats > 1 and self.design.varies >= DRAWN_ANEW:
            return f"{self.repeats} searches say little of what another one would have found."
        return "Another search would have found other configurations, which no interval here covers."

    def _for_optimizers(self) -> str:
        repeats = f"{FEWEST_REPEATS} or more repeats of the search"
        if not self.design.varies >= DRAWN_ANEW or self.design.planned < FEWEST_REPEATS:
            return f"To speak of optimizers: {repeats}, `repeats = 4` with `[repeat] varies = {ALL_VARY}`."
        if not self.design.own:
            return (
                f"To speak of optimizers: {repeats} in which each arm has a search design of its own; here several "
                "arms share one. A study that begins under another name draws them apart."
            )
        return f"To speak of optimizers: {repeats}; of {self.design.planned} planned, {self.repeats} have ended so far."

    def _in_general(self) -> str:
        if self.design.pairs >= FEWEST_PAIRS:
            return ""
        return (
            f"To speak of optimizers in general: {FEWEST_PAIRS} or more distinct pairs of model and data; here "
            f"{'is 1' if self.design.pairs == 1 else f'are {self.design.pairs}'}."
        )


def scopes(asked: Answers, keys: Iterable[Key]) -> dict[Key, Scope]:
    """Return the scope of each of these boards, whose keys are those of `standings`."""
    known = designs(asked)
    scores = by_board(asked.frame("retrain_scores"))
    found = {}
    for key in keys:
        rows = scores.get(key)
        repeats = 0 if rows is None else _repeats(rows)
        found[key] = Scope(repeats=repeats, design=known.get(key[0], Design()))
    return found


def designs(asked: Answers) -> dict[str, Design]:
    """Return the design of the whole study that each study belongs to, by `study_id`."""
    arms = asked.frame(DESIGNS)
    found = {str(whole): _design(rows) for whole, rows in arms.groupby("whole", sort=False)}
    return {row.study_id: found[row.whole] for row in arms[["study_id", "whole"]].itertuples()}


def _repeats(rows: pd.DataFrame) -> int:
    return int(rows.groupby("optimizer")["repeat"].nunique().min())


def _design(arms: pd.DataFrame) -> Design:
    """Read the design of a whole study from the rows of its arms."""
    # An arm that several studies of the whole have in common is one arm, and has one seed.
    known = arms.drop_duplicates(["model", "dataset", "init", "arm_id", "sampler_seed"])
    return Design(
        planned=int(arms["repeat"].nunique()),
        varies=frozenset.intersection(*map(_listed, arms["varies_json"])),
        own=bool(known["sampler_seed"].notna().all() and not known["sampler_seed"].duplicated().any()),
        pairs=len(arms[["model", "dataset"]].drop_duplicates()),
    )


def _listed(text: object) -> frozenset[str]:
    found = json.loads(text) if isinstance(text, str) else []
    return frozenset(found if isinstance(found, list) else [])
