"""The pages of the documentation, read: their headings, links and code blocks, and what a page says of a block."""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>[a-z ]+): (?P<said>[^\n]*?) -->\n(?P=indent))?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)
OWN_TESTS = {"CONTRIBUTING.md": "Adding a part"}
"""Sections whose Python blocks have a test of their own: tests/project/test_contributing.py."""
MARKS = ("not run", "run", "no study", "cut")
"""Words of the comment ahead of a block, each followed by what it says.

- `not run: REASON`: read, and not run.
- `run: WHERE`: every line of bash is typed, in a folder with the files that the section's other blocks are.
- `no study: WHAT`: TOML that is of another program.
- `cut: A = B`: run with B in place of A.
"""


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: Path
    line: int
    section: str
    """The nearest heading of the second level above it."""
    language: str
    mark: str
    said: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """Name of the file that it is, where its first line has one."""
        named = re.match(r"# ([\w./-]+\.(?:py|toml))\n", self.text)
        return named[1] if named else None

    @property
    def runs(self) -> str:
        """Text that is run: with what a comment cuts."""
        if self.mark != "cut":
            return self.text
        long, short = self.said.split(" = ", 1)
        assert long in self.text, f"{self}: {long} is not in the block"
        return self.text.replace(long, short)


def pages() -> list[Path]:
    """README, CONTRIBUTING, the changelog and all of docs/."""
    return [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
        (ROOT / "docs").rglob("*.md")
    )


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text_of(page))


@cache
def blocks_of(page: Path) -> list[Block]:
    text, found = text_of(page), []
    headings = [(match.start(), match[1]) for match in re.finditer(r"^## (.+)$", FENCE.sub(_blank, text), re.M)]
    for match in FENCE.finditer(text):
        section = next((name for start, name in reversed(headings) if start < match.start()), "")
        line = text.count("\n", 0, match.start("language")) + 1
        mark, said = match["mark"] or "", match["said"] or ""
        found.append(Block(page, line, section, match["language"], mark, said, dedent(match["text"])))
    return found


def _blank(block: re.Match[str]) -> str:
    return " " * len(block[0])


def blocks(*languages: str) -> list[Block]:
    """Blocks of all pages in these languages."""
    return [block for page in pages() for block in blocks_of(page) if block.language in languages]


def section_blocks(page: str, section: str, language: str) -> list[str]:
    """Texts of a section's blocks that are run."""
    found = [block for block in blocks_of(ROOT / page) if block.section == section and block.language == language]
    assert found, f"{page} has no block of {language} in {section!r}"
    return [block.text for block in found if block.mark != "not run"]


@cache
def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} (.+?)\s*$", prose(page), re.M):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


def links(page: Path) -> list[str]:
    """Targets of a page's links and pictures, those of inline code left out."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))


def commands(block: Block) -> list[list[str]]:
    """Command lines of a block of bash, as words; those joined by && are several."""
    found: list[list[str]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            found.append([words[0].rpartition("/")[2], *words[1:end]])
            words = words[end + 1 :]
    return found


def is_run(block: Block) -> bool:
    """Whether it is no part of an example that another test runs."""
    sections = [other for other in blocks_of(block.page) if other.section == block.section]
    walked = any(other.mark == "run" for other in sections)
    return block.mark != "not run" and not walked and OWN_TESTS.get(block.page.name) != block.section
