"""Requests over HTTP that follow redirects to http and https alone, and from https never down to http."""

import socket
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from tune_qat.config import TuneQatError
from tune_qat.config.secrets import hide_secrets

REDIRECTS = 10
SCHEMES = ("http", "https")
NO_HOST = "the name of the host is not known here"


class Session(requests.Session):
    """A session of requests with these rules."""

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = REDIRECTS

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where a response redirects to.

        Raises:
            TuneQatError: that is no address of http or https, or one of http where https was asked.
        """
        target: str | None = super().get_redirect_target(resp)
        if target is None:
            return None
        before, after = urlsplit(resp.url).scheme, urlsplit(urljoin(resp.url, target)).scheme
        if after not in SCHEMES or (before == "https" and after == "http"):
            resp.close()
            raise TuneQatError(f"it redirects from {before} to {after}, which is not followed: {hide_secrets(target)}")
        return target


def reason(error: BaseException) -> str:
    """Say why a request failed, from the innermost error that says so."""
    found, seen = error, {id(error)}
    while True:
        inner: Any = found.__cause__ or found.__context__ or getattr(found, "reason", None)
        if not isinstance(inner, BaseException) or id(inner) in seen:
            break
        found = inner
        seen.add(id(found))
    if isinstance(found, socket.gaierror):
        return NO_HOST
    if isinstance(error, requests.Timeout) or isinstance(found, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(found, OSError) and found.strerror:
        return found.strerror
    return str(found) or type(found).__name__
