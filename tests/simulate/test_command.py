"""`tune-qat simulate`: what it prints, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import Done, assert_refused
from tests.cli.typed import tune_qat as tune_qat  # the fixture
from tests.helpers.study_files import write
from tests.simulate.small import small, write_record
from tune_qat.simulate.source import STAND_IN

BLOCKS = ("study ", "cost", "arms: ", "what a budget buys", "rungs: ", "settings of ASHA")
"""How the blocks of the report begin."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("record") / "results"
    write_record(folder, small(), workers=3)
    return str(folder)


def blocks(done: Done) -> list[str]:
    assert done.code == 0, done.err
    return done.out.rstrip("\n").split("\n\n")


def test_a_record_is_replayed_block_by_block(tune_qat: Any, results: str) -> None:
    found = blocks(tune_qat("simulate", results))
    assert [block.startswith(begin) for block, begin in zip(found, BLOCKS, strict=False)] == [True] * 5
    assert "replayed from" in found[0] and "100.0% the same configuration" in found[0]
    assert "workers  3, as many as the record ran at once" in found[0]
    assert "49 of 49" in found[1]
    assert all(STAND_IN not in block for block in found)
    arms = [line.split()[0] for line in found[2].splitlines() if "-w" in line.partition(" ")[0]]
    assert arms == [arm.arm_id for arm in small().arms()]


def test_every_block_without_a_record_says_that_it_is_no_measurement(tune_qat: Any, tmp_path: Path) -> None:
    done = tune_qat("simulate", write(tmp_path), "--compare", "--seeds", "1", "--trials", "3")
    found = blocks(done)
    assert [block.startswith(f"{STAND_IN}{begin}") for block, begin in zip(found, BLOCKS, strict=True)] == [True] * 6
    assert "  choose " in found[-1] and "no ASHA" in found[-1]
    assert "which first rung holds is unknown: to tell takes 8 default and random trials in each of 5 arms" in found[-1]
    assert "no ASHA: " in done.err, "the way is long: every setting is said as it is done"


@pytest.mark.slow
def test_json_has_everything_as_numbers(tune_qat: Any, results: str) -> None:
    done = tune_qat("simulate", results, "--format", "json", "--workers", "2", "--compare", "--seeds", "1")
    found = json.loads(done.out)
    assert (found["study"], found["stand_in"], found["workers"]) == ("small", False, 2)
    assert found["cost"]["trials"] == 49 and len(found["arms"]) == 4 and len(found["settings"]) == 10
    assert found["rungs"] == [1, 2, 4, 8] and found["earliest_rung"] is None
    assert (
        done.out == tune_qat("simulate", results, "--format", "json", "--workers", "2", "--compare", "--seeds", "1").out
    )


def test_overrides_trials_and_budget_change_what_is_simulated(tune_qat: Any, results: str) -> None:
    def cost(*options: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(tune_qat("simulate", results, "--format", "json", *options).out)["cost"]
        return found

    whole = cost()
    assert cost("--trials", "2")["trials"] == 49 - 4 * 4
    assert cost("--set", "asha.enabled=false")["stopped"] == 0 < whole["stopped"]
    half = cost("--time-budget", f"{whole['hours'] / 2}h")
    assert 0 < half["trials"] < whole["trials"] and half["planned"] == whole["planned"]


def test_a_record_of_several_studies_takes_a_name(tune_qat: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_record(tmp_path / "results", small(name=name))
    results = str(tmp_path / "results")
    assert_refused(tune_qat("simulate", results), 2, "holds several studies", "--study, of one, two")
    assert_refused(tune_qat("simulate", results, "--study", "tow"), 2, "no study 'tow'", "Did you mean 'two'?")
    assert blocks(tune_qat("simulate", results, "--study", "two"))[0].startswith("study two replayed")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("quickstrat",), ("neither a results folder that holds a record", "Did you mean 'quickstart'?")),
        (("quickstart", "--study", "x"), ("is a study file",)),
        (("quickstart", "--format", "csv"), ("--format must be table or json",)),
        (("quickstart", "--time-budget", "soon"), ("--time-budget takes a number with a unit",)),
        (("quickstart", "--set", "asha.grace_epochs=50"), ("asha.grace_epochs", "at most training.epochs (9)")),
    ],
)
def test_mistakes_are_named(tune_qat: Any, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert_refused(tune_qat("simulate", *arguments), 2, *parts)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("training.epochs=12", "would be another trial, whose curve is not known"),
        ("asha.grace_epochs=50", "asha.grace_epochs (from --set): must be at most training.epochs (9)"),
        ("stages.serch=1", "stages.serch (from --set): unknown key. Did you mean 'search'?"),
        ("name=other", "the name is that of the recorded study"),
    ],
)
def test_what_a_record_cannot_answer_is_named(tune_qat: Any, results: str, override: str, part: str) -> None:
    assert_refused(tune_qat("simulate", results, "--set", override), 2, part)


def test_a_folder_called_like_a_bundled_study_is_asked_after(tune_qat: Any) -> None:
    write_record(Path("quickstart"), small())
    done = tune_qat("simulate", "quickstart")
    assert done.code == 2 and "Name the folder as ./quickstart" in done.err
    assert tune_qat("simulate", "./quickstart").code == 0


def test_nothing_is_written(tune_qat: Any, results: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(results).rglob("*")}
    assert tune_qat("simulate", results).code == 0
    assert {path: path.stat().st_mtime_ns for path in Path(results).rglob("*")} == before
    assert list(Path().iterdir()) == []
