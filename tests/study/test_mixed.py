"""Mixed precision in a study file: names, arms, places of layers without bits, and mistakes."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.study_files import write
from tune_qat.config import PLAIN_NAME, UsageError
from tune_qat.study import Study
from tune_qat.study.begun import Begun, GroupCosts
from tune_qat.study.mixed import (
    allocation_hash,
    measured_hash,
    mixed_schemes,
    nearest,
    positions_of,
    same_but_positions,
    stand_in,
    waits,
)
from tune_qat.tuning.group_bits import within_budget

PRETRAIN = {"pretrain.batch_size": 32, "pretrain.epochs": 5, "training.init": "pretrain"}
SEARCH = {"by": "search", "average_weight_bits": 4, "groups": {"early": ["conv2"], "late": ["fc1", "fc2"]}}
LAYERS = {"conv2": 8, "fc1": 2}


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """The small study at 4/4 with mixed precision, and overrides by dotted key; None leaves a key out."""
    path = write(tmp_path)

    def read(overrides: Any = None, **mixed: Any) -> Study:
        given = {"average_weight_bits": [2.5, 4], "candidates": [2, 3, 4, 8], **mixed}
        section = {name: value for name, value in given.items() if value is not None}
        bits = {"quantization.bits": [[32, 32], [4, 4]], "quantization.mixed": section}
        return Study.load(path, {**PRETRAIN, **bits, **(overrides or {})})

    return read


def test_each_budget_is_a_scheme_with_arms(load: Any) -> None:
    study = load({"repeats": 2})
    arms = [arm for arm in study.arms() if arm.method.startswith("mixed")]
    assert [arm.arm_id for arm in arms if arm.optimizer == "adam"] == [
        "adam-mixed-hessian-2.5",
        "adam-mixed-hessian-2.5-r2",
        "adam-mixed-hessian-4.0",
        "adam-mixed-hessian-4.0-r2",
    ]
    assert {arm.method: arm.scheme.label for arm in arms} == {
        "mixed-hessian-2.5": "w3a3",
        "mixed-hessian-4.0": "w4a4",
    }
    assert all(PLAIN_NAME.fullmatch(arm.arm_id) for arm in arms)
    plain = load({"quantization.mixed": None}).arms()
    assert [arm for arm in load().arms() if not arm.method.startswith("mixed")] == plain, "others are as without"
    designs = {load().design_seed(arm) for arm in load().arms()}
    assert len(designs) == len(load().arms())


@pytest.mark.parametrize(
    ("budget", "by", "name"),
    [
        ({"average_weight_bits": 4}, "hessian", "mixed-hessian-4.0"),
        ({"average_weight_bits": 3.25}, "loss", "mixed-loss-3.25"),
        ({"weight_bytes": 1_200_000}, "hessian", "mixed-hessian-1200000-bytes"),
        ({"bit_operations": 3e9}, "loss", "mixed-loss-3000000000-operations"),
    ],
)
def test_a_budget_gives_the_name(load: Any, budget: Any, by: str, name: str) -> None:
    study = load(**{"average_weight_bits": None, **budget, "by": by})
    assert list(mixed_schemes(study.quantization)) == [name]


def test_bits_of_layers_make_an_ordinary_scheme(load: Any) -> None:
    study = load()
    assert study.waits and study.quantization.allocated == {}
    ready = study.going_on(Begun(mixed={"mixed-hessian-2.5": LAYERS, "mixed-hessian-4.0": {"conv2": 3, "fc1": 4}}))
    assert not ready.waits and study.waits, "the study that waits is as it was"
    scheme = mixed_schemes(ready.quantization)["mixed-hessian-2.5"]
    uniform = next(one for one in ready.schemes if one.label == "w4a4")
    assert scheme == replace(uniform, weight_bits=3, activation_bits=3, layer_bits={"conv2": (8, 8), "fc1": (2, 2)})
    assert [arm.arm_id for arm in ready.arms()] == [arm.arm_id for arm in study.arms()]
    assert ready.model_dump_json() == study.model_dump_json(), "nothing of it is in the file"
    assert ready.prereg_hash == study.prereg_hash


def test_a_scheme_without_bits_is_none_that_can_be_trained(load: Any) -> None:
    schemes = mixed_schemes(load().quantization).values()
    assert all(map(waits, schemes)) and not any(waits(stand_in(scheme)) for scheme in schemes)
    uniform = next(scheme for scheme in load().schemes if scheme.label == "w4a4")
    assert stand_in(uniform) == uniform and stand_in(list(schemes)[1]) == uniform


def test_layers_of_the_section_stay(load: Any) -> None:
    layers = {"quantization.layers": {"fc2": [4, 8], "fc3": "float"}}
    ready = load(layers).going_on(Begun(mixed={"mixed-hessian-2.5": LAYERS, "mixed-hessian-4.0": LAYERS}))
    for scheme in mixed_schemes(ready.quantization).values():
        assert scheme.layer_bits == {"fc2": (4, 8), "conv2": (8, 8), "fc1": (2, 2)}
        assert scheme.float_layers == ("fc3",)


def test_the_same_bits_twice_are_refused(load: Any) -> None:
    study = load(average_weight_bits=[3.9, 4])
    bits = {"mixed-hessian-3.9": LAYERS, "mixed-hessian-4.0": LAYERS}
    with pytest.raises(UsageError, match=r"'mixed-hessian-4.0' have the same bits as those of 'mixed-hessian-3.9'"):
        study.going_on(Begun(mixed=bits)).arms()


def test_what_is_measured_once_is_told_from_what_is_allocated(load: Any) -> None:
    known = load().quantization
    others = [load(samples=64), load(by="loss"), load(candidates=[2, 4]), load({"quantization.quantizer": "pact"})]
    others.append(load({"quantization.layers": {"fc2": [4, 4]}}))
    hashes = [measured_hash(one.quantization) for one in others]
    assert len({measured_hash(known), *hashes}) == 6
    fewer = load(average_weight_bits=4).quantization
    assert measured_hash(fewer) == measured_hash(known)
    assert allocation_hash(fewer, "mixed-hessian-4.0") == allocation_hash(known, "mixed-hessian-4.0")
    assert allocation_hash(known, "mixed-hessian-2.5") != allocation_hash(known, "mixed-hessian-4.0")
    later = load({"pretrain.epochs": 9, "seed": 3, "stages.retrain": 4}).quantization
    assert measured_hash(later) == measured_hash(known), "once per study"


def test_the_nearest_candidate() -> None:
    assert [nearest([2, 3, 4, 6, 8], wanted) for wanted in (2.4, 2.5, 5, 9)] == [2, 3, 6, 8]


@pytest.mark.parametrize(
    ("mixed", "overrides", "said"),
    [
        (
            {"average_weight_bits": 1.5},
            {},
            "quantization.mixed.average_weight_bits: 1.5 is below what is possible; the nearest is 2, with every layer "
            "at the smallest candidate",
        ),
        (
            {"average_weight_bits": [3, 9]},
            {},
            "quantization.mixed.average_weight_bits: 9 is more than layers can use; the nearest is 8, with every layer "
            "at the largest candidate",
        ),
        (
            {"average_weight_bits": None},
            {},
            "quantization.mixed: needs exactly one of average_weight_bits, weight_bytes, bit_operations",
        ),
        (
            {"weight_bytes": 5},
            {},
            "quantization.mixed: needs exactly one of .*, but got average_weight_bits and weight_bytes",
        ),
        ({"candidates": [4, 2]}, {}, "quantization.mixed.candidates: must be two or more numbers that rise"),
        ({"candidates": [4]}, {}, "quantization.mixed.candidates: must be two or more numbers that rise"),
        (
            {"candidates": [2, 9]},
            {},
            "quantization.mixed.candidates: 9 is no bit width of the method. Quantizer 'lsq' is defined for",
        ),
        ({"by": "magic"}, {}, "quantization.mixed.by"),
        ({"average_weight_bits": 0}, {}, "quantization.mixed.average_weight_bits: must be a number above 0"),
        ({"average_weight_bits": [3, 3.0]}, {}, "quantization.mixed.average_weight_bits: must be a number above 0"),
        ({"average_weight_bits": []}, {}, "quantization.mixed.average_weight_bits: must be a number above 0"),
        ({"average_weight_bits": "4"}, {}, "quantization.mixed.average_weight_bits: must be a number above 0"),
        ({}, {"training.init": "scratch"}, "quantization.mixed: needs a start"),
        ({"groups": {"a": ["conv2"]}}, {}, 'quantization.mixed: groups and by = "search" belong together'),
        ({"by": "search"}, {}, 'quantization.mixed: groups and by = "search" belong together'),
        ({**SEARCH, "average_weight_bits": [3, 4]}, {}, 'quantization.mixed: by = "search" takes one budget'),
        (SEARCH, {}, 'quantization.mixed.by: "search" is for mode = "joint"'),
        (
            {**SEARCH, "groups": {"a": ["conv2"], "b": ["fc1", "conv2"]}},
            {"mode": "joint"},
            "quantization.mixed: groups must have each layer once, but 'conv2' stands in several places",
        ),
        (
            {**SEARCH, "groups": {f"g{number}": [f"layer{number}"] for number in range(9)}},
            {"mode": "joint"},
            "quantization.mixed.groups: must have fewer values",
        ),
        ({**SEARCH, "groups": {"a": []}}, {"mode": "joint"}, "quantization.mixed.groups.a: must not be empty"),
        ({**SEARCH, "groups": {"a/b": ["fc1"]}}, {"mode": "joint"}, "quantization.mixed.groups: a group's name must"),
        (
            SEARCH,
            {"mode": "joint", "quantization.layers": {"fc1": [4, 4]}},
            "quantization.mixed.groups: 'fc1' has bits of its own in quantization.layers",
        ),
        (
            {},
            {"quantization.search_bits": True, "mode": "joint", "quantization.bits": [[4, 4], [2, 2]]},
            "quantization.mixed: has arms of its own",
        ),
        (
            {},
            {"quantization.methods": [{"name": "mixed-hessian-4.0", "bits": [[8, 8]]}]},
            "quantization.methods: 'mixed-hessian-4.0' is the name of a mixed scheme",
        ),
        ({}, {"quantization.attention": True}, 'quantization.mixed.by: "hessian" is about weights'),
    ],
)
def test_mistakes_name_the_key_and_the_rule(load: Any, mixed: Any, overrides: Any, said: str) -> None:
    with pytest.raises(UsageError) as error:
        load(overrides, **mixed)
    file, line = str(error.value).replace(" (from --set)", "").splitlines()
    assert re.match(said, line.strip()), line


def test_a_search_has_a_dimension_for_each_group(load: Any) -> None:
    study = load({"mode": "joint"}, **SEARCH)
    (arm,) = (arm for arm in study.arms() if arm.method == "mixed-search-4.0")
    assert arm.arm_id == "joint-mixed-search-4.0" and not study.waits
    searched = study.dimensions("adam", arm.scheme)
    assert {"bits.early", "bits.late"} == searched.keys() - study.dimensions("adam").keys()
    assert (searched["bits.early"].low, searched["bits.early"].high) == (0, 3)
    values = {"learning_rate": 1e-3, "batch_size": 16, "bits.early": 3, "bits.late": 1}
    config = study.config(arm, "adam", values, seed=0)
    assert config.scheme.layer_bits == {"conv2": (8, 8), "fc1": (3, 3), "fc2": (3, 3)}
    assert positions_of(study.quantization, config.scheme) == {"bits.early": 3, "bits.late": 1}
    other = study.config(arm, "adam", {**values, "bits.late": 0}, seed=0)
    assert same_but_positions(study.quantization, config.scheme, other.scheme) and config.scheme != other.scheme
    assert config.recipe_of(step_rate_searched=False, layers_searched=True) in study.recipes(arm)
    assert study.default_config(arm, "adam").scheme.layer_bits["fc1"] == (4, 4), "the largest that fits for all"
    uniform = next(arm for arm in study.arms() if arm.scheme.label == "w4a4" and arm.method == "lsq")
    assert study.dimensions("adam", uniform.scheme) == study.dimensions("adam")


def test_what_is_proposed_beyond_the_budget_is_brought_within_it_by_the_fewest_steps(load: Any) -> None:
    study = load({"mode": "joint"}, **SEARCH)
    (arm,) = (arm for arm in study.arms() if arm.method == "mixed-search-4.0")
    costs = GroupCosts(limit=24, costs={"early": [2, 3, 4, 8], "late": [20, 30, 40, 80]})
    known = study.going_on(Begun(group_costs=costs))
    for early, late, found in ((0, 0, (0, 0)), (2, 0, (2, 0)), (3, 0, (2, 0)), (1, 3, (1, 0)), (3, 3, (2, 0))):
        values = {"learning_rate": 1e-3, "batch_size": 16, "bits.early": early, "bits.late": late}
        brought = within_budget(known.quantization, arm.scheme, values)
        assert (brought["bits.early"], brought["bits.late"]) == found and brought["batch_size"] == 16
        assert within_budget(study.quantization, arm.scheme, values) == values, "costs are not known yet"
    assert known.default_config(arm, "adam").scheme.layer_bits["fc1"] == (2, 2)


def test_worsened_controls_are_of_plain_schemes(load: Any) -> None:
    study = load({"controls": [{"kind": "worsened"}]})
    assert {arm.control_for for arm in study.arms() if arm.control} == {"4/4"}
