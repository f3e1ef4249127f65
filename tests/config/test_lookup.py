"""Finding things by name."""

import pytest

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean, find, resolve

TABLE = {"adam": 1, "adamw": 2, "lion": 3}


def test_find_gives_the_line() -> None:
    assert find(TABLE, "lion", "optimizer") == 3


@pytest.mark.parametrize(("name", "hint"), [("adma", " Did you mean 'adam'?"), ("xyzzy", ""), ("", ""), ("LION", "")])
def test_an_unknown_name_is_answered_with_the_nearest_and_all(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        find(TABLE, name, "optimizer")
    assert str(raised.value) == f"Unknown optimizer {name!r}.{hint} Known: adam, adamw, lion."


def test_did_you_mean_takes_any_names() -> None:
    assert did_you_mean("epoch", ["epochs", "schedule"]) == " Did you mean 'epochs'?"
    assert did_you_mean("epoch", []) == ""


def test_resolve_gives_what_a_reference_names() -> None:
    assert resolve("tune_qat.config.lookup:find") is find
