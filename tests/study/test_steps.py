"""Who moves the parameters of quantizers, crossed with optimizers: arms, dimensions, configurations and mistakes."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.study_files import SMALL, write
from tune_qat.config import QuantizerOptimizer, Range, UsageError
from tune_qat.optimizers import resolve_options
from tune_qat.study import Arm, Study
from tune_qat.study.steps import DEFAULT_MULTIPLIER, RANGES, level_of, moved_by

ALL = ["own", "own_rate", "adam", "sgd"]
EVERY = {"space.step_optimizers": ALL}


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """The small study with overrides by dotted key."""
    path = write(tmp_path)
    return lambda overrides: Study.load(path, overrides)


def quantized(study: Study, optimizer: str) -> dict[str, Arm]:
    """The arms of an optimizer at 4/4 bits by level."""
    return {arm.step_optimizer: arm for arm in study.arms() if arm.optimizer == optimizer and not arm.scheme.is_float}


class TestArms:
    def test_each_level_has_arms_beside_those_of_today_and_there_is_one_control(self, load: Any) -> None:
        ids = [arm.arm_id for arm in load(EVERY).arms()]
        assert ids == [
            "adam-w32a32", "nesterov-w32a32",
            "adam-w4a4", "adam-w4a4-steps_own_rate", "adam-w4a4-steps_adam", "adam-w4a4-steps_sgd",
            "nesterov-w4a4", "nesterov-w4a4-steps_own_rate", "nesterov-w4a4-steps_adam", "nesterov-w4a4-steps_sgd",
        ]  # fmt: skip
        assert [arm.arm_id for arm in load({}).arms()] == [one for one in ids if "steps" not in one]

    def test_a_list_of_its_own_for_an_optimizer(self, load: Any) -> None:
        lists = {"space.step_optimizers": ["own", "adam"], "space.step_optimizers_of": {"adam": ["own", "sgd"]}}
        study = load(lists)
        assert list(quantized(study, "adam")) == ["own", "sgd"]
        assert list(quantized(study, "nesterov")) == ["own", "adam"]

    def test_methods_without_parameters_have_one_arm(self, load: Any) -> None:
        methods = [{"name": "signs", "quantizer": "xnor", "bits": [[1, 1]]}]
        study = load({**EVERY, "quantization.methods": methods, "repeats": 2})
        arms = [arm for arm in study.arms() if arm.method == "signs" and arm.optimizer == "adam"]
        assert [arm.arm_id for arm in arms] == ["adam-signs-w1a1", "adam-signs-w1a1-r2"]
        repeats = [arm.arm_id for arm in study.arms() if arm.repeat]
        assert "adam-w4a4-steps_adam-r2" in repeats

    def test_all_have_the_same_number_of_trials(self, load: Any) -> None:
        study = load(EVERY)
        assert len({tuple(study.planned(arm).values()) for arm in study.arms()}) == 1


class TestConfigurations:
    def test_today_is_the_same_to_the_letter(self, load: Any) -> None:
        study, plain = load(EVERY), load({})
        found = {arm.arm_id: arm for arm in study.arms()}
        for arm in plain.arms():
            ours = found[arm.arm_id]
            optimizer = arm.optimizers[0]
            assert study.dimensions(optimizer, ours.scheme, ours.step_optimizer) == plain.dimensions(
                optimizer, arm.scheme
            )
            assert study.default_config(ours, optimizer) == plain.default_config(arm, optimizer)
            assert study.recipes(ours) == plain.recipes(arm)

    def test_each_level_but_own_searches_one_dimension_more(self, load: Any) -> None:
        study = load({**EVERY, "space.step_rates.adam.low": 1e-6})
        arms = quantized(study, "nesterov")
        own = study.dimensions("nesterov", arms["own"].scheme)
        more = {level: study.dimensions("nesterov", arm.scheme, level) for level, arm in arms.items()}
        assert {level: set(found) - set(own) for level, found in more.items()} == {
            "own": set(),
            "own_rate": {"quantizer_lr_multiplier"},
            "adam": {"step_rate"},
            "sgd": {"step_rate"},
        }
        assert more["adam"]["step_rate"] == Range(low=1e-6, high=RANGES["adam"].high)
        assert more["sgd"]["step_rate"] == RANGES["sgd"]
        widths = {round(one.high / one.low) for one in RANGES.values()}
        assert widths == {1000}, "the same width for each"

    def test_values_reach_the_fields_that_trials_have(self, load: Any) -> None:
        study = load(EVERY)
        arms = quantized(study, "nesterov")
        point = {"learning_rate": 0.1, "batch_size": 16.0}

        def config(level: str, **more: float) -> Any:
            found = study.config(arms[level], "nesterov", {**point, **more}, seed=3)
            return found.quantizer_lr_multiplier, found.quantizer_optimizer

        assert config("own") == (1.0, None)
        assert config("own_rate", quantizer_lr_multiplier=0.3) == (0.3, None)
        adam = QuantizerOptimizer(name="adam", learning_rate=1e-4, options=resolve_options("adam", {}))
        assert config("adam", step_rate=1e-4) == (1.0, adam)
        sgd = QuantizerOptimizer(name="sgd", learning_rate=1e-2, options=resolve_options("sgd", {}))
        assert config("sgd", step_rate=1e-2) == (1.0, sgd)

    def test_defaults_are_documented_ones_and_differ_between_levels(self, load: Any) -> None:
        study = load(EVERY)
        configs = {level: study.default_config(arm, "adam") for level, arm in quantized(study, "adam").items()}
        assert len({config.config_id for config in configs.values()}) == len(ALL)
        assert configs["own_rate"].quantizer_lr_multiplier == DEFAULT_MULTIPLIER
        assert [configs[level].quantizer_optimizer.learning_rate for level in ("adam", "sgd")] == [1e-3, 1e-3]
        assert {level: level_of(study.space, config) for level, config in configs.items()} == {one: one for one in ALL}

    def test_without_the_factor_a_multiplier_is_no_level(self, load: Any) -> None:
        study = load({"space.quantizer_lr_multiplier": {"low": 0.1, "high": 1.0}})
        point = {"learning_rate": 0.1, "batch_size": 16.0, "quantizer_lr_multiplier": 0.3}
        config = study.config(study.arms()[2], "adam", point, seed=0)
        assert config.quantizer_lr_multiplier == 0.3 and level_of(study.space, config) == "own"

    def test_a_recipe_does_not_hold_the_searched_rate(self, load: Any) -> None:
        study = load(EVERY)
        found = {}
        for level, arm in quantized(study, "adam").items():
            names = study.dimensions("adam", arm.scheme, level)
            points = [{**dict.fromkeys(names, rate), "batch_size": 8} for rate in (1e-3, 1e-2)]
            configs = [study.config(arm, "adam", point, seed=0) for point in points]
            (found[level],) = {one.recipe_of(step_rate_searched="step_rate" in names) for one in configs}
            assert [found[level]] == study.recipes(arm)
        assert found["own"] == found["own_rate"] and len(set(found.values())) == 3


@pytest.mark.parametrize(
    ("optimizer", "level", "said"),
    [
        ("nesterov", "own", "nesterov"),
        ("nesterov", "own_rate", "nesterov"),
        ("nesterov", "adam", "adam"),
        ("muon", "own", "adamw at adamw_lr_ratio of the rate"),
        ("soap", "own_rate", "adam with betas 0.95"),
        ("muon", "sgd", "sgd"),
    ],
)
def test_what_moves_step_sizes_is_said(load: Any, optimizer: str, level: str, said: str) -> None:
    study = load({**EVERY, "space.optimizers": [optimizer]})
    assert moved_by(quantized(study, optimizer)[level], None) == said
    assert moved_by(study.arms()[0], None) is None, "nothing at 32/32"


@pytest.mark.parametrize(
    ("overrides", "key", "text"),
    [
        ({"space.step_optimizers": []}, "space.step_optimizers", "must not be empty"),
        ({"space.step_optimizers": ["own", "lion"]}, "space.step_optimizers.1", "'own', 'own_rate', 'adam' or 'sgd'"),
        ({"space.step_optimizers": ["adam", "adam"]}, "space.step_optimizers", "once"),
        ({"space.step_optimizers_of": {"sgd": ["own"]}}, "space.step_optimizers_of.sgd", "one of space.optimizers"),
        ({**EVERY, "space.step_rates.lion": {}}, "space.step_rates.lion", "unknown key"),
        ({**EVERY, "space.step_rates.adam.low": 1.0}, "space.step_rates.adam", "adam would be searched from 1 to 0.01"),
        ({"space.step_rates.adam.low": 1e-6}, "space.step_rates.adam", "in no step_optimizers"),
        ({**EVERY, "mode": "joint"}, "space.step_optimizers", 'for mode = "comparison"'),
        (
            {**EVERY, "training.quantizer_optimizer": {"learning_rate": 1e-5}},
            "space.step_optimizers",
            "so does training.quantizer_optimizer",
        ),
        (
            {**EVERY, "space.quantizer_lr_multiplier": {"low": 0.1, "high": 1.0}},
            "space.step_optimizers",
            "space.quantizer_lr_multiplier searches in every arm",
        ),
        (
            {**EVERY, "quantization.quantizer": "xnor", "quantization.bits": [[32, 32], [1, 1]]},
            "space.step_optimizers",
            "nothing to move",
        ),
        ({**EVERY, "quantization.bits": [[32, 32]]}, "space.step_optimizers", "nothing to move"),
        ({**EVERY, "space.optimizers": ["prodigy"]}, "space.step_optimizers", "'prodigy' estimates one rate"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_mistakes_are_named_with_their_key(load: Any, overrides: dict[str, Any], key: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(overrides)
    assert f"  {key}" in str(caught.value) and text in str(caught.value), str(caught.value)


def test_a_study_says_at_plan_what_is_searched_beside_the_rest(tmp_path: Path) -> None:
    from tune_qat.cli.plan_text import describe

    study = Study.load(write(tmp_path), {**EVERY, "space.optimizers": ["adam", "muon"]})
    said = describe(study, tmp_path / "none")
    assert "own_rate  quantizer_lr_multiplier 0.01..10" in said
    assert "muon moves step sizes by adamw at adamw_lr_ratio of the rate" in said
    assert "step sizes" not in describe(Study.load(write(tmp_path, SMALL)), tmp_path / "none")
