"""Mixed precision in a study that runs: measured once, allocated exactly, read ever after."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import without_ray
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import Killed, run_here
from tune_qat.cli import plan_text, status_text
from tune_qat.config import LayerSensitivity, UsageError
from tune_qat.results.reader import read_rows
from tune_qat.simulate.source import find
from tune_qat.study import Study
from tune_qat.study.mixed import mixed_schemes, waits
from tune_qat.study.starts import starts_of
from tune_qat.tuning.begun import as_begun
from tune_qat.tuning.costs import cost_rows
from tune_qat.tuning.mixed import falling, measure
from tune_qat.tuning.run import checked

BITS = [2, 3, 4, 8]
NAMES = ["mixed-hessian-2.5", "mixed-hessian-4.0"]
WEIGHTS = {"conv2": 2400, "fc1": 48_000, "fc2": 10_080}


def study(**mixed: Any) -> Study:
    """One optimizer at 4/4 and at two budgets, its default trial and a seed."""
    section = {"average_weight_bits": [2.5, 4], "candidates": BITS, "samples": 32, "probes": 4, **mixed}
    return tiny_study(
        name="m",
        quantization={"bits": [[4, 4]], "mixed": {k: v for k, v in section.items() if v is not None}},
        training={"epochs": 1},
        pretrain={"batch_size": 32, "epochs": 1},
        space={"optimizers": ["adam"], "batch_size": {"low": 32, "high": 64}},
        stages={"default": True, "search": 0, "retrain": 1, "calibrated": True},
    )


def bits_of(results: Path) -> dict[str, dict[str, int]]:
    arms = read_rows(results, "arms", "m")
    return {row["method"]: json.loads(row["layer_bits_json"]) for row in arms if row["layer_bits_json"]}


def costs_of(study: Study, results: Path) -> list[dict[str, Any]]:
    """What a run writes to the table `costs` before the arms begin."""
    return list(cost_rows(as_begun(study, results), checked(study, None).first))


def planted(*_: object) -> list[LayerSensitivity]:
    """Only fc2 is sensitive: it must keep its bits."""
    return [
        LayerSensitivity(
            layer=layer,
            layer_index=number,
            bits=bits,
            sensitivity=(1000.0 if layer == "fc2" else 1e-3) * 4.0**-bits,
            hessian_trace=1.0,
            squared_error=4.0**-bits,
            weights=weights,
            weight_bytes=weights * bits // 8,
            bit_operations=bits * bits,
        )
        for number, (layer, weights) in enumerate(WEIGHTS.items(), start=1)
        for bits in BITS
    ]


def refused(*_: object) -> Any:
    raise AssertionError("measured again")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    results = tmp_path_factory.mktemp("mixed") / "results"
    run_here(study(), results)
    yield results


def test_bits_are_the_best_of_all_choices_by_what_was_measured(ended: Path) -> None:
    rows = {(row["layer"], row["bits"]): row for row in read_rows(ended, "sensitivities", "m")}
    assert {layer: rows[layer, 2]["weights"] for layer in WEIGHTS} == WEIGHTS
    assert len(rows) == len(WEIGHTS) * len(BITS)
    for row in rows.values():
        assert row["sensitivity"] == max(0.0, row["hessian_trace"]) * row["squared_error"]
    for name, average in zip(NAMES, (2.5, 4), strict=True):
        fitting = [
            dict(zip(WEIGHTS, choice, strict=True))
            for choice in itertools.product(BITS, repeat=len(WEIGHTS))
            if sum(map(lambda n, b: n * b, WEIGHTS.values(), choice)) <= average * sum(WEIGHTS.values())
        ]
        assert bits_of(ended)[name] == min(
            fitting, key=lambda bits: sum(rows[layer, width]["sensitivity"] for layer, width in bits.items())
        )


def test_a_mixed_scheme_has_all_that_a_uniform_one_has(ended: Path) -> None:
    trials, bits = read_rows(ended, "trials", "m"), bits_of(ended)
    for name in NAMES:
        own = [row for row in trials if row["arm_id"] == f"adam-{name}"]
        assert sorted((row["stage"], row["status"]) for row in own) == [
            ("default", "completed"),
            ("retrain", "completed"),
        ]
        for row in own:
            assert json.loads(row["params_json"])["scheme"]["layer_bits"] == {
                layer: [width, width] for layer, width in bits[name].items()
            }
        costs = {row["layer"]: row for row in costs_of(study(), ended) if row["method"] == name}
        assert {layer: costs[layer]["weight_width"] for layer in bits[name]} == bits[name]
        assert costs["conv1"]["weight_width"] == costs["fc3"]["weight_width"] == 8
    assert sum(row["stage"] == "calibrated" for row in trials) == 3
    layers = {(row["layer"], row["bits"]) for row in read_rows(ended, "layers", "m")}
    assert {pair for own in bits.values() for pair in own.items()} <= layers


def test_a_whole_study_runs_nothing_and_is_reported_as_it_is(ended: Path, tmp_path: Path) -> None:
    shutil.copytree(ended, results := tmp_path / "results")
    assert run_here(study(), results)[0] == []
    text = plan_text.describe(study(), results)
    for name, bits in bits_of(ended).items():
        layers = ", ".join(f"{layer} {width}" for layer, width in bits.items())
        assert f"{name}: bits of layers {layers}" in text
        assert f"bits of layers of {name}: {layers}" in status_text.describe(results)
    assert "reuses 10 recorded" in text and "runs 0" in text
    simulated = find(str(results), "m", {})
    assert not simulated.study.waits and len(simulated.study.arms()) == 3


def test_planted_layers_keep_their_bits_in_every_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_ray, "measure", planted)
    said = list[str]()
    run_here(study(average_weight_bits=[3, 4]), tmp_path, said=said)
    found = bits_of(tmp_path)
    assert found["mixed-hessian-3.0"] == {"conv2": 2, "fc1": 2, "fc2": 8}, "that leaves no bit for others"
    assert found["mixed-hessian-4.0"]["fc2"] == 8
    trials = [row for row in read_rows(tmp_path, "trials", "m") if row["arm_id"].startswith("adam-mixed")]
    assert len(trials) == 4
    assert all(json.loads(row["params_json"])["scheme"]["layer_bits"]["fc2"] == [8, 8] for row in trials)
    assert any("measuring how sensitive 3 layers are, by the Hessian (4 vectors)" in line for line in said)
    assert any(line.startswith("mixed-hessian-4.0: conv2 ") and "bits a weight)" in line for line in said)


def test_killed_before_the_arms_it_goes_on_with_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once between start and measurement, once behind it, once in the middle of the arms."""

    def killed(*_: object) -> Any:
        raise Killed

    monkeypatch.setattr(without_ray, "measure", killed)
    with pytest.raises(Killed):
        run_here(study(), tmp_path)
    assert len(read_rows(tmp_path, "trials", "m")) == 1, "the start, and no arm before it has bits"
    text = plan_text.describe(study(), tmp_path)
    assert "mixed-hessian-2.5: bits of layers are allocated once the first start is there" in text
    assert "reuses 1 recorded" in text and "runs 9" in text
    assert "layers of mixed-hessian-4.0 have no bits yet" in status_text.describe(tmp_path)
    with pytest.raises(UsageError, match="no trial with a curve"):
        find(str(tmp_path), "m", {})

    monkeypatch.setattr(without_ray, "measure", planted)
    monkeypatch.setattr(without_ray, "_work_off", killed)
    with pytest.raises(Killed):
        run_here(study(), tmp_path)
    assert read_rows(tmp_path, "sensitivities", "m") and not bits_of(tmp_path)
    monkeypatch.undo()

    monkeypatch.setattr(without_ray, "measure", refused)

    def at_first(plan: Any, report: Any) -> None:
        if plan.arm_id.startswith("adam-mixed"):
            raise Killed

    with pytest.raises(Killed):
        run_here(study(), tmp_path, watch=at_first)
    before = bits_of(tmp_path)
    assert before["mixed-hessian-2.5"] == {"conv2": 4, "fc1": 2, "fc2": 4}
    monkeypatch.setattr("tune_qat.tuning.mixed.allocate", refused)
    run_here(study(), tmp_path)
    assert bits_of(tmp_path) == before
    assert all(row["status"] == "completed" for row in read_rows(tmp_path, "trials", "m"))


