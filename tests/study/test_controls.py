"""Worsened controls: their arms, the trial that makes their start, and mistakes."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.study_files import write
from tune_qat.config import PLAIN_NAME, Scheme, UsageError
from tune_qat.study import Study
from tune_qat.study.worsened_start import worsened_config

PRETRAIN = {"pretrain.batch_size": 32, "pretrain.epochs": 5, "training.init": "pretrain"}
BITS = {"quantization.bits": [[32, 32], [8, 8], [4, 4]]}
WORSENED = {"controls": [{"kind": "worsened"}]}


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """The small study with overrides by dotted key."""
    path = write(tmp_path)
    return lambda overrides: Study.load(path, {**PRETRAIN, **overrides})


def test_every_quantized_pair_has_arms_at_32_bits_beside_those_of_today(load: Any) -> None:
    study = load({**BITS, **WORSENED, "repeats": 2})
    arms = [arm for arm in study.arms() if arm.control]
    assert [arm.arm_id for arm in arms if arm.optimizer == "adam"] == [
        "adam-w32a32-worsened_w8a8",
        "adam-w32a32-worsened_w8a8-r2",
        "adam-w32a32-worsened_w4a4",
        "adam-w32a32-worsened_w4a4-r2",
    ]
    assert {(arm.control, arm.control_for, arm.method) for arm in arms} == {
        ("worsened", "8/8", "none"),
        ("worsened", "4/4", "none"),
    }
    assert all(arm.scheme.is_float and PLAIN_NAME.fullmatch(arm.arm_id) for arm in arms)
    assert [arm for arm in study.arms() if not arm.control] == load({**BITS, "repeats": 2}).arms()
    plain = next(arm for arm in study.arms() if arm.scheme.is_float)
    assert study.dimensions("adam", arms[0].scheme) == study.dimensions("adam", plain.scheme)
    assert study.planned(arms[0]) == study.planned(plain)
    assert study.default_config(arms[0], "adam") == study.default_config(plain, "adam"), "they differ in the start"


def test_pairs_that_are_named(load: Any) -> None:
    study = load({**BITS, "controls": [{"kind": "worsened", "bits": [[4, 4]]}]})
    assert {arm.control_for for arm in study.arms()} == {None, "4/4"}


def test_optimizers_that_are_named_are_those_of_their_pair_alone(load: Any) -> None:
    controls = [
        {"kind": "worsened", "bits": [[8, 8]], "optimizers": ["nesterov"]},
        {"kind": "worsened", "bits": [[4, 4]]},
    ]
    arms = [arm for arm in load({**BITS, "controls": controls}).arms() if arm.control]
    assert {(arm.control_for, arm.optimizers[0]) for arm in arms if arm.control_for == "8/8"} == {("8/8", "nesterov")}
    assert {arm.optimizers[0] for arm in arms if arm.control_for == "4/4"} == {"adam", "nesterov"}


def test_the_start_is_that_of_the_first_method_the_first_seed_and_the_default_batch(load: Any) -> None:
    methods = [{"name": "other", "quantizer": "lsq_plus", "bits": [[4, 4], [2, 2]]}]
    study = load({**BITS, **WORSENED, "quantization.methods": methods, "repeats": 2, "seed": 7})
    arms = {(arm.control_for, arm.repeat): arm for arm in study.arms() if arm.control}
    config = worsened_config(study, arms["4/4", 1])
    quantized = next(arm for arm in study.arms() if arm.arm_id == "nesterov-w4a4-r2")
    like = study.default_config(quantized, "nesterov")
    assert config.worsening is not None and config.worsening.scheme == like.scheme == Scheme()
    assert all(getattr(config, name) == getattr(like, name) for name in ("seed", "batch_size", "dataset_options"))
    assert config.worsening.within == 0.0025
    assert config.scheme.is_float and config.epochs == 1
    both = [worsened_config(study, arm) for arm in arms.values() if arm.control_for == "4/4" and not arm.repeat]
    assert len({one.config_id for one in both}) == 1, "one start for all optimizers"
    assert worsened_config(study, arms["2/2", 0]).worsening.scheme.quantizer == "lsq_plus"  # type: ignore[union-attr]
    assert worsened_config(study, arms["4/4", 0]).seed != config.seed


@pytest.mark.parametrize(
    ("overrides", "key", "text"),
    [
        ({"controls": [{"kind": "noisy"}]}, "controls.0.kind", "must be 'worsened'"),
        ({"controls": [{"kind": "worsened", "bits": []}]}, "controls.0.bits", "must not be empty"),
        ({"controls": [{"kind": "worsened", "bits": [[4]]}]}, "controls.0.bits", "[weight bits, activation bits]"),
        ({"controls": [{"kind": "worsened", "bits": [[3, 3]]}]}, "controls", "(4/4), not 3/3"),
        ({"controls": [{"kind": "worsened", "bits": [[32, 32]]}]}, "controls", "not 32/32"),
        ({"controls": [{"kind": "worsened", "bits": [[4, 4]]}] * 2}, "controls", "one worsened control"),
        ({"controls": [{"kind": "worsened", "bits": [[4, 4]]}, {"kind": "worsened"}]}, "controls", "one worsened"),
        ({"controls": [{"kind": "worsened", "optimizers": ["sgd_typo"]}]}, "controls", "not 'sgd_typo'"),
        ({**WORSENED, "mode": "joint"}, "controls", 'for mode = "comparison"'),
        ({**WORSENED, "training.init": "scratch"}, "controls", "needs a start to worsen"),
        ({**WORSENED, "quantization.bits": [[32, 32]]}, "controls", "nothing in this study is quantized"),
        ({**WORSENED, "judgement.margin": 0.0}, "controls", "above 0"),
        ({**WORSENED, "training.distillation.weight": 0.5}, "controls", "whose teacher would be the worsened start"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_mistakes_are_named_with_their_key(load: Any, overrides: dict[str, Any], key: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(overrides)
    assert f"  {key}" in str(caught.value) and text in str(caught.value), str(caught.value)
