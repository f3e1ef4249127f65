"""Part of a download that is kept for the next attempt, and what is known of the file that it is a part of."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tune_qat.config.regular import is_regular


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The file of a server that a download began with."""

    url: str = ""
    validator: str = ""
    """Strong ETag, or else the time of its last change, as the server gave it: the same file has the same one."""
    total: int = 0
    """Size of the whole file in bytes; 0 where the server did not give it."""


class PartFile:
    """A `.part` file, with a note beside it."""

    def __init__(self, path: Path) -> None:
        self.path, self._note = path, path.with_name(f"{path.name}.json")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() and is_regular(self.path) else 0

    def begun(self) -> Begun:
        """Return what the note says; of a missing or damaged one nothing is known."""
        try:
            found = json.loads(self._note.read_text(encoding="utf-8"))
            return Begun(url=str(found["url"]), validator=str(found["validator"]), total=int(found["total"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Begun()

    def begin(self, begun: Begun) -> None:
        """Begin anew: the part is removed before the note says another file."""
        self.discard()
        self._note.write_text(json.dumps(asdict(begun)), encoding="utf-8")

    def discard(self) -> None:
        """Remove part and note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
