"""JSON schema of a study file, for editors and for the page that documents its keys."""

from collections.abc import Mapping
from typing import Any

from tune_qat.optimizers import OPTIMIZERS
from tune_qat.quantizers import QUANTIZERS
from tune_qat.study.study import Study

DRAFT = "https://json-schema.org/draft/2020-12/schema"
EXTEND = {
    "type": "string",
    "description": "Another study, bundled or a file beside this one, whose keys hold where this file has none.",
}
_OPTIMIZERS, _QUANTIZERS = {"type": "string", "enum": list(OPTIMIZERS)}, {"type": "string", "enum": list(QUANTIZERS)}
_OF_TABLES: dict[tuple[str, str], Mapping[str, Any]] = {
    ("SpaceSection", "optimizers"): {"items": _OPTIMIZERS},
    ("ControlSection", "optimizers"): {"items": _OPTIMIZERS},
    **{(section, "optimizer"): _OPTIMIZERS for section in ("PretrainSection", "StartSection")},
    ("QuantizerOptimizerSection", "optimizer"): _OPTIMIZERS,
    **{
        (section, key): _QUANTIZERS
        for section in ("QuantizationSection", "NamedMethodSection")
        for key in ("quantizer", "activation_quantizer")
    },
}
"""Keys whose values are names of a closed table, which the models check with words of their own."""


def file_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a study file as it is written.

    Made from the models that read it: each key with its meaning, unit, default and bounds. TOML has no null: a key that
    may be left out has no default then. Keys that are required are so in a file that extends no other.
    """
    whole = Study.model_json_schema()
    sections: dict[str, Any] = {name: _plain(part) for name, part in whole.pop("$defs").items()}
    for (section, key), names in _OF_TABLES.items():
        sections[section]["properties"][key].update(names)
    top = _plain(whole)
    top["properties"] = {"extend": EXTEND, **top["properties"]}
    required = _required(top, sections)
    required["required"].remove("name")  # that of the file, where it is left out
    for part in (top, *sections.values()):
        part.pop("required", None)
    return {
        "$schema": DRAFT,
        "title": "Study file of tune-qat",
        **top,
        "if": {"required": ["extend"]},
        "else": required,
        "$defs": sections,
    }


def section_of(key: Mapping[str, Any]) -> str | None:
    """Return the name of the section that a key holds, alone or in a list; None for a value."""
    ref = key.get("$ref") or key.get("items", {}).get("$ref")
    return ref.rpartition("/")[2] if ref else None


def _required(part: Mapping[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a section and those within it require."""
    within = {
        name: found
        for name, key in part["properties"].items()
        if "$ref" in key and (found := _required(sections[str(section_of(key))], sections))
    }
    required = {"required": list(part["required"])} if part.get("required") else {}
    return {**required, **({"properties": within} if within else {})}


def _plain(part: Any) -> Any:
    """Leave out titles, which repeat names, and null, which TOML cannot say."""
    if isinstance(part, list):
        return [_plain(one) for one in part]
    if not isinstance(part, dict):
        return part
    known = {
        name: {key: _plain(value) for key, value in inner.items()} if name == "properties" else _plain(inner)
        for name, inner in part.items()
        if name != "title" and not (name == "default" and inner is None)
    }
    said = known.get("description")
    if isinstance(said, str):
        known["description"] = " ".join(said.split())
    choices = [one for one in known.pop("anyOf", []) if one != {"type": "null"}]
    if len(choices) == 1:
        return {**choices[0], **known}
    return {**known, **({"anyOf": choices} if choices else {})}
