"""Download of one file over HTTP that goes on where it was cut off: the downloader that pooch is given."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import requests
import urllib3.exceptions

from tune_qat.config import TuneQatError
from tune_qat.data.fetch.part_file import Begun, PartFile
from tune_qat.data.fetch.session import NO_HOST, Session, reason
from tune_qat.data.fetch.sources import Archive, size_text

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt; one that brought something begins them anew."""
LONGEST_WAIT = 60.0
"""Limit of the seconds that a server may ask for."""
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and seconds without a byte, after which an attempt is given up."""
TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
CHUNK = 1 << 16
OK, PARTIAL, NO_SUCH_RANGE = 200, 206, 416
Told = Callable[[str, int, int], None]
"""Function told of the file, its bytes so far, and those of all of it (0: not known)."""
Said = Callable[[str], None]
"""Function told of what somebody who waits wants to know."""


class _Again(Exception):
    """An attempt that failed for now."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class Downloader:
    """Downloader of an archive, as `pooch.retrieve` takes one: called with an address and the file to make."""

    def __init__(
        self, archive: Archive, part: Path, *, told: Told, said: Said, waits: Sequence[float], timeout: Any = TIMEOUT
    ) -> None:
        self.resumed = False
        """Whether it went on with bytes of an earlier run or another address."""
        self._archive, self._part = archive, PartFile(part)
        self._told, self._said, self._waits, self._timeout = told, said, waits, timeout

    def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
        """Download the file, with further attempts where that may help.

        Raises:
            TuneQatError: the server refuses, cannot be reached or gives another file; what has arrived is kept.
            OSError: it cannot be written.
        """
        self.resumed = self._part.size > 0
        left = list(self._waits)
        with Session() as session:
            while True:
                before = self._part.size
                try:
                    self._attempt(session, url)
                    break
                except _Again as failed:
                    if self._part.size > before:
                        left = list(self._waits)
                    if not left:
                        raise TuneQatError(str(failed)) from None
                    wait = min(max(left.pop(0), failed.after), LONGEST_WAIT)
                    self._said(f"{self._archive.file}: {failed}; again in {wait:g} s")
                    time.sleep(wait)
        _hand_over(self._part.path, Path(output_file))

    def forget(self) -> None:
        """Remove what has arrived."""
        self._part.discard()

    def _attempt(self, session: Session, url: str) -> None:
        begun, have = self._part.begun(), self._part.size
        if have and have == begun.total and begun.url == url:
            return
        validator = begun.validator if begun.url == url else ""
        # Without a sign that it is still the same file, only a checksum tells whether the pieces belong together.
        start = have if validator or self._archive.checksum else 0
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-"} | ({"If-Range": validator} if validator else {})
        try:
            with session.get(url, headers=headers, stream=True, timeout=self._timeout) as response:
                self._take(url, response, start)
        except requests.exceptions.SSLError as error:
            raise TuneQatError(f"its certificate is not accepted: {reason(error)}") from error
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            why = reason(error)
            if why == NO_HOST and not self._part.size:  # no network at all, most likely
                raise TuneQatError(why) from error
            raise _Again(why) from error
        except requests.RequestException as error:
            raise TuneQatError(reason(error)) from error

    def _take(self, url: str, response: requests.Response, start: int) -> None:
        status = response.status_code
        if status == NO_SUCH_RANGE and start:
            self._part.discard()
            raise _Again("the server does not go on where the download was cut off")
        if status in TRY_AGAIN:
            raise _Again(f"the server answers {status} {response.reason}", _seconds(response.headers))
        if status not in (OK, PARTIAL):
            raise TuneQatError(f"the server answers {status} {response.reason}")
        first, total = _range(response) if status == PARTIAL else (0, _length(response))
        known = self._part.begun().total
        if first != (start if status == PARTIAL else 0) or (first and total and known and total != known):
            self._part.discard()
            raise _Again("the server went on with another part of the file than was asked")
        if self._archive.exact and total not in (0, self._archive.size):
            raise TuneQatError(f"the server has {total:,} bytes, but the file has {self._archive.size:,}")
        if not first:
            self._part.begin(Begun(url=url, validator=_validator(response), total=total))
        self._write(response, first, total or (self._archive.size if self._archive.exact else 0))

    def _write(self, response: requests.Response, done: int, total: int) -> None:
        """Add the body to the part. A body that is not as long as it should be is asked for again."""
        most = total or 2 * self._archive.unpacked
        with self._part.path.open("ab") as file:
            # Not decoded: a server may take the `.gz` of a file for an encoding.
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                done += len(chunk)
                if done > most:
                    break
                file.write(chunk)
                file.flush()
                self._told(self._archive.file, done, total or self._archive.size)
        if done > most:
            self._part.discard()
            raise TuneQatError(f"the server sends more than {size_text(most)}")
        if done < total:
            raise _Again("the connection ended early")


def _hand_over(part: Path, target: Path) -> None:
    """Give a file a second name: until its checksum is known, the part stays for a process that is killed meanwhile."""
    try:
        target.unlink(missing_ok=True)
        os.link(part, target)
    except OSError:  # no hard links here
        part.replace(target)


def _range(response: requests.Response) -> tuple[int, int]:
    """Return the first byte and the size of the whole file that a partial answer names; -1 where it names none."""
    try:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        span, _, total = rest.partition("/")
        first = int(span.partition("-")[0]) if unit == "bytes" else -1
        return first, int(total) if total != "*" else 0
    except ValueError:
        return -1, 0


def _length(response: requests.Response) -> int:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else 0


def _validator(response: requests.Response) -> str:
    tag: str = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else str(response.headers.get("Last-Modified", ""))


def _seconds(headers: Any) -> float:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0
