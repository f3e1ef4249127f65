"""Descriptions of figures for those who do not see them: the title, and the verdict's sentence on each board."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def describe(blocks: Iterable[Mapping[str, Any]], verdicts: Sequence[Mapping[str, Any]]) -> None:
    """Give each exhibit of the page a text `described`, its title and what the verdict says of its workload.

    Args:
        blocks: the template's values of the blocks of the page.
        verdicts: the template's values of the verdicts, whose titles are those of the blocks' scopes.
    """
    said = {one["title"]: _sentences(one["lines"]) for one in verdicts}
    for block in blocks:
        for scope in block["scopes"]:
            for exhibit in scope["exhibits"]:
                exhibit["described"] = " ".join([f"{exhibit['title']}.", *said.get(scope["title"], [])])


def _sentences(lines: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the first sentence on each board, behind its bits."""
    return [f"{bits}: {sentences[0]}".replace("`", "") for bits, sentences in lines.items() if sentences]
