"""Pieces of shell scripts that carry any text unchanged."""

MARK = "TUNE_QAT_END"
RUN_END = "TUNE_QAT_RUN_END"
"""End of a script that may have here-documents of its own."""


def unpacked(folder: str, archive: str) -> str:
    """Return commands that unpack an archive, the base64 of a `.tar.gz`, into a folder that is given as shell code."""
    return f"mkdir -p {folder}\nbase64 -d <<'{MARK}' | tar -xz -C {folder}\n{archive.strip()}\n{MARK}\n"


def heredoc(path: str, text: str, mark: str = MARK) -> str:
    """Return a here-document that writes `text` to `path`; the path is shell code, the text is not expanded.

    Raises `ValueError` if a line of the text would end the here-document.
    """
    if mark in text.splitlines():
        raise ValueError(f"a line of the text is {mark}")
    return f"cat > {path} <<'{mark}'\n{text.removesuffix(chr(10))}\n{mark}\n"
