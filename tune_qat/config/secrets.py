"""Secrets in addresses: all before the last @ of a URL, and its query, are never shown or recorded."""

import re
from urllib.parse import unquote

HIDDEN = "..."
HARMLESS = {
    *("region", "scheme", "endpoint_override", "allow_bucket_creation", "allow_bucket_deletion", "allow_delayed_open"),
    *("tls_ca_file_path", "tls_ca_dir_path", "tls_verify_certificates", "smart_defaults", "use_mmap"),
    *("retry_limit_seconds", "project_id", "default_bucket_location"),
    *("replication", "buffer_size", "default_block_size", "use_datanode_hostname"),
}
"""Options in the query of a results URI that hold no secret: those of pyarrow's file systems."""
_BUCKETS = ("s3://", "gs://", "gcs://")
"""Schemes where only a key could stand before an @; elsewhere it may be a container or a user."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/{1,3}")
_AT = re.compile("@|%40")
_ADDRESS = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]{0,30}:/(?:/[^\s'"<>`]+|[^\s'"<>`/]*:[^\s'"<>`]*@[^\s'"<>`]*)""")
"""URL in a text, also one that lacks a slash and holds a password."""
_NAME = re.compile(
    r"(?:^|[^a-z])(?:(?:api|access|private|account|secret)[_-]?key|secret|token|passw(?:or)?d|pwd|credentials?)$"
)
_SEPARATORS = re.compile(r"[:/?@&;=#\s]+")


def hide_secrets(address: str) -> str:
    """Return an address without all before its last @, and without its query.

    Where an @ comes after the query's question mark, the password may hold the mark or the query the @: only the scheme
    is shown. Without a scheme, an address is hidden only where it has a colon before its @, as `user:password@host`.
    """
    scheme, before, place, query = _parts(address)
    if not scheme and ":" not in before:
        return address
    if place is None:
        return f"{scheme}{HIDDEN}"
    return f"{scheme}{f'{HIDDEN}@' if before else ''}{place}{f'?{HIDDEN}' if query else ''}"


def hide_secrets_in(text: str) -> str:
    """Return a text in which every URL is as `hide_secrets` shows it."""
    return _ADDRESS.sub(lambda found: hide_secrets(found[0]), text)


def without_secrets_of(address: str, text: str) -> str:
    """Return a text, such as a driver's error, without any part of this address that `hide_secrets` hides."""
    text = text.replace(address, hide_secrets(address))
    for secret in sorted(_secrets(address), key=len, reverse=True):
        # A password of a letter or two is hidden as a word, or hardly anything would be left of the text.
        text = re.sub(re.escape(secret) if len(secret) > 2 else rf"\b{re.escape(secret)}\b", HIDDEN, text)
    return hide_secrets_in(text)


def names_secret(name: str) -> bool:
    """Tell whether a value of this name is a secret, such as `wandb/api_key`."""
    return bool(_NAME.search(name.lower()))


def may_hold_secret(uri: str) -> bool:
    """Tell whether a results URI holds a password, or what may be one: an unknown option, a name before a bucket's.

    A path holds none, but what begins as `scheme:/` does may be a mistyped URI.
    """
    scheme, before, place, query = _parts(uri, "?")  # a semicolon is a part of a name in a bucket
    if not scheme:
        return False
    named = scheme in _BUCKETS and bool(before) and "/" not in before and before != "anonymous@"
    if place is None or ":" in unquote(before) or named:
        return True
    return bool(query) and not {option.partition("=")[0] for option in re.split("[&;]", query)} <= HARMLESS


def _parts(address: str, begins_query: str = "?;") -> tuple[str, str, str | None, str]:
    """Return scheme, all before the last @ and that @, place, and query; None for a place that cannot be told."""
    found = _SCHEME.match(address)
    scheme = found[0] if found else ""
    rest = address.removeprefix(scheme)
    at = max((match.end() for match in _AT.finditer(rest)), default=0)
    query = re.search(f"[{begins_query}]", rest) if scheme else None
    if query is None:
        return scheme, rest[:at], rest[at:], ""
    if query.start() < at:
        return scheme, rest[: query.start()], None, rest[query.end() :]
    return scheme, rest[:at], rest[at : query.start()], rest[query.end() :]


def _secrets(address: str) -> set[str]:
    """Return the hidden parts of an address as a driver may quote them: whole or in pieces, decoded or not."""
    _, before, _, query = _parts(address)
    wholes = [before.removesuffix("@"), *(option.rpartition("=")[2] for option in re.split("[&;?]", query))]
    pieces = {*wholes, *(piece for whole in wholes for piece in _SEPARATORS.split(whole))}
    return {form for piece in pieces for form in (piece, unquote(piece)) if form}
