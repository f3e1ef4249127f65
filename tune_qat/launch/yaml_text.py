"""YAML writer for plain values; texts of several lines become blocks."""

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
    """Return documents as YAML, keys in the given order; texts that look like YAML are quoted and stay texts."""
    return "---\n".join(
        yaml.dump(dict(document), Dumper=_Writer, sort_keys=False, width=10_000, allow_unicode=True)
        for document in documents
    )
