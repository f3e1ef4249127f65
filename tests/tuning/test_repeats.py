"""Studies whose repeats have starts, data and designs of their own: what runs when, and what is recorded."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tests.helpers.trials import loaded
from tests.helpers.without_ray import Killed, run_here
from tune_qat.config import UsageError
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.training.checkpoints import load_weights, weights_sha256
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.overlap import check_subsets, load_works, subset_overlaps
from tune_qat.tuning.plan import DataDraws, PlannedTrial, Planner
from tune_qat.tuning.queue import StudyQueue

ALL = ["start", "subset", "split", "design", "order"]


def study_of(repeats: int = 2, limit: int = 128, varies: list[str] = ALL, **changes: Any) -> Study:
    return tiny_study(
        repeats=repeats,
        repeat={"varies": varies, **changes.pop("repeat", {})},
        workload={"model": "lenet5", "dataset": "digits", "options": {"train_limit": limit}},
        quantization={"bits": [[4, 4]]},
        training={"epochs": 1},
        pretrain={"batch_size": 32, "epochs": 1, "starts": [{"optimizer": "adam"}, {"optimizer": "nesterov"}]},
        stages={"default": True, "random": 1, "search": 1, "retrain": 1},
        **changes,
    )


def works_of(study: Study) -> Any:
    return DataDraws.of_study(study, lambda options: loaded("lenet5", "digits", tuple(options.items())))


def test_arms_begin_when_the_start_of_their_repeat_is_there() -> None:
    study = study_of()
    queue = StudyQueue(Planner(study=study, work=works_of(study)), [], objective=Objective(1, 0.0))
    one, other = queue.next(), queue.next()
    assert one is not None and other is not None and queue.next() is None and not queue.finished
    assert queue.remaining() == 2 + 2 * 2 * 4
    queue.ended(other, {"status": "completed", "checkpoint_sha256": "b" * 64})
    begun = queue.next()
    assert begun is not None and begun.arm_id == "adam-w4a4-r2" and begun.init_checkpoint_sha256 == "b" * 64
    assert begun.start_key == other.trial_key and not queue.open and queue.remaining() == 1 + 2 * 2 * 4
    queue.ended(one, {"status": "completed", "checkpoint_sha256": "a" * 64})
    assert queue.open and [*queue.arms] == [arm.arm_id for arm in study.arms()]
    assert begun.trial_key in queue.arms["adam-w4a4-r2"].live


@pytest.mark.slow
def test_a_study_of_repeats_that_is_killed_records_what_each_drew(tmp_path: Path) -> None:
    study = study_of()

    def kill(plan: PlannedTrial, report: dict[str, Any]) -> None:
        if plan.arm_id.endswith("-r2") and plan.stage == "random":
            raise Killed

    with pytest.raises(Killed):
        run_here(study, tmp_path, watch=kill)
    run_here(study, tmp_path)
    arms, trials = read_rows(tmp_path, "arms"), read_rows(tmp_path, "trials")
    assert {row["status"] for row in trials} == {"completed"} and len(trials) == 2 + 2 * 2 * 4
    starts = {row["trial_number"]: row for row in trials if row["stage"] == "pretrain"}
    assert [starts[number]["optimizer"] for number in (0, 1)] == ["adam", "nesterov"]
    for arm in arms:
        own = [row for row in trials if row["arm_id"] == arm["arm_id"]]
        start = starts[arm["repeat"]]
        assert {row["init_checkpoint_sha256"] for row in own} == {start["checkpoint_sha256"]}
        assert {row["split_fingerprint"] for row in [*own, start]} == {arm["split_fingerprint"]}
        assert arm["init_checkpoint_sha256"] == start["checkpoint_sha256"]
        assert (
            weights_sha256(load_weights(checkpoint_path(tmp_path, "tiny", start["trial_key"])))
            == start["checkpoint_sha256"]
        )
        assert arm["start_name"] == start["optimizer"] and arm["whole"] == "tiny"
        assert json.loads(arm["varies_json"]) == ALL and arm["subset_overlap"] == 0.0
    splits = [{arm["split_fingerprint"] for arm in arms if arm["repeat"] == number} for number in (0, 1)]
    assert [len(found) for found in splits] == [1, 1] and not splits[0] & splits[1]
    assert len({arm["sampler_seed"] for arm in arms}) == 4
    tests = {tuple(works_of(study).of(study.data_options(number)).dataset.splits["test"].labels) for number in (0, 1)}
    assert len(tests) == 1, "all repeats are judged on the same test samples"
    assert run_here(study, tmp_path)[0] == [], "nothing is left"


@pytest.mark.slow
def test_a_study_begun_before_keeps_its_designs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tiny_study(
        quantization={"bits": [[4, 4]]},
        training={"epochs": 1, "init": "scratch"},
        pretrain=None,
        stages={"random": 2, "search": 2, "retrain": 1},
    )
    more = study.model_copy(update={"stages": study.stages.model_copy(update={"random": 4})})
    with monkeypatch.context() as before:
        before.setattr(Study, "design_seed", lambda study, arm: 5)  # one design for all, as in earlier versions
        run_here(study, tmp_path)
    trained, _ = run_here(more, tmp_path)
    rows = [row for row in read_rows(tmp_path, "trials") if row["stage"] == "random"]
    points = {
        arm: [row["learning_rate"] for row in sorted(rows, key=lambda row: row["trial_number"]) if row["arm_id"] == arm]
        for arm in ("adam-w4a4", "sgd_clip-w4a4")
    }
    assert len(trained) >= 4 and [len(found) for found in points.values()] == [4, 4]
    assert {row["sampler_seed"] for row in read_rows(tmp_path, "arms")} == {5}


class TestSubsets:
    def test_that_fit_are_disjoint(self) -> None:
        study = study_of(repeats=4, limit=200, varies=["start", "subset", "order"])
        assert set(subset_overlaps(study, works_of(study)).values()) == {0.0}

    def test_that_do_not_fit_overlap_by_the_largest_share(self) -> None:
        study = study_of(repeats=2, limit=800, varies=["start", "subset", "order"])
        works = works_of(study)
        one, other = (set(works.of(study.data_options(number)).dataset.train_index.tolist()) for number in (0, 1))
        share = len(one & other) / 800
        assert subset_overlaps(study, works) == {0: share, 1: share} and 0.5 < share < 0.9
        check_subsets(study, works)

    def test_that_have_to_be_disjoint_are_refused_with_the_share(self) -> None:
        study = study_of(limit=800, repeat={"disjoint": True})
        with pytest.raises(UsageError, match=r"too little for 2 disjoint subsets of 800 samples: up to \d\d%"):
            check_subsets(study, works_of(study))

    def test_of_all_samples_are_no_subsets(self) -> None:
        study = study_of(limit=5_000, varies=["start", "subset", "order"])
        with pytest.raises(UsageError, match='"subset" varies nothing'):
            check_subsets(study, works_of(study))

    def test_of_other_repeats_have_nothing_to_do_with_studies_without(self) -> None:
        study = tiny_study()
        assert subset_overlaps(study, works_of(study)) == {}

    def test_of_another_file_of_the_whole_study_count_as_well(self) -> None:
        later = study_of(repeats=2, limit=500, varies=["start", "subset", "order"], repeat={"first": 2})
        works: Any = load_works(later, None)
        one, two, three = ({*works.of(later.data_options(n)).dataset.train_index.tolist()} for n in range(3))
        assert not one & two and one & three, "two of them fit"
        assert subset_overlaps(later, works) == {
            1: len(two & three) / 500,
            2: max(len(three & one), len(three & two)) / 500,
        }
        disjoint = study_of(repeats=2, limit=500, repeat={"first": 2, "disjoint": True})
        with pytest.raises(UsageError, match="is too little"):
            load_works(disjoint, None)


@pytest.mark.slow
def test_a_start_that_is_made_again_opens_arms_that_know_their_rungs(tmp_path: Path) -> None:
    """The checkpoint of the start is gone while a search trial is cut off: what the others had counts at its rungs."""
    study = tiny_study(
        quantization={"bits": [[4, 4]]},
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        stages={"default": True, "search": 3, "retrain": 0},
        asha={"grace_epochs": 1},
    )

    def kill(plan: PlannedTrial, report: dict[str, Any]) -> None:
        if plan.stage == "search" and plan.number == 2:
            raise Killed

    with pytest.raises(Killed):
        run_here(study, tmp_path, watch=kill)
    start = next(row for row in read_rows(tmp_path, "trials") if row["stage"] == "pretrain")
    checkpoint_path(tmp_path, "tiny", start["trial_key"]).unlink()
    run_here(study, tmp_path)
    decisions = [row for row in read_rows(tmp_path, "decisions") if row["rung"] == 1]
    assert [row["n_in_rung"] for row in sorted(decisions, key=lambda row: row["decided_at"])] == [0, 1, 2]
