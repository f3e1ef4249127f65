"""The page on troubleshooting quotes messages of the program as the source has them."""

import ast
import re
from functools import cache

from tests.project.pages import ROOT, text_of

PAGE = ROOT / "docs" / "troubleshooting.md"
LEAST = 8
"""Characters of a piece between two places left open that have to be found."""


@cache
def texts() -> str:
    """Every text of the program's source; places that are filled in are a byte that no text has."""
    found = []
    for folder in ("tune_qat", "analysis"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def quoted() -> list[str]:
    return re.findall(r"^\| `([^`]+)` \| ", text_of(PAGE).partition("## Messages")[2].partition("## When")[0], re.M)


def missing(message: str) -> list[str]:
    """Pieces of a message that no text of the program has."""
    return [piece for piece in map(str.strip, message.split("...")) if len(piece) >= LEAST and piece not in texts()]


def test_each_message_is_in_the_source() -> None:
    lost = {message: pieces for message in quoted() if (pieces := missing(message))}
    assert lost == {}
    assert len(quoted()) > 50 and all(any(len(piece) >= LEAST for piece in one.split("...")) for one in quoted())


def test_a_message_that_the_program_does_not_have_is_found() -> None:
    assert missing("No study ...: it is neither a bundled study nor a YAML file.") != []