def test_another_budget_is_allocated_from_what_was_measured(
    ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ended, results := tmp_path / "results")
    monkeypatch.setattr(without_ray, "measure", refused)
    wider = study(average_weight_bits=[2.5, 3, 4])
    assert "reuses 10 recorded" in plan_text.describe(wider, results), "those of the study as it was all fit"
    trained, said = run_here(wider, results)
    assert len(trained) == 3 and "10 recorded, 3 new" in said and not any("not fit" in line for line in said)
    assert {name: bits for name, bits in bits_of(results).items() if name in NAMES} == bits_of(ended)


def test_others_are_measured_anew(ended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other candidates, what is recorded of mixed schemes fits no more; the rest of the study does."""
    shutil.copytree(ended, results := tmp_path / "results")
    calls = list[object]()

    def counted(*given: Any) -> list[LayerSensitivity]:
        calls.append(given)
        return measure(*given)

    monkeypatch.setattr(without_ray, "measure", counted)
    others = study(average_weight_bits=4, candidates=[2, 6])
    text = plan_text.describe(others, results)
    assert "reuses 4 recorded" in text and "mixed-hessian-4.0: bits of layers are allocated" in text
    run_here(others, results)
    assert len(calls) == 1 and set(bits_of(results)["mixed-hessian-4.0"].values()) <= {2, 6}


def test_a_study_of_given_weights_is_allocated_before_anything_runs(tmp_path: Path, ended: Path) -> None:
    start = read_rows(ended, "trials", "m")
    key = next(row["trial_key"] for row in start if row["stage"] == "pretrain")
    path = ended / "checkpoints" / "study_id=m" / key / "last.pt"
    given = study().model_dump()
    given |= {"pretrain": None, "training": {"epochs": 1, "init": "path", "init_path": str(path)}}
    trained, _ = run_here(Study.model_validate(given), tmp_path / "given")
    assert len(trained) == 9 and bits_of(tmp_path / "given") == bits_of(ended), "the same weights, the same bits"


@pytest.mark.parametrize("by", ["hessian", "loss"])
def test_budgets_of_the_whole_model_are_those_of_the_table_of_costs(tmp_path: Path, by: str) -> None:
    budgets: dict[str, Any] = {"weight_bytes": 30_000, "bit_operations": 16e6}
    for key, limit in budgets.items():
        results = tmp_path / key
        run_here(whole := study(average_weight_bits=None, by=by, **{key: limit}), results)
        spent = sum(row[key] for row in costs_of(whole, results) if row["method"].startswith("mixed"))
        assert 0.7 * limit < spent <= limit, "what a layer less would have left"


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"weight_bytes": 15_000}, "quantization.mixed.weight_bytes: 15000 is below what is possible; the nearest is "),
        ({"weight_bytes": 99_000}, "quantization.mixed.weight_bytes: 99000 is more than layers can use; the nearest "),
        ({"bit_operations": 1e6}, "quantization.mixed.bit_operations: 1000000 is below what is possible"),
        ({"bit_operations": 1e12}, "quantization.mixed.bit_operations: 1000000000000 is more than layers can use"),
    ],
)
def test_budgets_out_of_reach_are_named_before_anything_runs(budget: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        checked(study(average_weight_bits=None, **budget), None)
    nearest = int(str(error.value).partition("the nearest is ")[2].partition(",")[0])
    (key,) = budget
    checked(study(average_weight_bits=None, **{key: nearest}), None)


def test_more_bits_are_never_more_sensitive() -> None:
    assert falling([3.0, 1.0, 2.0, -1.0, 0.0]) == [3.0, 1.0, 1.0, -1.0, -1.0]
    assert falling([None, 2.0, None, 3.0]) == [None, 2.0, None, 2.0]
    assert falling([None, None]) == [None, None]


def test_a_file_is_simulated_as_it_is(tmp_path: Path) -> None:
    from tests.helpers.study_files import write

    path = write(tmp_path)
    mixed = {"average_weight_bits": [3, 4], "candidates": [2, 8]}
    overrides = {"quantization.mixed": mixed, "training.init": "pretrain", "pretrain.batch_size": 32}
    found = find(str(path), None, {**overrides, "pretrain.epochs": 5}).study
    assert not found.waits and not any(map(waits, mixed_schemes(found.quantization).values()))


def test_the_record_alone_knows_the_bits(ended: Path) -> None:
    found = as_begun(study(), ended)
    assert {name: dict(bits) for name, bits in found.quantization.allocated.items()} == bits_of(ended)
    assert as_begun(study(average_weight_bits=3), ended).waits
    assert starts_of(found) == starts_of(study())


def searched(average: float = 4.0, groups: Any = None, search: int = 6) -> Study:
    """A joint search over two optimizers and the bits of two groups."""
    given = study().model_dump()
    groups = groups or {"convolution": ["conv2"], "rest": ["fc1", "fc2"]}
    mixed = {"average_weight_bits": average, "candidates": BITS, "by": "search", "groups": groups}
    given["mode"], given["quantization"] = "joint", {"bits": [[4, 4]], "mixed": mixed}
    given["space"] = {"optimizers": ["adam", "sgd_clip"], "batch_size": {"low": 32, "high": 64}}
    given["stages"] = {"default": True, "random": 2, "search": search, "retrain": 1}
    given["search"] = {"startup_trials": 2}
    return Study.model_validate(given)


def schemes_of(results: Path) -> dict[str, dict[str, tuple[int, int]]]:
    rows = [row for row in read_rows(results, "trials", "m") if row["arm_id"] == "joint-mixed-search-4.0"]
    return {row["trial_key"]: json.loads(row["params_json"])["scheme"]["layer_bits"] for row in rows}


def test_a_search_of_groups_stays_within_the_budget_and_goes_on_as_it_would_have(tmp_path: Path) -> None:
    run_here(searched(), whole := tmp_path / "whole")
    found = schemes_of(whole)
    assert len(found) == 2 + 2 + 6 + 1 and len({json.dumps(one) for one in found.values()}) > 2
    for bits in found.values():
        assert bits["fc1"] == bits["fc2"], "those of a group are the same"
        widths = {layer: pair[0] for layer, pair in bits.items()}
        assert sum(WEIGHTS[layer] * width for layer, width in widths.items()) <= 4 * sum(WEIGHTS.values())
    for _ in range(3):  # cut off again and again, in the random stage and in the search
        counted = itertools.count()

        def third(plan: Any, report: Any, counted: Any = counted) -> None:
            if next(counted) == 5:
                raise Killed

        with pytest.raises(Killed):
            run_here(searched(), tmp_path / "cut", watch=third)
    run_here(searched(), tmp_path / "cut")
    assert schemes_of(tmp_path / "cut") == found


def test_what_a_search_has_chosen_is_the_scheme_in_the_record(tmp_path: Path) -> None:
    run_here(searched(), tmp_path)
    arms = {row["arm_id"]: row for row in read_rows(tmp_path, "arms", "m")}
    arm = arms["joint-mixed-search-4.0"]
    trials = {row["trial_key"]: row for row in read_rows(tmp_path, "trials", "m")}
    (retrained,) = (key for key in schemes_of(tmp_path) if trials[key]["stage"] == "retrain")
    assert trials[retrained]["config_id"] == arm["best_config_id"]
    bits = {layer: pair[0] for layer, pair in schemes_of(tmp_path)[retrained].items()}
    assert json.loads(arm["layer_bits_json"]) == bits
    assert set(json.loads(arm["recipe_hashes_json"])) >= {trials[key]["recipe_hash"] for key in schemes_of(tmp_path)}
    costs = {row["layer"]: row for row in read_rows(tmp_path, "costs", "m") if row["method"] == arm["method"]}
    assert {layer: costs[layer]["weight_width"] for layer in bits} == bits
    assert len(json.loads(arm["space_json"])["adam"]) == 4, "rate, batch size and two groups"
    text = plan_text.describe(searched(), tmp_path)
    assert "mixed-search-4.0: bits of layers conv2 " in text and "runs 0" in text and "not fit" not in text
    assert "mixed-search-4.0: conv2 " in status_text.describe(tmp_path)
    assert as_begun(searched(), tmp_path).quantization.group_costs is not None
    with pytest.raises(UsageError, match="cannot be simulated"):
        find(str(tmp_path), "m", {})
    assert "bits of groups of layers are searched: convolution (conv2), rest (fc1 fc2)" in plan_text.describe(
        searched(), tmp_path / "none"
    )


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({"one": ["conv2", "fc1"]}, "every layer must be in a group, but these are in none: fc2"),
        (
            {"one": ["conv2", "fc1", "fc2", "fc3"]},
            "'fc3' is no layer whose bits can be searched. These are: conv2",
        ),
        ({"one": ["conv2", "fc1", "fc22"]}, "'fc22' .*Did you mean 'fc2'"),
    ],
)
def test_groups_that_do_not_fit_the_model(groups: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        checked(searched(groups=groups), None)
