"""What `train` is told: --set, the options that are shown, and those of earlier versions."""

from dataclasses import fields
from typing import Any

import pytest
import typer

from tune_qat import cli
from tune_qat.cli.old_options import _OLD, _renamed, read_trial
from tune_qat.config import Dampening, Distillation, Freezing, QuantizerOptimizer, TrialConfig, UsageError

GIVEN = {
    "model": "lenet5",
    "dataset": "digits",
    "scheme.quantizer": "lsq",
    "scheme.weight_bits": 4,
    "scheme.activation_bits": 4,
    "optimizer": "nesterov",
    "learning_rate": None,
    "batch_size": 16,
    "epochs": 9,
    "seed": 3,
}
FREEZING = ("freezing.threshold_start=0.1", "freezing.threshold_end=0.04")


def configured(*settings: str, **options: Any) -> TrialConfig:
    """The configuration of --set; options as `optimizer="adam"`."""
    return read_trial(list(settings), {**GIVEN, **options}, [])


def typed_as_before(*arguments: str) -> TrialConfig:
    """The configuration of options as they were typed."""
    renamed = _renamed(arguments)
    assert set(renamed[::2]) == {"--old"}
    return read_trial([], GIVEN, renamed[1::2])


def error_of(*settings: str, **options: Any) -> str:
    with pytest.raises(UsageError) as raised:
        configured(*settings, **options)
    return str(raised.value)


