"""What is printed: no character of others' data that a terminal obeys, and data in a pipe as it is."""

import io
import sys
import unicodedata

import pandas as pd
import pytest

from tune_qat.text.formats import write_frame
from tune_qat.text.printable import exact, printable, printable_output

SECRETIVE = "a\x1b]0;title\x07\x9b31mb\r\x7f\u202egnp.exe\u2066\udcff"


def test_every_control_character_is_shown_as_python_writes_it() -> None:
    assert printable("\x1b[31m\x9b\x00") == "\\x1b[31m\\x9b\\x00"
    kept = {"\t", "\n"}
    for code in range(0x11_0000):
        letter = chr(code)
        obeyed = unicodedata.category(letter) in ("Cc", "Cs") or unicodedata.bidirectional(letter) in (
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        )
        if obeyed and letter not in kept:
            shown = printable(letter)
            assert shown != letter and shown.isprintable(), hex(code)
        elif letter.isprintable() or letter in kept:
            assert printable(letter) == letter, hex(code)


def test_all_that_a_block_prints_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    with printable_output():
        print(SECRETIVE)
        sys.stderr.writelines([SECRETIVE, "\n"])
        print("as it is \x1b[1m", file=exact(sys.stdout))
    print("after \x1b[0m")
    out, err = capsys.readouterr()
    first, *rest = out.splitlines()
    assert first.isprintable() and "\\x1b]0;title\\x07\\x9b31mb\\r\\x7f\\u202egnp" in first
    assert rest == ["as it is \x1b[1m", "after \x1b[0m"]
    assert err == f"{first}\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_csv_is_exact_in_a_pipe_and_printable_on_a_terminal(
    stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = stream()
    monkeypatch.setattr(sys, "stdout", taken)
    with printable_output():
        write_frame(pd.DataFrame({"text": ["\x1b[31mred"]}), "csv", None)
    assert taken.getvalue() == ("text\n\\x1b[31mred\n" if taken.isatty() else "text\n\x1b[31mred\n")


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_table_has_no_escapes_of_its_own_or_of_its_cells(
    form: str, stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = stream()
    monkeypatch.setattr(sys, "stdout", taken)
    write_frame(pd.DataFrame({"\x1b[31mname": ["\x1b[2Jtext", "\x9btext"]}), form, None)
    assert printable(taken.getvalue()) == taken.getvalue()


def test_what_is_written_after_the_block_is_written_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """By a library that kept the stream, and resets the terminal's colours at the end of the process."""
    with printable_output():
        kept = sys.stdout
        kept.write("\x1b[0m")
    kept.write("\x1b[0m")
    assert capsys.readouterr().out == "\\x1b[0m\x1b[0m"
