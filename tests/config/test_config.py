"""What a trial is: checked values, and keys that stay the same for the same training run."""

import inspect
import json
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.trials import tiny_trial
from tune_qat import quantizers
from tune_qat.config import (
    FLOAT_BITS,
    Dampening,
    Distillation,
    Freezing,
    QuantizerOptimizer,
    Scheme,
    TrialConfig,
    UsageError,
    Worsening,
    ninth,
    stable_hash,
    trial_key,
)

BASE = TrialConfig(
    model="lenet5",
    dataset="digits",
    dataset_options={"train_limit": 96, "augment": "none"},
    scheme=Scheme(),
    optimizer="adam",
    learning_rate=1.0,
    optimizer_options={"beta1": 0.9, "weight_decay": 0.0},
    batch_size=16,
    epochs=9,
    warmup_epochs=1.0,
)
OTHER: dict[str, Any] = {
    "model": "resnet18",
    "dataset": "mnist",
    "dataset_options": {"train_limit": 97, "augment": "none"},
    "scheme": Scheme(weight_bits=3),
    "optimizer": "adamw",
    "learning_rate": 1.0000000000000002,
    "optimizer_options": {"beta1": 0.9, "weight_decay": 1e-30},
    "quantizer_lr_multiplier": 0.5,
    "batch_size": 17,
    "epochs": 10,
    "schedule": "step",
    "warmup_epochs": 0.5,
    "milestones": (4.0, 6.0),
    "decay": 0.2,
    "distillation": Distillation(temperature=2.0),
    "bn_reestimation_batches": 50,
    "calibration_batches": 4,
    "label_smoothing": 0.1,
    "freezing": Freezing(threshold_start=0.1, threshold_end=0.02),
    "dampening": Dampening(weight=0.1),
    "weight_decay_factor": 0.25,
    "seed": 1,
    "init_seed": 1,
    "quantizer_optimizer": QuantizerOptimizer(name="adam", learning_rate=1e-5),
    "worsening": Worsening(scheme=Scheme(), within=0.001),
    "sources": {"my_package": "0" * 64},
    "model_options": {"depth": 4, "act_layer": "relu", "widths": [8, 16]},
    "task": "my_package.tasks:Mine",
    "micro_batch": 4,
    "micro_batch_norm": True,
    "autocast": "bfloat16",
    "channels_last": True,
}
NEEDS: dict[str, dict[str, Any]] = {
    "milestones": {"schedule": "step"},
    "decay": {"schedule": "step"},
    "micro_batch": {"micro_batch": 8, "micro_batch_norm": True},
    "micro_batch_norm": {"micro_batch": 8},
}
"""What another value of a field takes beside it."""
ROUNDING = {"channels_last"}
"""Fields that change no more than rounding."""
OTHER_SCHEME: dict[str, Any] = {
    "quantizer": "dorefa",
    "activation_quantizer": "pact",
    "options": {"per_channel": True},
    "layer_bits": {"conv1": (8, 4)},
    "float_layers": ("fc3",),
    "attention": True,
    "weight_bits": 3,
    "activation_bits": 3,
    "first_last_bits": 4,
    "ste": "round_then_clip",
}
DATA: dict[str, Any] = {"data_fingerprint": "d", "split_fingerprint": "s", "init_checkpoint_sha256": None}


def key(config: TrialConfig = BASE, stage: str = "search") -> str:
    return trial_key(config, stage, **DATA)


def pairs() -> Iterator[tuple[str, TrialConfig, TrialConfig]]:
    """Every field, with two configurations that differ in it alone."""
    for name in (field.name for field in fields(TrialConfig)):
        base = replace(BASE, **NEEDS.get(name, {}))
        yield name, base, replace(base, **{name: OTHER[name]})


