"""Pieces of shell scripts that carry any text unchanged."""

MARK = "TUNE_QAT_END"


def heredoc(path: str, text: str) -> str:
    """Return a here-document that writes `text` to `path`; the path is shell code, the text is not expanded.

    Raises `ValueError` if a line of the text would end the here-document.
    """
    if MARK in text.splitlines():
        raise ValueError(f"a line of the text is {MARK}")
    return f"cat > {path} <<'{MARK}'\n{text.removesuffix(chr(10))}\n{MARK}\n"
