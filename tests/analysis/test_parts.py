"""Files of one whole study: every answer is what one file with all of it would give."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.answers import Answers
from analysis.parts import shown_as
from analysis.report.made import made
from analysis.report.page import page
from analysis.report.studies import scopes
from analysis.stats import badges, beginnings, standings, verdicts
from tests.helpers.records import StudyAtOnce
from tests.helpers.rows import filled, write
from tune_qat.cli.status_text import describe as status
from tune_qat.cli.verdict_text import verdict_text
from tune_qat.config import UsageError
from tune_qat.results.compaction import compact
from tune_qat.simulate.source import find
from tune_qat.widen.edges import describe as edges
from tune_qat.widen.ranges import Wanted, widen

VARIES = json.dumps(["start", "subset", "split", "design", "order"])
MEANS = {"adam": 0.80, "sgd": 0.75}
Blocks = Mapping[str, Sequence[int]]


def a_file(
    results: Path,
    name: str,
    repeats: Sequence[int],
    *,
    bits: Sequence[int] = (32, 4),
    origin: str | None = None,
    **values: Any,
) -> None:
    """A file with these repeats of the whole study `w`; what a trial gives follows from its arm and repeat alone.

    All its trials were taken over from the file `origin`, if there is one.
    """
    study = StudyAtOnce(results, name)

    def trial(arm: str, stage: str, **values: Any) -> None:
        taken_from = f"{origin}/t{study._trials + 1:03}" if origin else None
        study.whole_trial(arm, stage, taken_from=taken_from, **values)

    definition = json.dumps({"name": name, "judgement": {"alpha": 0.05}})
    write(
        results,
        name,
        "studies",
        "study",
        filled("studies", definition_json=definition, complete=True, mode="comparison"),
    )
    known: dict[str, Any] = {"workload": "espcn-div2k", "metric": "psnr", "unit": "dB", "whole": "w", "margin": 0.01}
    known |= {
        "planned_finalists": 1,
        "scheduler": "asha",
        "grace_epochs": 1,
        "reduction_factor": 2.0,
        "varies_json": VARIES,
    }
    for number in repeats:
        for width in bits:
            for place, optimizer in enumerate(MEANS):
                seed = 100 * number + 10 * place + width
                rng, study._trials = np.random.default_rng(seed), 1000 * seed
                arm_id = f"{optimizer}-w{width}a{width}" + (f"-r{number + 1}" if number else "")
                own = {"repeat": number, "sampler_seed": seed, "quantizer": "lsq" if width < 32 else "none"}
                arm = study.arm(optimizer, width, arm_id=arm_id, **{**known, **own, **values})
                score = MEANS[optimizer] + 0.01 * rng.standard_normal()
                for stage in ("default", "random", "random", "search", "finalists"):
                    more: dict[str, Any] = {"config_id": "best"} if stage in ("search", "finalists") else {}
                    metric = float(score - 0.1 * rng.random())
                    more |= {"oscillation": float(rng.random())}
                    trial(arm, stage, metric=metric, learning_rate=10 ** -rng.uniform(1, 5), **more)
                for again in range(2):
                    found = float(score + 0.01 * rng.standard_normal())
                    trial(arm, "retrain", seed=10 * number + again, metric=found, test_metric=found)
    study.write_all()


def record(results: Path, files: Blocks, **values: Any) -> Path:
    for name, repeats in files.items():
        a_file(results, name, repeats, **values)
    compact(results)
    return results


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return Answers(record(tmp_path_factory.mktemp("one"), {"w": range(3)}))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return Answers(record(tmp_path_factory.mktemp("blocks"), {"w1": (0, 1), "w2": (2,)}))


@pytest.mark.parametrize("question", sorted(analysis.queries()))
def test_every_question_reads_blocks_as_one_file(one: Answers, blocks: Answers, question: str) -> None:
    expected, found = one.frame(question), blocks.frame(question)
    assert set(found["study_id"]) == {"w"} or question in ("identical_runs", "calibration", "cost", "front", "pareto")
    # Sums are over the same numbers in the order of other files, and a correlation near 0 is a difference of sums.
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12, atol=1e-12)


def test_a_connection_that_follows_the_record_does_so_too(blocks: Answers) -> None:
    with analysis.open(*blocks.paths) as connection:
        rows = connection.execute("SELECT DISTINCT study_id, file_id FROM whole_trials ORDER BY ALL").fetchall()
    assert rows == [("w", "w1"), ("w", "w2")]


@pytest.mark.slow
def test_words_badges_and_page_read_blocks_as_one_file(one: Answers, blocks: Answers) -> None:
    told = verdicts(blocks)
    assert told == verdicts(one) and {row.speaks_of for row in told} == {"optimizers"}
    assert badges(blocks) == badges(one)
    assert [asdict(scope) for scope in scopes(blocks)] == [asdict(scope) for scope in scopes(one)]
    pd.testing.assert_frame_equal(beginnings(blocks), beginnings(one), rtol=1e-12)
    html = page(blocks)
    assert "<title>w" in html and "-w1-" not in html


def test_what_is_of_a_file_stays_so(blocks: Answers) -> None:
    """Progress, hashes and versions, and the trials that saw test data in each."""
    assert [study["study_id"] for study in made(blocks)] == ["w1", "w2"]
    first, second = (str(study["facts"]) for study in made(blocks))
    assert "16 trials saw test data" in first and "8 trials saw test data" in second
    text = status(blocks.paths[0])
    assert "study w1: complete" in text and "study w2: complete" in text and text.count("adam-w4a4 ") == 1
    assert len(blocks.frame("SELECT * FROM arm_trials WHERE study_id = 'w1'")) == 8 * 7


@pytest.mark.parametrize("named", [None, "w", "w1"])
@pytest.mark.slow
def test_a_study_is_named_by_its_whole_or_by_a_file(blocks: Answers, named: str | None) -> None:
    text = edges(blocks.paths[0], named)
    assert text.startswith("study w (comparison mode, of ") and "adam-w4a4-r2" in text and text.count("study w ") == 1
    assert "of w1, w2): " in text
    assert verdict_text(blocks, named or "w2") == verdict_text(blocks, "w2")
    assert "4/4 bits, LSQ: " in verdict_text(blocks, "w2")


def test_what_is_done_to_one_file_names_the_files_of_the_whole(blocks: Answers) -> None:
    with pytest.raises(UsageError, match=r"'w' lies in several files, each widened by itself \(--study\): w1, w2\."):
        widen(blocks.paths[0], "w", Wanted())
    with pytest.raises(UsageError, match=r"'w' is a whole study, .* by itself \(--study\): w1, w2\."):
        find(str(blocks.paths[0]), "w", {})


def test_bits_in_files_of_their_own_are_one_study(tmp_path: Path) -> None:
    a_file(tmp_path, "float", (0, 1), bits=(32,))
    a_file(tmp_path, "four", (0, 1), bits=(4,))
    found = analysis.frame(tmp_path, "quantization_effect")
    assert (
        found[["study_id", "optimizer", "n"]].values.tolist() == [["w", "adam", 2], ["w", "sgd", 2]] or len(found) == 2
    )
    assert set(found["study_id"]) == {"w"}


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({}, {"init": "scratch"}, {"w, pretrain", "w, scratch"}),
        ({}, {"workload": "m-e"}, {"w, espcn-div2k", "w, m-e"}),
    ],
    ids=["starts", "workloads"],
)
def test_boards_of_one_whole_are_told_apart_by_name(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], names: set[str]
) -> None:
    record(tmp_path, {"a1": (0,), "a2": (1,)}, bits=(4,), **first)
    record(tmp_path, {"b1": (0,), "b2": (1,)}, bits=(4,), **second)
    assert set(shown_as(tmp_path).values()) == names
    assert set(standings(tmp_path)["study_id"]) == names


@pytest.mark.parametrize("other", [{"max_epochs": 8}, {"margin": 0.5}, {"metric": "ssim"}, {"n_test": 7}])
def test_files_whose_boards_differ_stay_apart(tmp_path: Path, other: dict[str, Any]) -> None:
    a_file(tmp_path, "a", (0,), bits=(4,), n_test=5)
    a_file(tmp_path, "b", (1,), bits=(4,), **{"n_test": 5, **other})
    assert shown_as(tmp_path) == {"a": "a", "b": "b"}


class TestTheSameArmInTwoFiles:
    def test_one_that_was_taken_over_counts_once(self, tmp_path: Path) -> None:
        one, several = tmp_path / "one", tmp_path / "several"
        record(one, {"w": (0, 1)}, bits=(4,))
        a_file(several, "a", (0,), bits=(4,))
        a_file(several, "b", (0,), bits=(4,), origin="a")
        record(several, {"c": (1,)}, bits=(4,))
        expected, found = Answers(one), Answers(several)
        for question in ("leaderboard", "retrain_scores", "budget", "edge_of_range", "start"):
            pd.testing.assert_frame_equal(found.frame(question), expected.frame(question), rtol=1e-12)
        # All the same, status says what has become of each trial of the file.
        lines = [line.split() for line in status(several).splitlines() if line.split()[:1] == ["adam-w4a4"]]
        assert [line[:2] for line in lines] == [["adam-w4a4", "7"]] * 2

    def test_files_that_ran_it_by_themselves_stay_apart(self, tmp_path: Path) -> None:
        """They differ in data or recipe: a mean over both would be of nothing."""
        record(tmp_path, {"a": (0, 1), "b": (1, 2)}, bits=(4,))
        assert shown_as(tmp_path) == {"a": "a", "b": "b"}
