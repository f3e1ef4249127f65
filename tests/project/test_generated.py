"""Pages that are made from the code are as the code makes them."""

import runpy
from pathlib import Path

from tune_qat.results.schema import TABLES, meaning

ROOT = Path(__file__).parents[2]


def test_they_are_up_to_date() -> None:
    for path, text in runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale: python docs/generate.py"


def test_every_column_is_documented() -> None:
    for table, schema in TABLES.items():
        assert [field.name for field in schema if len(meaning(field)) < 5] == [], table
