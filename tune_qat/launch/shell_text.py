"""Pieces of shell scripts that take any text as it is."""

MARK = "TUNE_QAT_END"


def heredoc(path: str, text: str) -> str:
    """Lines that write `text` to `path`, which is shell code.

    Raises:
        ValueError: a line of the text that would end it.
    """
    if MARK in text.splitlines():
        raise ValueError(f"a line of the text is {MARK}")
    return f"cat > {path} <<'{MARK}'\n{text.removesuffix(chr(10))}\n{MARK}\n"