class TestTrialKey:
    def test_is_what_it_was(self) -> None:
        # Golden: a key that changes by accident makes every record of every user run again.
        assert key() == "bc14674ac9bf29cd"
        assert BASE.config_id == "9757bcb6c6ccbace"

    def test_differs_with_every_field(self) -> None:
        assert {name for name, one, other in pairs() if key(one) == key(other)} == ROUNDING

    def test_differs_with_every_field_of_the_scheme(self) -> None:
        others = {field.name: replace(Scheme(), **{field.name: OTHER_SCHEME[field.name]}) for field in fields(Scheme)}
        assert [name for name, scheme in others.items() if key(replace(BASE, scheme=scheme)) == key()] == []

    def test_equal_schemes_have_one_hash(self) -> None:
        one, other = (Scheme(options={"per_channel": True}, layer_bits={"conv1": (8, 8)}) for _ in range(2))
        assert one == other != Scheme() and len({one, other, Scheme()}) == 2

    @pytest.mark.parametrize("name", DATA)
    def test_differs_with_data_split_and_start(self, name: str) -> None:
        assert trial_key(BASE, "search", **{**DATA, name: "other"}) != key()

    def test_differs_with_stage(self) -> None:
        assert key(stage="retrain") != key(stage="search")

    def test_depends_on_nothing_else(self) -> None:
        assert set(inspect.signature(trial_key).parameters) == {"config", "stage", *DATA}

    def test_all_changes_at_once_have_different_keys(self) -> None:
        keys = {key(other) for _, _, other in pairs()}
        assert len(keys) == len(OTHER)

    @pytest.mark.parametrize(
        "changes",
        [
            {"learning_rate": 1},
            {"learning_rate": np.float64(1)},
            {"warmup_epochs": 1, "quantizer_lr_multiplier": 1},
            {"optimizer_options": {"weight_decay": 0, "beta1": 0.9}},
            {"dataset_options": {"augment": "none", "train_limit": 96}},
            {"batch_size": np.int64(16), "epochs": np.int32(9)},
        ],
        ids=str,
    )
    def test_is_the_same_however_a_number_is_written(self, changes: dict[str, Any]) -> None:
        assert replace(BASE, **changes) == BASE
        assert key(replace(BASE, **changes)) == key()
        assert replace(BASE, **changes).config_id == BASE.config_id

    def test_survives_json(self) -> None:
        everything = {**OTHER, "schedule": "step", "quantizer_lr_multiplier": 1.0, "batch_size": 32}
        for config in (BASE, replace(BASE, **everything)):
            again = TrialConfig.from_dict(json.loads(json.dumps(config.to_dict())))
            assert again == config
            assert key(again) == key(config)


class TestConfigId:
    def test_ignores_the_seeds_only(self) -> None:
        same = {name for name, one, other in pairs() if one.config_id == other.config_id}
        assert same == {"seed", "init_seed"} | ROUNDING

    def test_a_recipe_ignores_what_is_proposed_too(self) -> None:
        proposed = {"optimizer", "learning_rate", "optimizer_options", "batch_size", "quantizer_lr_multiplier"}
        same = {name for name, one, other in pairs() if one.recipe == other.recipe}
        assert same == proposed | {"seed", "init_seed"} | ROUNDING


class TestTrialConfig:
    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"learning_rate": 0}, "learning_rate must be positive, but got 0"),
            ({"learning_rate": -1e-3}, "learning_rate must be positive, but got -0.001"),
            ({"learning_rate": float("nan")}, "learning_rate must be a finite number, but got nan"),
            ({"learning_rate": "1e-3"}, "learning_rate must be a finite number, but got '1e-3'"),
            ({"learning_rate": True}, "learning_rate must be a finite number, but got True"),
            ({"quantizer_lr_multiplier": -1}, "quantizer_lr_multiplier must be at least 0, but got -1"),
            ({"quantizer_lr_multiplier": float("inf")}, "quantizer_lr_multiplier must be a finite number"),
            ({"optimizer_options": {"beta1": float("nan")}}, "'beta1' must be a finite number, but got nan"),
            ({"batch_size": 0}, "batch_size must be at least 1, but got 0"),
            ({"batch_size": 16.5}, "batch_size must be a whole number, but got 16.5"),
            ({"epochs": 0}, "epochs must be at least 1, but got 0"),
            ({"epochs": None}, "epochs must be a whole number, but got None"),
            ({"seed": -1}, "seed must be from 0 to 4294967295, but got -1"),
            ({"init_seed": 2**32}, "init_seed must be from 0 to 4294967295, but got 4294967296"),
            ({"schedule": "linear"}, "schedule must be one of cosine, step, constant, but got 'linear'"),
            ({"warmup_epochs": 9}, r"below epochs \(9\), but got 9"),
            ({"warmup_epochs": -0.1}, "warmup_epochs must be at least 0"),
            ({"warmup_epochs": float("nan")}, "warmup_epochs must be a finite number"),
            (
                {"quantizer_optimizer": OTHER["quantizer_optimizer"], "quantizer_lr_multiplier": 0.5},
                "quantizer_lr_multiplier must be 1 with a quantizer_optimizer, .* but got 0.5",
            ),
        ],
        ids=str,
    )
    def test_a_wrong_value_is_named(self, changes: dict[str, Any], text: str) -> None:
        with pytest.raises(UsageError, match=text):
            replace(BASE, **changes)

    def test_is_frozen_and_keeps_no_hold_of_the_callers_options(self) -> None:
        options = {"train_limit": 96}
        config = replace(BASE, dataset_options=options)
        before = key(config)
        options["train_limit"] = 1
        assert key(config) == before
        with pytest.raises(FrozenInstanceError):
            config.seed = 3  # type: ignore[misc]

    def test_largest_seed_trains(self) -> None:
        # Seeds go into torch's generators times a constant, which must not overflow.
        from tests.helpers.trials import results_of

        assert results_of(tiny_trial(seed=2**32 - 1, init_seed=2**32 - 1, epochs=1))[-1].status == "completed"


