import re
from pathlib import Path

import analysis

PAGE = Path(__file__).parents[2] / "docs" / "questions.md"


def listed() -> list[tuple[str, str]]:
    """Number, where there is one, and name of each line of the table."""
    return re.findall(r"^\| (Q\d+)? ?\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_question_is_on_the_page_once() -> None:
    assert sorted(name for _, name in listed()) == sorted(analysis.queries())


def test_the_fourteen_numbered_questions_come_first_in_their_order() -> None:
    assert [number for number, _ in listed() if number] == [f"Q{number}" for number in range(1, 15)]
    assert all(number for number, _ in listed()[:14])