class TestSettings:
    def test_without_any_all_is_as_documented(self) -> None:
        config = configured()
        assert (config.learning_rate, config.schedule, config.seed, config.init_seed) == (1e-3, "cosine", 3, 3)
        assert config.optimizer_options == {"momentum": 0.9, "weight_decay": 0.0}
        assert config.dataset_options == {"split_seed": 0, "train_limit": 0, "augment": "none"}
        assert (config.scheme.first_last_bits, config.scheme.activation_quantizer) == (8, "lsq")
        assert configured(optimizer="schedule_free_sgd").schedule == "constant"

    @pytest.mark.parametrize(
        ("settings", "field", "value"),
        [
            (["decay=0.5", "schedule=step"], "decay", 0.5),
            (["schedule=step"], "schedule", "step"),
            (["schedule=step", "milestones=[3, 6]"], "milestones", (3.0, 6.0)),
            (["warmup_epochs=1"], "warmup_epochs", 1.0),
            (["bn_reestimation_batches=5"], "bn_reestimation_batches", 5),
            (["calibration_batches=5"], "calibration_batches", 5),
            (["quantizer_lr_multiplier=0"], "quantizer_lr_multiplier", 0.0),
            (["weight_decay_factor=0.25"], "weight_decay_factor", 0.25),
            (["init_seed=7"], "init_seed", 7),
            (["seed=7"], "init_seed", 7),
            (["epochs=4"], "epochs", 4),
            (["learning_rate=1e-3"], "learning_rate", 1e-3),
            (["optimizer_options.momentum=0"], "optimizer_options", {"momentum": 0.0, "weight_decay": 0.0}),
            (["optimizer_options={ momentum = 0.5 }"], "optimizer_options", {"momentum": 0.5, "weight_decay": 0.0}),
            ([*FREEZING], "freezing", Freezing(threshold_start=0.1, threshold_end=0.04)),
            (["dampening.weight=1"], "dampening", Dampening(weight=1.0)),
            (["distillation.temperature=2"], "distillation", Distillation(temperature=2.0)),
        ],
        ids=str,
    )  # fmt: skip
    def test_every_kind_of_field(self, settings: list[str], field: str, value: Any) -> None:
        assert getattr(configured(*settings), field) == value

    def test_options_of_data_and_of_quantizers(self) -> None:
        config = configured(
            "dataset_options.train_limit=64", "scheme.options.per_channel=true", "scheme.layer_bits.conv1=[8, 4]",
            'scheme.layer_bits={ "fc.1" = [2, 2] }', "scheme.ste=round_then_clip", "scheme.first_last_bits=4",
            "scheme.activation_quantizer=pact",
        )  # fmt: skip
        assert config.dataset_options["train_limit"] == 64
        scheme = config.scheme
        assert (scheme.options, scheme.layer_bits) == ({"per_channel": True}, {"fc.1": (2, 2)}), "the last one counts"
        assert (scheme.ste, scheme.first_last_bits, scheme.activation_quantizer) == ("round_then_clip", 4, "pact")
        assert configured("scheme.layer_bits.conv1=[8, 4]").scheme.layer_bits == {"conv1": (8, 4)}
        left = configured('scheme.float_layers=["fc.1"]', "scheme.attention=true").scheme
        assert (left.float_layers, left.attention) == (("fc.1",), True)

    def test_an_optimizer_of_the_quantizers_has_its_documented_rate_and_options(self) -> None:
        settings = ("quantizer_optimizer.name=sgd", "quantizer_optimizer.options.weight_decay=0.1")
        expected = QuantizerOptimizer(name="sgd", learning_rate=1e-3, options={"weight_decay": 0.1})
        assert configured(*settings).quantizer_optimizer == expected
        assert configured(*settings, "quantizer_optimizer.learning_rate=1").quantizer_optimizer == QuantizerOptimizer(
            name="sgd", learning_rate=1.0, options=expected.options
        )

    def test_it_goes_over_the_other_options(self) -> None:
        config = configured("optimizer=adam", "scheme.weight_bits=2", "scheme={ activation_bits = 3 }", epochs=5)
        assert (config.optimizer, config.learning_rate, config.epochs) == ("adam", 1e-3, 5)
        assert config.scheme.label == "w4a3", "a section that is set whole is filled from the options"

    @pytest.mark.parametrize(
        ("settings", "parts"),
        [
            (["decya=0.5"], ["decya (from --set): unknown key. Did you mean 'decay'? Known here: model, dataset"]),
            (["scheme.weight_bit=3"], ["scheme.weight_bit (from --set): unknown key. Did you mean 'weight_bits'?"]),
            (["freezing.start=0.1", *FREEZING], ["freezing.start (from --set): unknown", "momentum."]),
            (["freezing.threshold_start=0.1"], ["freezing.threshold_end: missing"]),
            (["quantizer_optimizer.nam=x"], ["unknown key. Did you mean 'name'?", "quantizer_optimizer.name: missing"]),
            (["warmup_epochs=.5"], ["warmup_epochs (from --set): must be a number, but got '.5'"]),
            (["epochs=3.0"], ["epochs (from --set): must be a whole number, but got 3.0"]),
            (["milestones=3"], ["milestones (from --set): must be a list, but got 3"]),
            (["milestones=[2026-01-01]"], ["milestones.0 (from --set): must be a number, but got '2026-01-01'"]),
            (["decay=nan"], ["decay (from --set): must be a finite number, but got nan"]),
            (["schedule=3"], ["schedule (from --set): must be text, but got 3; to give it as text: --set"]),
            (["dataset_options=3"], ["dataset_options (from --set): must be a section, but got 3"]),
            (["scheme=3"], ["scheme (from --set): must be a section with the keys quantizer, activation_quantizer"]),
            (["scheme.layer_bits.conv1=[8]"], ["scheme.layer_bits.conv1 (from --set): must have more values"]),
            (["scheme.layer_bits.conv1=[8,8,8]"], ["scheme.layer_bits.conv1 (from --set): must have fewer values"]),
            (["scheme.layer_bits.conv1=8"], ["scheme.layer_bits.conv1 (from --set): must be a list, but got 8"]),
            (["schedule=linear"], ["schedule must be one of cosine, step, constant, but got 'linear'"]),
            (["quantizer_lr_multiplier=-1"], ["quantizer_lr_multiplier must be at least 0, but got -1.0"]),
            (["freezing.threshold_start=2", "freezing.threshold_end=0.1"], ["threshold_start must be above 0"]),
            (["optimizer=3"], ["Unknown optimizer 3. Known: "]),
            (["optimizer_options.moment=0.9"], ["'nesterov' has no option 'moment'. Did you mean 'momentum'?"]),
            (["dataset_options.augment=x"], ["Option 'augment' of dataset 'digits' must be one of none, crop_flip"]),
            (["scheme.quantizer=lqs"], ["Unknown quantizer 'lqs'. Did you mean 'lsq'?"]),
            (["quantizer_optimizer.name=adamm"], ["Unknown optimizer 'adamm'. Did you mean 'adam'?"]),
            (["epochs.x=3", "epochs=3", "epochs.y=3"], ["--set epochs.y: 'epochs' is a value, not a section."]),
            (["decay"], ["--set takes key=value, such as optimizer_options.momentum=0.9, but got 'decay'"]),
        ],
        ids=str,
    )  # fmt: skip
    def test_a_mistake_is_named_with_key_value_and_what_is_allowed(self, settings: list[str], parts: list[str]) -> None:
        message = error_of(*settings)
        assert all(part in message for part in parts), message
        for programmers_word in ("pydantic", "Scheme", "tuple", "Input should", "object"):
            assert programmers_word not in message

    def test_the_help_has_every_field(self) -> None:
        commands: Any = typer.main.get_command(cli.app)
        train = commands.commands["train"]
        shown = {parameter.name for parameter in train.params if not parameter.hidden}
        for field in fields(TrialConfig):
            # One makes the start of a study's control, and trains nothing; the other is read from the code itself.
            if field.name in ("worsening", "sources"):
                continue
            assert field.name in shown or f"{field.name}=" in train.epilog or f"{field.name}." in train.epilog, field
        assert len(shown) == 20


