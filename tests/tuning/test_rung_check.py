"""The check of ASHA's first rung: as a gate of the queue, and on recorded studies as they were before their search."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import analysis
from tests.helpers.studies import tiny_study
from tests.tuning.test_queue import INIT, make_queue, row_of
from tune_qat.config import UsageError
from tune_qat.results.early_stopping import keeps_best
from tune_qat.results.reader import read_rows
from tune_qat.simulate.memory_record import Memory
from tune_qat.study import Study
from tune_qat.study.begun import Begun
from tune_qat.study.file import recorded_study
from tune_qat.tuning.begun import as_begun
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import DataDraws, PlannedTrial, Planner, RecordedData
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.record import Record
from tune_qat.tuning.rung_check import RungCheck, unstopped

RECORDS = Path(__file__).parents[2] / "docs" / "results"
FIVE = {"optimizers": ["adam", "sgd", "nesterov", "lion", "rmsprop"], "batch_size": {"low": 16, "high": 64}}
SIX = {**FIVE, "optimizers": [*FIVE["optimizers"], "adamw"]}
KEPT = ("adam-w4a4", "lion-w4a4")
"""Arms of six whose best is kept, where it is not in the others."""
Metrics = Callable[[PlannedTrial, int], float]


def study(**changes: Any) -> Study:
    """Five arms with eight trials each that nothing stops, six epochs, the first rung at epoch 2."""
    values: dict[str, Any] = {
        "quantization": {"bits": [[4, 4]]},
        "training": {"epochs": 6},
        "space": FIVE,
        "stages": {"default": True, "random": 7, "search": 2, "retrain": 0},
        "asha": {"grace_epochs": 2},
    }
    return tiny_study(**{**values, **changes})


def early(plan: PlannedTrial, epoch: int) -> float:
    """The higher the number of a trial the better it ends, and the worse it is before epoch 4."""
    return 0.5 + (plan.number + (plan.stage == "random")) / (20 if epoch >= 4 else -20)


def steady(plan: PlannedTrial, epoch: int) -> float:
    return 0.5 + plan.number / 20


class Bench:
    """A queue with its gate, whose trials are ended by the test."""

    def __init__(self, study: Study, metric: Metrics = early, *, allowed: bool = False) -> None:
        self.queue, self.memory, self.metric = make_queue(study), Memory(start_sha256=lambda number: INIT), metric
        self.said: list[str] = []
        self.errors: list[UsageError] = []
        self.check = RungCheck(self.queue, self.memory, self.errors.append, self.said.append, allowed=allowed)
        self.queue.may_search = self.check
        self.live: list[PlannedTrial] = []

    def start(self, most: int = 1000) -> list[str]:
        """Start what can start; the stages of it."""
        begun: list[str] = []
        while len(begun) < most and (plan := self.queue.next()) is not None:
            self.live.append(plan)
            begun.append(plan.stage)
        return begun

    def end(self, plan: PlannedTrial) -> None:
        self.live.remove(plan)
        for epoch in range(1, plan.config.epochs + 1):
            self.memory.epoch(plan, {"epoch": epoch, "val_metric": self.metric(plan, epoch), "status": "completed"})
        self.queue.ended(plan, row_of(plan, metric=self.metric(plan, plan.config.epochs)))

    def end_all(self, but: int = 0) -> None:
        for plan in self.live[: len(self.live) - but]:
            self.end(plan)

    def until_random(self) -> None:
        """Start the default and random trials of all arms."""
        assert self.start() == ["pretrain"]
        self.end_all()
        assert self.start() == ["default"] * 5 + ["random"] * 35


def test_a_rung_that_the_random_trials_refute_is_refused_once_all_have_ended() -> None:
    bench = Bench(study())
    bench.until_random()
    bench.end_all(but=1)
    assert bench.start() == [] and not bench.queue.finished and not bench.errors, "the last arm may keep its best"
    bench.end_all()
    assert bench.start() == []
    (error,) = bench.errors
    assert str(error) == (
        "ASHA's first rung, epoch 2 of 6, loses the best trials: of those that nothing stops, the trial that ends best "
        "is in the share that goes on, one in 3, in 0 of 5 arms (0%, exact 90% interval 0% to 45%), below 80%. The "
        "earliest epoch that holds is 4, with 5 of 5 arms (100%, exact 90% interval 55% to 100%): "
        "asha.grace_epochs = 4, or no early stopping at all, asha.enabled = false. Change the study file and run the "
        "same command again: nothing recorded is lost, and no trial of the search has begun. --allow-early-rung goes "
        "on with the rung as it is."
    )
    assert error.exit_code == 2
    bench.start()
    assert len(bench.errors) == 1, "it is judged once"


def test_an_arm_that_may_change_the_answer_is_waited_for() -> None:
    bench = Bench(study(space=SIX), lambda plan, epoch: (steady if plan.arm_id in KEPT else early)(plan, epoch))
    bench.start()
    bench.end_all()
    bench.start()
    for plan in [plan for plan in bench.live if plan.arm_id != "adamw-w4a4"]:
        bench.end(plan)
        assert bench.start() == []
    # Two of five are not refuted, two of six are; three of six are not.
    assert not bench.errors and not bench.said
    bench.end_all()
    assert bench.start() == [] and "in 2 of 6 arms" in str(bench.errors[0])


def test_arms_whose_start_is_still_made_are_waited_for() -> None:
    bench = Bench(study(repeats=2, repeat={"varies": ["start"]}))
    assert bench.start() == ["pretrain"] * 2
    first, late = bench.live
    bench.end(first)
    assert bench.start() == ["default"] * 5 + ["random"] * 35
    for plan in [plan for plan in bench.live if plan is not late]:
        bench.end(plan)
    assert bench.start() == [] and not bench.errors, "five of ten arms have ended"
    bench.end(late)
    bench.start()
    bench.end_all()
    assert bench.start() == [] and "in 0 of 10 arms" in str(bench.errors[0])


def test_where_no_rung_holds_the_advice_is_to_stop_nothing() -> None:
    bench = Bench(study(), lambda plan, epoch: early(plan, 6 if epoch == 6 else 1))
    bench.until_random()
    bench.end_all()
    bench.start()
    assert "No epoch holds: switch early stopping off, asha.enabled = false." in str(bench.errors[0])


@pytest.mark.parametrize("asha", [{"enabled": False}, {"grace_epochs": 4}, {"grace_epochs": 6}])
def test_after_the_mending_the_search_begins(asha: dict[str, Any]) -> None:
    bench = Bench(study(asha=asha))
    bench.until_random()
    bench.end_all()
    assert bench.start() == ["search"] * 10 and not bench.errors
    assert len(bench.said) == (asha == {"grace_epochs": 4})
    assert all("is not refuted: of those that nothing stops" in text for text in bench.said)


def test_a_rung_that_cannot_be_refuted_any_more_is_not_waited_for() -> None:
    bench = Bench(study(space=SIX), steady)
    bench.start()
    bench.end_all()
    bench.start()
    for plan in [plan for plan in bench.live if plan.arm_id != "adamw-w4a4"]:
        bench.end(plan)
        assert bench.start() in ([], ["search"] * 10)
    assert [plan.stage for plan in bench.live] == ["default", *["random"] * 7, *["search"] * 10]
    assert "is not refuted" in bench.said[0] and "in 5 of 5 arms" in bench.said[0]


def test_without_the_evidence_it_is_unknown_and_nothing_is_waited_for() -> None:
    few = Bench(study(stages={"default": True, "random": 6, "search": 2, "retrain": 0}))
    few.start()
    few.end_all()
    few.check.begin()
    (said,) = few.said
    assert said == (
        "ASHA's first rung, epoch 2 of 6: unknown whether it keeps the best trials. To tell takes 8 default and random "
        "trials, which nothing stops, in each of 5 arms (stages.random plans them); 0 have them."
    )
    few.start()
    first = [plan for plan in few.live if plan.arm_id == "adam-w4a4"]
    for plan in first:
        few.end(plan)
    assert few.start() == ["search"] * 2 and not few.errors


def test_the_user_may_go_on() -> None:
    bench = Bench(study(), allowed=True)
    bench.until_random()
    bench.end_all()
    assert bench.start() == ["search"] * 10 and not bench.errors
    assert "loses the best trials" in bench.said[0] and bench.said[0].endswith("as --allow-early-rung says.")


def test_a_study_that_has_begun_its_search_goes_on_with_a_warning() -> None:
    bench = Bench(study(asha={"enabled": False}))
    bench.until_random()
    bench.end_all()
    bench.start(1)
    bench.end_all()
    done = [one for state in bench.queue.arms.values() for one in state.done.values()]
    rows = [row_of(plan, metric=row["val_metric"]) for plan, row in done]
    again = Bench(study())
    again.memory.epochs = bench.memory.epochs
    again.queue = again.check.queue = make_queue(study(), rows)
    again.queue.start_known(again.queue.starts[0], INIT)
    again.check.begin()
    assert not again.errors
    assert "loses the best trials" in again.said[0] and again.said[0].endswith("as its search has begun.")
    again.queue.may_search = again.check
    assert again.start() == ["search"] * 9


class TestRecorded:
    """The recorded studies as they were when their random trials had ended."""

    def queue(self, name: str, study: Study | None = None) -> tuple[StudyQueue, Record]:
        results = RECORDS / name / "record"
        study = study or self.study(name)
        arm = read_rows(results, "arms", name)[0]
        work = RecordedData(data_fingerprint=arm["data_fingerprint"], split_fingerprint=arm["split_fingerprint"])
        rows = [row for row in read_rows(results, "trials", name) if row["stage"] not in ("search", "retrain")]
        queue = StudyQueue(
            Planner(study=study, work=work), rows, objective=Objective(arm["sign"], 0.0, arm["trivial_score"])
        )
        (start,) = queue.starts
        row = queue.recorded_start(start)
        assert row is not None
        queue.start_known(start, row["checkpoint_sha256"], row)
        data: Any = work  # what reads epochs asks it nothing
        return queue, Record(results, study, DataDraws.of_study(study, lambda options: data), arm["sign"])

    def study(self, name: str, **changes: Any) -> Study:
        (row,) = read_rows(RECORDS / name / "record", "studies", name)
        return recorded_study(Study, row["definition_json"], {f"asha.{k}": v for k, v in changes.items()}, name)

    def judged(self, name: str, study: Study) -> tuple[list[UsageError], list[str]]:
        errors: list[UsageError] = []
        said: list[str] = []
        queue, record = self.queue(name, study)
        RungCheck(queue, record, errors.append, said.append).begin()
        return errors, said

    @pytest.mark.parametrize(
        ("name", "used", "figures", "holds"),
        [
            ("espcn_photos", 2, "in 12 of 20 arms", "is 3, with 14 of 20 arms (70%, exact 90% interval 49% to 86%)"),
            ("lenet5_mnist_small", 1, "in 9 of 30 arms", "is 2, with 29 of 30 arms"),
        ],
    )
    def test_their_own_rung_is_refused_and_todays_default_is_not(
        self, name: str, used: int, figures: str, holds: str
    ) -> None:
        (error,), said = self.judged(name, self.study(name, grace_epochs=used))
        assert not said and figures in str(error) and f"The earliest epoch that holds {holds}" in str(error)
        today = self.study(name)
        assert today.first_rung == (6 if used == 2 else 2)
        errors, (sentence,) = self.judged(name, today)
        assert not errors and "is not refuted" in sentence
        assert ("in 18 of 20 arms" if used == 2 else "in 29 of 30 arms") in sentence
        # The study that was begun then goes on with its rung.
        errors, (sentence,) = self.judged(name, as_begun(today, RECORDS / name / "record"))
        assert not errors and f"epoch {used} of" in sentence and sentence.endswith("as it began so.")

    @pytest.mark.parametrize("name", ["espcn_photos", "lenet5_mnist_small"])
    def test_what_is_kept_is_what_the_bundled_question_says(self, name: str) -> None:
        queue, record = self.queue(name)
        metrics: dict[str, dict[int, float | None]] = {}
        for key, epoch, metric in record.searched_epochs():
            metrics.setdefault(key, {})[epoch] = metric
        rows = analysis.frame(RECORDS / name / "record", "rung_correlation")
        assert len(rows) == (40 if name == "espcn_photos" else 30)
        for row in rows.itertuples():
            state = queue.arms[f"{row.optimizer}-w{row.weight_bits}a{row.activation_bits}"]
            trials = unstopped(state, metrics.__getitem__)
            there = [(one.epochs[row.rung - 1], one.end) for one in trials if one.epochs[row.rung - 1] is not None]
            now, end = zip(*there, strict=True)
            assert (row.unstopped, row.n) == (len(trials), len(there))
            assert row.kept == keeps_best(now, end, row.reduction_factor)


def test_failures_end_with_the_constant_predictors_score() -> None:
    bench = Bench(study(), steady)
    bench.until_random()
    failed = next(plan for plan in bench.live if plan.arm_id == "adam-w4a4")
    bench.live.remove(failed)
    bench.memory.epoch(failed, {"epoch": 1, "val_metric": 0.9, "status": "running"})
    bench.memory.epoch(failed, {"epoch": 2, "val_metric": None, "status": "diverged"})
    bench.queue.ended(failed, row_of(failed, status="diverged", metric=None))
    (found,) = unstopped(
        bench.queue.arms["adam-w4a4"],
        lambda key: {row["epoch"]: row["val_metric"] for row in bench.memory.epochs_of(key)},
    )
    assert (list(found.epochs), found.end) == ([0.9, *[None] * 5], 0.1)


def test_what_began_is_kept_by_the_study_alone() -> None:
    old = study(asha={}).going_on(Begun(first_rung=1))
    assert (old.rungs, study(asha={}).rungs) == ((1, 3), (3,))
    assert old.model_dump_json() == study(asha={}).model_dump_json()
    assert study().going_on(Begun(first_rung=1)).rungs == (2,), "the file decides where it names one"
