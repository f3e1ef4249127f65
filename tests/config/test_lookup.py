"""Finding things by name."""

from types import SimpleNamespace
from typing import Any

import pytest

from tune_qat.config import UsageError
from tune_qat.config.lookup import Table, did_you_mean, resolve

TABLE = Table("optimizer", [SimpleNamespace(name=name) for name in ("adam", "adamw", "lion")])


def test_a_table_gives_the_line() -> None:
    assert TABLE.get_spec("lion").name == "lion"


@pytest.mark.parametrize("name", [3, ["adam"], None])
def test_what_is_no_name_is_unknown(name: Any) -> None:
    with pytest.raises(UsageError, match="Unknown optimizer .* Known: adam, adamw, lion"):
        TABLE.get_spec(name)


@pytest.mark.parametrize(("name", "hint"), [("adma", " Did you mean 'adam'?"), ("xyzzy", ""), ("", ""), ("LION", "")])
def test_an_unknown_name_is_answered_with_the_nearest_and_all(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        TABLE.get_spec(name)
    assert str(raised.value) == f"Unknown optimizer {name!r}.{hint} Known: adam, adamw, lion."


def test_did_you_mean_takes_any_names() -> None:
    assert did_you_mean("epoch", ["epochs", "schedule"]) == " Did you mean 'epochs'?"
    assert did_you_mean("epoch", []) == ""


def test_resolve_gives_what_a_reference_names() -> None:
    assert resolve("tune_qat.config.lookup:did_you_mean") is did_you_mean