OLD = {
    "--first-last-bits 4": "scheme.first_last_bits=4",
    "--activation-quantizer pact": "scheme.activation_quantizer=pact",
    "--layer-bits conv1=[8,4]": "scheme.layer_bits.conv1=[8,4]",
    "--layer-bits layer1.0.conv=[8,4]": 'scheme.layer_bits={ "layer1.0.conv" = [8, 4] }',
    "--quantizer-option per_channel=true": "scheme.options.per_channel=true",
    "--ste=round_then_clip": "scheme.ste=round_then_clip",
    "--option momentum=0.8": "optimizer_options.momentum=0.8",
    "--data-option train_limit=64": "dataset_options.train_limit=64",
    "--quantizer-lr-multiplier .5": "quantizer_lr_multiplier=0.5",
    "--quantizer-optimizer sgd": "quantizer_optimizer.name=sgd",
    "--quantizer-optimizer sgd --quantizer-learning-rate 1": 'quantizer_optimizer={ name="sgd", learning_rate=1 }',
    "--schedule step": "schedule=step",
    "--schedule=step --milestone 3 --milestone=6 --decay .5": "schedule=step milestones=[3,6] decay=0.5",
    "--warmup-epochs 1": "warmup_epochs=1",
    "--bn-reestimation-batches 5": "bn_reestimation_batches=5",
    "--freezing threshold_start=0.1 --freezing threshold_end=0.04": " ".join(FREEZING),
    "--dampening weight=1": "dampening.weight=1",
    "--distillation .7": "distillation.weight=0.7",
    "--temperature 2 --distillation 1": "distillation.weight=1 distillation.temperature=2",
    "--ste round_then_clip --ste clip_then_round": "scheme.ste=clip_then_round",
}


class TestOldOptions:
    @pytest.mark.parametrize(("old", "now"), OLD.items(), ids=OLD)
    def test_say_what_set_says(self, old: str, now: str) -> None:
        settings = [now] if "{" in now else now.split()
        assert typed_as_before(*old.split()) == configured(*settings)
        assert "clip_then_round" in now or configured(*settings) != configured()

    def test_all_are_covered(self) -> None:
        typed = {word.partition("=")[0] for old in OLD for word in old.split() if word.startswith("--")}
        assert typed == set(_OLD)

    def test_a_temperature_alone_has_no_effect(self) -> None:
        assert typed_as_before("--temperature", "2") == configured()

    def test_may_be_mixed_with_set_which_goes_over_them(self) -> None:
        old = ["--decay=0.5", "--schedule=step", "--temperature=2", "--option=momentum=0.1"]
        config = read_trial(["decay=0.2", "distillation.weight=1", "optimizer_options.weight_decay=1"], GIVEN, old)
        assert (config.decay, config.schedule) == (0.2, "step")
        assert config.distillation == Distillation(weight=1.0, temperature=2.0)
        assert config.optimizer_options == {"momentum": 0.1, "weight_decay": 1.0}

    @pytest.mark.parametrize(
        ("old", "part"),
        [
            (["--decay", "x"], "decay: must be a number, but got 'x'"),
            (["--first-last-bits", "3.5"], "scheme.first_last_bits: must be a whole number, but got '3.5'"),
            (["--decay"], "decay: must be a number, but got ''"),
            (["--layer-bits", "conv1"], "--layer-bits takes key=value, such as conv1=[8,8], but got 'conv1'"),
        ],
        ids=str,
    )
    def test_a_mistake_is_named(self, old: list[str], part: str) -> None:
        with pytest.raises(UsageError) as raised:
            typed_as_before(*old)
        assert part in str(raised.value)

    def test_others_are_left_as_they_are(self) -> None:
        assert _renamed(["--set", "decay=1", "--seed", "3"]) == ["--set", "decay=1", "--seed", "3"]
