"""YAML of plain values, texts of several lines as blocks."""

from collections.abc import Mapping
from typing import Any

import yaml


class _Writer(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Writer.add_representer(str, _text)


def yaml_text(*documents: Mapping[str, Any]) -> str:
    """Documents in the order of their keys; whatever a value holds, it stays a value."""
    return "---\n".join(
        yaml.dump(dict(document), Dumper=_Writer, sort_keys=False, width=10_000, allow_unicode=True)
        for document in documents
    )
