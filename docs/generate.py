"""Write the pages and files that come from the code: `python docs/generate.py`.

- `docs/study_file.md`: every key of a study file, from the models that read it.
- `docs/record.md`: every column of the record, from its schema.
- `search_spaces/study.schema.json`: what `tune-qat schema` prints, for editors; the bundled studies name it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tune_qat.results.schema import KEYS, TABLES, meaning
from tune_qat.study.file_schema import file_schema, section_of

ROOT = Path(__file__).parents[1]
STUDY_FILE = """# Study file

Every key of a study file, from the models that read it (`python docs/generate.py`). `tune-qat schema` prints the same
as JSON schema; an editor that knows TOML, such as one with Taplo, completes and checks keys where the file begins with

    #:schema PATH/TO/search_spaces/study.schema.json

as the bundled studies do. A key in **bold** must be there, in this file or in the one that it extends. Learning rates
are those at the peak of the schedule; lengths are in epochs; seeds are whole numbers.
"""
RECORD = """# Record

Every column of the tables in a results folder, from their schema (`python docs/generate.py`); `tune-qat query --tables`
prints the same, and compacted Parquet files have it in their fields' metadata. All tables have `study_id` beside
these, the name of the study file. **Bold**: never NULL in a study of tune-qat. A row is known by its key.
"""


def study_file() -> str:
    """Return the page on the keys of a study file."""
    schema = file_schema()
    sections, required = schema["$defs"], schema["else"]
    parts = [STUDY_FILE, _table(schema["properties"], required, sections)]
    for path, name, needs in _sections(schema["properties"], sections, required, ""):
        part = sections[name]
        parts += [f"\n## `{path}`\n", f"{part['description']}\n", _table(part["properties"], needs, sections)]
    return "\n".join(parts).rstrip() + "\n"


def _sections(
    keys: Mapping[str, Any], sections: Mapping[str, Any], required: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield each section with its path in the file and what it requires, those within it behind it."""
    for key, value in keys.items():
        name = section_of(value)
        if name is None or name == "RangeOverride":
            continue
        many = "items" in value
        where = f"[[{path}{key}]]" if many else f"[{path}{key}]"
        needs = required.get("properties", {}).get(key, {})
        yield where, name, needs
        yield from _sections(sections[name]["properties"], sections, needs, f"{path}{key}.")


def _table(keys: Mapping[str, Any], required: Mapping[str, Any], sections: Mapping[str, Any]) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, key in keys.items():
        said = key.get("description") or sections[str(section_of(key))]["description"]
        shown = f"**`{name}`**" if name in required.get("required", ()) else f"`{name}`"
        default = f"`{json.dumps(key['default'])}`" if "default" in key and section_of(key) is None else ""
        rows.append(f"| {shown} | {_kind(key)} | {default} | {said} |")
    return "\n".join(rows)


def _kind(key: Mapping[str, Any]) -> str:
    """Return the values that a key may have, in words."""
    section = section_of(key)
    if section is not None:
        range_of = "`{ low, high }`"
        return range_of if section == "RangeOverride" else "sections" if "items" in key else "section"
    if "enum" in key:
        return ", ".join(f"`{one}`" for one in key["enum"])
    if "const" in key:
        return f"`{key['const']}`"
    if "anyOf" in key:
        return " or ".join(_kind(one) for one in key["anyOf"])
    if key.get("type") == "array":
        return f"list of {_kind(key['items'])}"
    if key.get("type") == "object":
        inner = key.get("additionalProperties")
        return f"names to {_kind(inner)}" if isinstance(inner, dict) else "names to values"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true`, `false`"}
    bounds = [
        f"{sign} {key[name]:,}"
        for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if name in key
    ]
    return " ".join([words.get(key.get("type", ""), "value"), ", ".join(bounds)]).strip()


def record() -> str:
    """Return the page on the columns of the record."""
    parts = [RECORD]
    for table, schema in TABLES.items():
        key = ", ".join(f"`{name}`" for name in KEYS[table]) or "one row for each study"
        parts += [
            f"\n## `{table}`\n",
            f"Key within its study: {key}.\n",
            "| column | type | meaning |",
            "|---|---|---|",
        ]
        for field in schema:
            name = f"`{field.name}`" if field.nullable else f"**`{field.name}`**"
            parts.append(f"| {name} | {field.type} | {meaning(field).replace('|', chr(92) + '|')} |")
    return "\n".join(parts) + "\n"


def pages() -> dict[Path, str]:
    """Return the text of every file that is made here, by its path."""
    return {
        ROOT / "docs" / "study_file.md": study_file(),
        ROOT / "docs" / "record.md": record(),
        ROOT / "search_spaces" / "study.schema.json": json.dumps(file_schema(), indent=1) + "\n",
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
