"""Study files and --set beyond what a study needs: one sentence, at once, and no value at full length in it."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.study_files import SMALL, changed, write
from tune_qat.cli.old_options import read_trial
from tune_qat.config import UsageError
from tune_qat.config.shown import LONGEST, cut, shown
from tune_qat.study import Study
from tune_qat.study.file import FILES, parse_override
from tune_qat.study.user_toml import BYTES, LEVELS

DEEP = "[" * 5_000 + "]" * 5_000
PARTS = ".".join(["a"] * 20_000)


def refused(load: Any, *arguments: Any) -> str:
    began = time.monotonic()
    with pytest.raises(UsageError) as raised:
        load(*arguments)
    # Reading a key of 20,000 parts took ten seconds; any machine refuses it in far less.
    assert time.monotonic() - began < 5
    assert len(str(raised.value)) < 1_000
    return str(raised.value)


FILES_REFUSED = {
    "lists": (f"note = {DEEP}\n{SMALL}", "20 deep"),
    "sections": ("note = " + "{a = " * 5_000 + "1" + "}" * 5_000 + "\n" + SMALL, "20 deep"),
    "lists that Python reads": (f"note = {'[' * 21 + ']' * 21}\n{SMALL}", "note.0.0"),
    "a key of many parts": (f"{PARTS} = 1\n{SMALL}", "a key may have 20 parts"),
    "a section of many parts": (f"{SMALL}[{PARTS}]\n", "a key may have 20 parts"),
    "a key of many parts inside": (f"note = {{ {PARTS} = 1 }}\n{SMALL}", "a key may have 20 parts"),
    "an integer of 5,000 digits": (f"seed = {'9' * 5_000}\n{SMALL}", "must fit into 64 bits"),
    "an integer of 4,000 digits": (f"seed = {'9' * 4_000}\n{SMALL}", "seed is 999"),
    "an integer in hexadecimal": (f"seed = 0x{'f' * 5_000}\n{SMALL}", "seed is a value too large"),
    "an integer of 65 bits": (f"seed = {2**63}\n{SMALL}", f"seed is {2**63}"),
    "a long value": (f'seed = "{"x" * 500_000}"\n{SMALL}', "but got 'xxx"),
    "a long name": (f'name = "{"x" * 500_000}"\n{SMALL}', "500,002 characters"),
    "a long key": (f'"{"x" * 500_000}" = 1\n{SMALL}', "unknown key"),
    "a long optimizer": (changed('"adam"', f'"{"x" * 500_000}"'), "Unknown optimizer 'xxx"),
    "a long option": (changed('dataset = "digits"', f'dataset = "digits"\noptions.{"x" * 500_000} = 1'), "no option"),
    "a long list": (changed("bits = [[32, 32], [4, 4]]", f"bits = [{'[4, 4], ' * 50_000}]"), "each pair of bits"),
    "a file of 10 MB": (f'note = "{"x" * 10_000_000}"\n{SMALL}', f"larger than {BYTES:,} bytes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES_REFUSED)
def test_a_file_beyond_the_limits_is_refused_with_its_name(tmp_path: Path, kind: str) -> None:
    text, said = FILES_REFUSED[kind]
    path = write(tmp_path, text)
    message = refused(Study.load, path)
    assert message.startswith(path) and said in message


def test_of_many_mistakes_the_first_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        Study.load(write(tmp_path, "".join(f"x{number} = 1\n" for number in range(1_000)) + SMALL))
    lines = str(raised.value).splitlines()
    assert len(lines) == 22 and lines[-1] == "  and 980 more" and "x19: unknown key" in lines[-2]


def test_what_a_study_needs_is_within_the_limits(tmp_path: Path) -> None:
    note = f"{'One more sentence. ' * 300}{'...' * 100}"
    deepest = "[" * (LEVELS - 1) + "1" + "]" * (LEVELS - 1)
    values = f'note = "{note}"\nseed = 4_294_000_000\n' + changed("epochs = 9", "epochs = 9 # " + "e.g. " * 30)
    assert Study.load(write(tmp_path, values)).note == note
    # As deep as may be: no study has a place for it, and that is what is said.
    assert "note: must be text, but got [[[" in refused(Study.load, write(tmp_path, f"note = {deepest}\n{SMALL}"))
    assert parse_override("note=" + "One. " * 300) == ("note", ("One. " * 300).strip())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"note={DEEP}", "--set note: a key may have 20 parts, and sections and lists may be 20 deep"),
        (f"seed={'9' * 5_000}", "--set seed: a whole number must fit into 64 bits"),
        (f"seed=0x{'f' * 5_000}", "--set seed: a whole number must fit into 64 bits"),
        (f"{PARTS}=1", "a key has at most 20 parts, but this one has 20,000"),
        (f"note={{ {PARTS} = 1 }}", "a key may have 20 parts"),
        ("x" * 100_000, "--set takes key=value"),
    ],
    ids=["deep", "digits", "hexadecimal", "parts", "parts inside", "no value"],
)
def test_an_override_beyond_the_limits_is_refused(text: str, said: str) -> None:
    assert said in refused(parse_override, text)
    given = {"model": "lenet5", "dataset": "digits", "optimizer": "adam", "seed": 0}
    assert said in refused(read_trial, [text], given, [])


def test_long_chains_of_files_end(tmp_path: Path) -> None:
    for number in range(1_500):
        write(tmp_path, f'extend = "{number + 1}.toml"\n', f"{number}.toml")
    write(tmp_path, SMALL, "1500.toml")
    message = refused(Study.load, str(tmp_path / "0.toml"))
    assert f"{FILES}.toml: extend goes on through more than {FILES} files" in message
    assert Study.load(str(tmp_path / f"{1501 - FILES}.toml")).training.epochs == 9


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (10**5_000, "must be at most"),
        ({"a": 10**5_000}, "must be a whole number"),
        ("x" * 10**7, "must be a whole number"),
        ([[]] * 10**5, "must be a whole number"),
    ],
    ids=["digits", "digits inside", "text", "list"],
)
def test_a_value_of_python_is_cut_in_its_message_too(tmp_path: Path, value: Any, rule: str) -> None:
    assert f"seed (from --set): {rule}" in refused(Study.load, write(tmp_path), {"seed": value})


def test_a_value_is_shown_as_it_was_written_or_cut() -> None:
    assert shown("a'b") == '"a\'b"' and cut("x" * LONGEST) == "x" * LONGEST
    assert shown("x" * 1_000) == f"'{'x' * (LONGEST - 1)}... (1,002 characters)"
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(10**5_000) == shown(nested) == "a value too large to be shown"
