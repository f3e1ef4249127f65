"""Texts of a record that may be published: they name no folder of a machine, no user, no host and no secret."""

import json
import os
import re
import shlex
import socket
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tune_qat.config.secrets import HIDDEN, hide_secrets_in
from tune_qat.config.system import home_in_system

_PART = r"""[^\s/'",;:()\[\]{}<>|=]"""
_PATH = re.compile(rf"(?:(?<![\w.~/:-])|(?<=://)|(?<=:///))~?/(?!~|\.\.\.){_PART}+(?:/{_PART}*)+")
"""Absolute path, or one below the home folder, of two parts or more; also behind `file://` and `sqlite:///`."""
_FILE = re.compile(r'(?<=File ")[~/][^"]+')
"""File of a traceback, which may have blanks in its name."""
_LIBRARY = re.compile(r"/(?:site-packages|dist-packages|python3\.\d+)(?=/)")
_OURS = re.compile(r"(?=/(?:tune_qat|analysis|search_spaces|tests|benchmarks)/[\w/]+\.py$)")
_NUMBERS = re.compile(r"(?<![\w.])(?!127\.|0\.0\.0\.0)\d{1,3}(?:\.\d{1,3}){3}(?![\w.])")
"""Address of a host on a network."""
_SECTIONS = ("training", "logging")
"""Sections of a definition that name places."""
_COMMON = 4
"""Length up to which a host's name may as well be a word of the text."""


def publishable(text: str) -> str:
    """Return a text without secrets and without the names of users and hosts.

    A file of a library is told by its path within the library, a path below the home folder from `~` on, and any other
    absolute path by its last part.
    """
    text = with_tilde(hide_secrets_in(text))
    for paths in (_FILE, _PATH):
        text = paths.sub(lambda found: _short(found[0]), text)
    text = _NUMBERS.sub(HIDDEN, text)
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "HOST", text) if len(host) > _COMMON and host != "localhost" else text


def publishable_command(words: Sequence[str]) -> str:
    """Return the words of a command line as they would be typed, each as `publishable`, and no address of a cluster."""
    return shlex.join(_word(before, word) for before, word in pairwise(["", *words]))


def with_tilde(text: str) -> str:
    """Return a text in which every path below the home folder begins with `~`, as it can still be opened."""
    for home in _homes():
        text = re.sub(rf"(?<![\w.~-]){re.escape(home)}(?=[/'\"\s:;,)\]]|$)", "~", text)
    return text


def publishable_place(place: str) -> str:
    """Return a path or URI as `publishable` shows it: as a whole, though a path of a text ends at a blank."""
    place = with_tilde(place)
    return _short(place) if place.startswith(("/", "~/")) else publishable(place)


def publishable_definition(text: str) -> str:
    """Return the JSON of a study's definition, or of a list of its versions, without places of this machine."""
    text = with_tilde(text)
    try:
        found = json.loads(text)
        before = json.dumps(found)
    except (ValueError, RecursionError):
        return text
    for version in found if isinstance(found, list) else [found]:
        definition = version.get("definition", version) if isinstance(version, dict) else None
        training, logging = (definition.get(key) if isinstance(definition, dict) else None for key in _SECTIONS)
        _replace(definition, "data_dir", publishable_place)
        _replace(training, "init_path", publishable_place)
        _replace(training, "weights", publishable_place)
        _replace(logging, "tensorboard", publishable_place)
        _replace(definition, "note", publishable)
    after = json.dumps(found)
    return text if after == before else after


def _replace(section: Any, key: str, shown: Callable[[str], str]) -> None:
    if isinstance(section, dict) and isinstance(section.get(key), str):
        section[key] = shown(section[key])


RECORDED: Mapping[str, Callable[[str], str]] = {
    "command": publishable,  # and `publishable_command` before
    "error_text": publishable,
    # Whoever ran a study goes on with the whole paths of its places, which `places` keeps.
    "definition_json": publishable_definition,
    "versions_json": publishable_definition,
}
"""Columns of the record with text that people, libraries or the system have written."""


def _word(before: str, word: str) -> str:
    option, equals, value = word.rpartition("=")
    if "--address" in (before, option) and value not in ("local", "auto"):
        return f"{option}{equals}{HIDDEN}"
    place = with_tilde(value).startswith(("/", "~/"))
    return f"{option}{equals}{publishable_place(value)}" if place else publishable(word)


def _short(path: str) -> str:
    for known in (_LIBRARY, _OURS):
        found = list(known.finditer(path))
        if found:
            return path[found[-1].end() + 1 :]
    if path.startswith("~"):
        return path
    last = path.rstrip("/").rpartition("/")[2]
    return HIDDEN if re.fullmatch(r"/(?:home|Users)/[^/]+/?", path) else f"{HIDDEN}/{last}"


def _homes() -> tuple[str, ...]:
    """Return the home folders of this user, as the environment and as the system know them, the longest first."""
    homes = {os.environ.get("HOME", ""), home_in_system() or ""}
    real = {os.path.realpath(home) for home in homes if home}
    found = {home.rstrip("/") for home in homes | real}
    return tuple(sorted((home for home in found if home.count("/") > 0), key=len, reverse=True))
