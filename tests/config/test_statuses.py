"""SQL spells statuses, stages and stop reasons out: every one that it asks for is one that the record may hold."""

import re
from pathlib import Path

from tune_qat.config.statuses import STAGES, STATUSES, STOP_REASONS

ROOT = Path(__file__).parents[2]
KNOWN = {"status": STATUSES, "stage": STAGES, "stop_reason": STOP_REASONS}
COMPARED = re.compile(
    r"\b(status|stage|stop_reason)\s*(?:=|<>|!=|(?:NOT )?IN|WHEN|IS (?:NOT )?DISTINCT FROM)\s*('[^']*'|\([^()]*\))"
)


def unknown(sql: str) -> list[str]:
    """Words that a column is compared with, and never holds."""
    found = ((column, word) for column, values in COMPARED.findall(sql) for word in re.findall("'([^']*)'", values))
    return [f"{column} {word}" for column, word in found if word not in KNOWN[column]]


def test_the_words_of_sql_are_those_of_the_record() -> None:
    texts = {
        path: path.read_text(encoding="utf-8")
        for part in ("tune_qat", "analysis")
        for kind in ("*.sql", "*.py")
        for path in sorted((ROOT / part).rglob(kind))
    }
    assert len(COMPARED.findall("\n".join(texts.values()))) > 50
    assert {path: words for path, text in texts.items() if (words := unknown(text))} == {}


def test_a_wrong_word_is_found() -> None:
    assert unknown("WHERE t.status = 'complete' AND stage IN ('random', 'tune') AND stop_reason <> 'asha'") == [
        "status complete",
        "stage tune",
    ]