class TestQuantizerOptimizer:
    @pytest.mark.parametrize(
        ("values", "text"),
        [
            ({"learning_rate": 0}, "learning_rate of quantizer_optimizer must be positive, but got 0"),
            ({"learning_rate": float("inf")}, "learning_rate of quantizer_optimizer must be a finite number"),
            ({"learning_rate": 1, "options": {"beta1": "x"}}, "'beta1' of quantizer_optimizer must be a finite number"),
        ],
        ids=str,
    )
    def test_a_wrong_value_is_named(self, values: dict[str, Any], text: str) -> None:
        with pytest.raises(UsageError, match=text):
            QuantizerOptimizer(name="adam", **values)

    def test_one_number_has_one_key(self) -> None:
        whole, fraction = (QuantizerOptimizer(name="sgd", learning_rate=rate, options={"weight_decay": rate})
                           for rate in (1, 1.0))  # fmt: skip
        assert key(replace(BASE, quantizer_optimizer=whole)) == key(replace(BASE, quantizer_optimizer=fraction))


class TestScheme:
    def test_layers_in_floating_point_are_a_set_of_names_and_go_through_json(self) -> None:
        one = replace(BASE, scheme=Scheme(float_layers=("b", "a", "b"), attention=True))
        assert one.scheme.float_layers == ("a", "b")
        assert TrialConfig.from_dict(json.loads(json.dumps(one.to_dict()))) == one
        assert not {"float_layers", "attention"} & BASE.identity()["scheme"].keys(), "records of before have neither"

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"float_layers": "fc3"}, "float_layers must be a list of names of layers, but got 'fc3'"),
            ({"float_layers": ["a"], "layer_bits": {"a": (8, 8)}}, r"bits of its own \(layer_bits\), but got \['a'\]"),
            ({"attention": 1}, "attention must be true or false, but got 1"),
        ],
    )
    def test_refuses(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            Scheme(**values)

    def test_float_has_one_spelling(self) -> None:
        control = quantizers.scheme_of(
            quantizer="lsq", weight_bits=32, activation_bits=32, first_last_bits=8, ste="round_then_clip"
        )
        assert control == Scheme.floating_point()
        assert control.is_float and control.label == "w32a32"

    @pytest.mark.parametrize(("weight_bits", "activation_bits"), [(4, 32), (32, 4), (2, 2)])
    def test_one_quantized_side_is_quantized(self, weight_bits: int, activation_bits: int) -> None:
        scheme = quantizers.scheme_of(quantizer="lsq", weight_bits=weight_bits, activation_bits=activation_bits)
        assert not scheme.is_float
        assert (scheme.weight_bits, scheme.activation_bits) == (weight_bits, activation_bits)

    def test_more_than_float_bits_is_no_floating_point(self) -> None:
        scheme = Scheme(weight_bits=64, activation_bits=64)
        assert not scheme.is_float
        with pytest.raises(UsageError, match=f"or {FLOAT_BITS} .*weight_bits is 64"):
            quantizers.check_scheme(scheme)

    def test_wrong_values_are_named(self) -> None:
        with pytest.raises(UsageError, match="weight_bits must be a whole number, but got 4.5"):
            Scheme(weight_bits=4.5)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="ste must be one of clip_then_round, round_then_clip, but got 'x'"):
            Scheme(ste="x")


@pytest.mark.parametrize(("epochs", "patience"), [(1, 1), (9, 1), (10, 2), (18, 2), (27, 3), (100, 12)])
def test_patience_is_a_ninth_rounded_up(epochs: int, patience: int) -> None:
    assert ninth(epochs) == replace(BASE, epochs=epochs, warmup_epochs=0).patience_epochs == patience


def test_stable_hash_takes_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        stable_hash({"value": float("nan")})
