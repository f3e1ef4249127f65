"""Places on this machine that a study's definition names: the record has their last parts, a private file the wholes.

The private file is for whoever ran the study: `rerun` and `widen` go on finding the data and the start. Its folder has
a `.gitignore` of its own, so that a record in a git repository is published without it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from tune_qat.results.layout import check_name
from tune_qat.results.publishable import publishable_place
from tune_qat.storage.paths import StoragePath, Write, read_whole, write_whole

FOLDER = "private"


def keep_places(results: StoragePath, study_id: str, definition: Mapping[str, Any], write: Write = write_whole) -> None:
    """Write the private file, if the definition names a place whose path is not published. Raises `OSError`."""
    hidden = {key: place for key, place in _places(definition) if publishable_place(place) != place}
    if hidden:
        write(results / FOLDER / ".gitignore", b"*\n")
        write(_file(results, study_id), json.dumps(hidden).encode())


def with_places(results: StoragePath, study_id: str, definition_json: str) -> str:
    """Return a recorded definition with the whole path of each place that the private file knows. Raises `NotRead`."""
    known: Any = {}
    with suppress(FileNotFoundError, ValueError):
        known = json.loads(read_whole(_file(results, study_id)))
    definition = json.loads(definition_json)
    if not isinstance(known, dict) or not isinstance(definition, dict):
        return definition_json
    for key, place in list(_places(definition)):
        whole = known.get(key)
        # Another place may have been recorded since.
        if isinstance(whole, str) and publishable_place(whole) == place:
            section = next(section for name, section in _sections(definition) if name == key)
            section[key] = whole
    return json.dumps(definition)


def _places(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each key that names a place, with the place."""
    for key, section in _sections(definition):
        if isinstance(section, Mapping) and isinstance(section.get(key), str):
            yield key, section[key]


def _sections(definition: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each key that may name a place, with the section that it is in."""
    training = definition.get("training")
    yield from (("data_dir", definition), ("init_path", training), ("weights", training))
    yield "tensorboard", definition.get("logging")


def _file(results: StoragePath, study_id: str) -> StoragePath:
    return results / FOLDER / f"study_id={check_name(study_id)}.json"
