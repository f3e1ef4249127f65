"""Which recorded curve a simulated trial gets, beside plain loops."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.simulate.small import small, write_record
from tune_qat.config import TrialConfig, UsageError
from tune_qat.data.classification import Classification
from tune_qat.data.super_resolution import SuperResolution
from tune_qat.simulate import summary
from tune_qat.simulate.load import _trial, load, most_at_once
from tune_qat.simulate.loop import simulate
from tune_qat.simulate.recorded_curves import Group, RecordedTrial
from tune_qat.study import Study
from tune_qat.study.file import recorded_study
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PlannedTrial


def config(learning_rate: float, batch_size: int = 32, seed: int = 0) -> TrialConfig:
    study = small()
    values = {"learning_rate": learning_rate, "batch_size": batch_size}
    return study.config(study.arms()[2], "adam", values, seed=seed)


def trial(key: str, rate: float, metrics: list[float | None], status: str = "completed", **more: Any) -> RecordedTrial:
    values: dict[str, Any] = {
        "trial_key": key,
        "arm_id": "adam-w4a4",
        "stage": "random",
        "config": config(rate, more.pop("batch_size", 32), more.pop("seed", 0)),
        "status": status,
        "metrics": tuple(metrics),
        "seconds": (1.0,) * len(metrics),
        "device_seconds": (2.0,) * len(metrics),
    }
    return RecordedTrial(**{**values, **more})


def rising(top: float, epochs: int = 9) -> list[float | None]:
    return [top * (epoch / 9) for epoch in range(1, epochs + 1)]


def plan(rate: float, *, key: str = "new", stage: str = "search", **more: int) -> PlannedTrial:
    return PlannedTrial(
        trial_key=key,
        arm_id="adam-w4a4",
        stage=stage,
        source="sampler",
        number=0,
        config=config(rate, **more),
        init_checkpoint_sha256=None,
        values={},
    )


def group(*trials: RecordedTrial, sign: int = 1) -> Group:
    return Group(trials, {"adam": small().dimensions("adam")}, sign)


def test_the_very_trial_has_its_own_curve_also_where_it_was_stopped() -> None:
    found = group(trial("a", 1e-3, rising(0.9)), trial("b", 1e-4, rising(0.1, 2), "stopped")).curve(plan(1e-4, key="b"))
    assert (found.source, found.known_epochs, found.metrics[:2]) == ("recorded", 2, tuple(rising(0.1, 2)))


def test_the_nearest_is_that_of_a_plain_loop_over_logarithms() -> None:
    places = [(1e-5, 16), (3e-4, 64), (1e-3, 16), (4e-3, 32), (0.09, 64)]
    recorded = group(*(trial(f"t{i}", rate, rising(0.1 * (i + 1)), batch_size=b) for i, (rate, b) in enumerate(places)))
    for rate in (2e-5, 1e-4, 5e-4, 2e-3, 9e-3, 0.05):
        for batch in (16, 32, 64):
            # adam's rates span 1e-5 .. 1e-1, four decades; batch sizes 16 .. 64, two octaves.
            away = [math.hypot(math.log10(rate / other) / 4, math.log2(batch / size) / 2) for other, size in places]
            found = recorded.curve(plan(rate, batch_size=batch))
            assert found.metrics == tuple(rising(0.1 * (away.index(min(away)) + 1)))
            assert found.source == ("recorded" if min(away) == 0 else "neighbour")


def test_another_seed_of_a_configuration_is_the_same_configuration() -> None:
    found = group(trial("a", 1e-3, rising(0.9)), trial("b", 1e-2, rising(0.1))).curve(plan(1e-3, seed=7))
    assert (found.source, found.end) == ("recorded", 0.9)


def test_seeds_of_retrain_are_for_retrain_and_each_key_keeps_its_own() -> None:
    seeds = [trial(f"r{n}", 1e-3, rising(0.5 + n / 100), seed=n, stage="retrain") for n in range(1, 6)]
    recorded = group(trial("a", 1e-3, rising(0.9)), *seeds)
    assert {recorded.curve(plan(1e-3, key=f"k{n}")).end for n in range(30)} == {0.9}
    again = [recorded.curve(plan(1e-3, key=f"k{n}", stage="retrain")).end for n in range(30)]
    assert len(set(again)) > 3
    assert again == [recorded.curve(plan(1e-3, key=f"k{n}", stage="retrain")).end for n in range(30)]
    assert recorded.whole[0].trial_key == "a" and len(recorded.whole) == 1


def test_a_stopped_curve_goes_on_in_parallel_to_the_nearest_whole_one() -> None:
    near, far = trial("near", 1e-3, rising(0.9)), trial("far", 0.1, rising(0.3))
    found = group(near, far, trial("cut", 5e-4, [0.05, 0.06], "stopped")).curve(plan(5e-4, key="cut"))
    # The near one gains 0.1 an epoch.
    assert found.metrics == pytest.approx([0.05, 0.06, *(0.06 + 0.1 * n for n in range(1, 8))])
    assert (found.status, found.known_epochs, len(found.seconds)) == ("completed", 2, 9)
    assert found.seconds == (1.0,) * 9 and found.device_seconds == (2.0,) * 9


@pytest.mark.parametrize("sign", [1, -1])
def test_nothing_extrapolated_is_better_than_what_was_reached(sign: int) -> None:
    whole = trial("whole", 1e-3, [sign * value for value in (0.1, 0.2, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7)])
    cut = trial("cut", 2e-3, [sign * 0.4, sign * 0.5], "stopped")
    found = group(whole, cut, sign=sign).curve(plan(2e-3, key="cut"))
    assert [sign * (metric or 0.0) for metric in found.metrics] == pytest.approx(
        [0.4, 0.5, 0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.7]
    )


def test_without_any_whole_curve_a_stopped_one_stays_level() -> None:
    found = group(trial("cut", 1e-3, [0.4, 0.5], "stopped")).curve(plan(1e-3, key="cut"))
    assert found.metrics == (0.4, *(0.5,) * 8)


def test_a_diverged_neighbour_diverges() -> None:
    found = group(trial("a", 1e-3, rising(0.9)), trial("b", 0.1, [0.1, None], "diverged")).curve(plan(0.08))
    assert (found.status, found.metrics, found.end, found.known_epochs) == ("diverged", (0.1, None), None, 2)


def test_the_worst_metric_is_the_recorded_one_or_that_of_all_earlier_tasks() -> None:
    arm = {"sign": 1, "trivial_score": 0.1}
    earlier = Objective.of_record(arm).worst
    assert Classification.worst_metric == SuperResolution.worst_metric == earlier == 0
    assert Objective.of_record({**arm, "sign": -1, "worst_metric": 9.0}) == Objective(-1, 9.0, 0.1)
    # An error of an imported study, whose worst is unknown: no diverged trial may count as free of errors.
    assert Objective.of_record({"sign": -1, "trivial_score": 4.0}).of(None) == -4


def test_most_at_once_counts_overlaps() -> None:
    def at(minute: int) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)

    assert most_at_once([]) == 1
    assert most_at_once([(at(0), at(2)), (at(2), at(4)), (at(4), None), (None, at(5))]) == 1
    assert most_at_once([(at(0), at(3)), (at(1), at(2)), (at(2), at(4)), (at(1), at(9))]) == 3


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record") / "results"
    write_record(folder, small())
    return folder


BATCHES = {"low": 16, "high": 64}


class TestLoad:
    def test_a_replay_finds_every_trial_again(self, results: Path) -> None:
        loaded = load(results, small())
        done = simulate(small(), loaded.curves, workers=1)
        assert summary.sources(done) == {"recorded": 1.0, "extrapolated": 0.0}
        assert (loaded.trials, loaded.stopped) == (
            len(done.runs) - 1,
            sum(run.status == "stopped" for run in done.runs),
        )

    def test_other_ranges_and_stages_take_neighbours(self, results: Path) -> None:
        space = {"optimizers": ["sgd_clip"], "batch_size": {"low": 16, "high": 32}, "learning_rate": {"low": 1e-3}}
        study = small(space=space, stages={"default": True, "random": 0, "search": 12, "retrain": 1})
        done = simulate(study, load(results, study).curves, workers=2)
        assert summary.sources(done)["neighbour"] > 0.5
        assert all((row["regret"] or 0.0) >= 0 for row in summary.arms(done))

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"training": {"epochs": 8}}, "has no trial with a curve that would be the same"),
            ({"space": {"optimizers": ["lion"], "batch_size": BATCHES}}, "no trial with a curve that would"),
            ({"space": {"optimizers": ["adam", "lion"], "batch_size": BATCHES}}, "of lion-w32a32, lion-w4a4"),
            ({"quantization": {"bits": [[4, 4], [2, 2]]}}, "of adam-w2a2, sgd_clip-w2a2"),
        ],
    )  # fmt: skip
    def test_what_the_record_does_not_have_is_named(self, results: Path, changes: dict[str, Any], named: str) -> None:
        with pytest.raises(UsageError, match=named):
            load(results, small(**changes))

    def test_a_start_that_is_not_there_yet_is_said(self, tmp_path: Path) -> None:
        write_record(tmp_path, small(training={"epochs": 9, "init": "scratch"}))
        with pytest.raises(UsageError, match="does not have its pretrained start yet"):
            load(tmp_path, small())

    def test_seconds_of_a_cpu_are_those_of_its_threads_together(self, results: Path) -> None:
        row = {"trial_key": "a", "arm_id": "b", "stage": "random", "status": "completed", "processors": 4}
        row["params_json"] = json.dumps(config(1e-3).to_dict())
        found = _trial(row, {"a": [(0.1, 8.0), (0.2, 20.0)]})
        assert (found.device_seconds, found.seconds) == ((8.0, 12.0), (2.0, 3.0))


def test_a_search_that_nothing_stopped_is_calibration(tmp_path: Path) -> None:
    free = small(asha={"enabled": False})
    write_record(tmp_path / "free", free)
    write_record(tmp_path / "cut", small())
    assert not load(tmp_path / "free", free).curves.stopped_early
    assert load(tmp_path / "cut", small()).curves.stopped_early


def test_a_start_whose_optimizer_has_a_schedule_of_its_own_is_read_again() -> None:
    """The record says every key, and "cosine" of a study that says nothing gives way to the optimizer's own."""
    start = {"optimizer": "schedule_free_sgd", "batch_size": 32, "epochs": 2}
    study = small(pretrain=start)
    again = recorded_study(Study, study.model_dump_json(), {}, "the record")
    assert again == study and again.pretrain_config(0) == study.pretrain_config(0)
    assert again.pretrain_config(0).schedule == "constant"
