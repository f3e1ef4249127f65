"""An optimizer of their own for the quantizers' parameters: which parameters it has, and that both go on together."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conformance.optimizers import Problem
from tests.helpers.study_files import write
from tests.helpers.trials import (
    FLOAT,
    assert_same_curve,
    assert_same_state,
    results_of,
    resumed_every_epoch,
    tiny_trial,
    training_of,
)
from tune_qat.config import QuantizerOptimizer, Scheme, TrialConfig, UsageError
from tune_qat.optimizers import OPTIMIZERS, check, resolve_options, schedule_of
from tune_qat.optimizers.joined import Joined
from tune_qat.study import Study

PACT = Scheme(quantizer="dorefa", activation_quantizer="pact")


def own(name: str = "adam", learning_rate: float = 1e-5, **options: float) -> QuantizerOptimizer:
    return QuantizerOptimizer(name=name, learning_rate=learning_rate, options=resolve_options(name, options))


def recipe(**changes: Any) -> TrialConfig:
    """The oscillation paper's: SGD with momentum for weights, Adam at 1e-5 for quantizers."""
    values = {"optimizer": "nesterov", "learning_rate": 0.01, "quantizer_optimizer": own(), **changes}
    return tiny_trial(**values)


class TestParameters:
    def test_each_optimizer_has_its_own(self) -> None:
        problem = Problem(recipe())
        assert isinstance(problem.optimizer, Joined)
        weights, quantizers = problem.optimizer.parts
        assert isinstance(weights, torch.optim.SGD) and isinstance(quantizers, torch.optim.Adam)
        ids = [[id(p) for group in part.param_groups for p in group["params"]] for part in (weights, quantizers)]
        assert ids == [
            [id(p) for p in (*problem.groups.weights, *problem.groups.others)],
            [id(p) for p in problem.groups.of_quantizers],
        ]
        assert [group["peak_lr"] for group in problem.optimizer.param_groups] == [0.01, 0.01, 1e-5]

    def test_weight_decay_of_its_own_reaches_what_its_method_asks_it_for(self) -> None:
        settings = {"optimizer_options": {"weight_decay": 0.1}, "quantizer_optimizer": own(weight_decay=0.2)}
        training = training_of(recipe(scheme=PACT, weight_decay_factor=0.5, **settings))
        decays = [group["weight_decay"] for group in training.optimizer.param_groups]
        # Weights, by their bit width; biases; PACT's alpha. DoReFa has no parameter.
        assert decays == [0.05, 0.0, 0.2]

    @pytest.mark.parametrize("scheme", [FLOAT, Scheme(quantizer="dorefa")], ids=["float", "none to train"])
    def test_without_parameters_it_is_not_used(self, scheme: Scheme) -> None:
        config = recipe(scheme=scheme)
        training = training_of(config)
        assert isinstance(training.optimizer, torch.optim.SGD)
        assert_same_curve(results_of(config), results_of(recipe(scheme=scheme, quantizer_optimizer=None)))

    def test_clipping_by_the_global_norm_still_sees_all_gradients(self) -> None:
        config = recipe(optimizer="sgd_clip", optimizer_options={"max_norm": 1e-3})
        problem = Problem(config)
        problem.backward()
        assert problem.clip is not None
        problem.clip()
        norm = torch.nn.utils.get_total_norm([p.grad for p in problem.groups.all if p.grad is not None])
        assert norm.item() == pytest.approx(1e-3, rel=1e-3)  # torch adds 1e-6 to a norm of order 1


class TestSteps:
    def test_are_those_of_two_optimizers_side_by_side(self) -> None:
        ours, twin = Problem(recipe()), Problem(recipe())
        sgd = torch.optim.SGD([*twin.groups.weights, *twin.groups.others], lr=0.01, momentum=0.9, nesterov=True)
        adam = torch.optim.Adam(twin.groups.quantizer, lr=1e-5)
        for _ in range(5):
            ours.step()
            twin.backward()
            sgd.step(), adam.step()
            twin.constrain()
        for one, other in zip(ours.groups.all, twin.groups.all, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)  # fused or not, in double precision

    def test_the_same_schedule_applies_to_both(self) -> None:
        training = training_of(recipe(epochs=2, warmup_epochs=0.5, quantizer_optimizer=own(learning_rate=1e-3)))
        rates = []
        step = training.optimizer.step
        training.optimizer.step = lambda: (rates.append([g["lr"] for g in training.optimizer.param_groups]), step())  # type: ignore
        list(training.epochs())
        assert len(rates) == 12
        for weights, others, quantizers in rates:
            assert weights == others and quantizers == pytest.approx(0.1 * weights, rel=1e-12)  # double precision
        assert len({weights for weights, _, _ in rates}) > 6

    @pytest.mark.parametrize("name", ["adam", "schedule_free_adamw", "prodigy"])
    @pytest.mark.parametrize("optimizer", ["nesterov", "muon", "schedule_free_sgd"])
    def test_resumed_equals_uninterrupted(self, optimizer: str, name: str, tmp_path: Path) -> None:
        rates = {"schedule_free_sgd": 0.3, "prodigy": 1.0}
        config = recipe(
            optimizer=optimizer,
            learning_rate=rates.get(optimizer, 0.01),
            quantizer_optimizer=own(name, rates.get(name, 1e-3)),
            schedule=schedule_of(name, schedule_of(optimizer, "cosine")),
            epochs=3,
        )
        results, training = resumed_every_epoch(config, tmp_path)
        whole = training_of(config)
        start = {
            key: value.clone() for key, value in whole.model.state_dict().items() if key.endswith("quantizer.step")
        }
        assert_same_curve(results, list(whole.epochs()))
        assert_same_state(training.model, whole.model)
        assert all(not torch.equal(whole.model.state_dict()[key], value) for key, value in start.items())

    @pytest.mark.parametrize("name", [name for name, spec in OPTIMIZERS.items() if not spec.matrices and not spec.clip])
    def test_any_plain_optimizer_will_do_and_keeps_steps_positive(self, name: str) -> None:
        rate = OPTIMIZERS[name].learning_rate
        highest = rate.high if rate else 1.0
        problem = Problem(
            recipe(quantizer_optimizer=own(name, highest), schedule=schedule_of(name, "cosine")), torch.float32
        )
        for _ in range(20):
            problem.step()
            with problem.at_average():
                assert all(step > 0 for step in problem.groups.quantizer)


class TestMistakes:
    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"quantizer_optimizer": QuantizerOptimizer(name="adamm", learning_rate=1)}, "Unknown optimizer 'adamm'"),
            (
                {"quantizer_optimizer": QuantizerOptimizer(name="adam", learning_rate=1, options={"momentum": 0.9})},
                "'adam' has no option 'momentum'",
            ),
            ({"quantizer_optimizer": own("muon")}, "cannot be 'muon', which treats weights as matrices"),
            ({"quantizer_optimizer": own("soap")}, "cannot be 'soap', which treats weights as matrices"),
            ({"quantizer_optimizer": own("mars")}, "cannot be 'mars', which treats weights as matrices"),
            ({"quantizer_optimizer": own("sgd_agc")}, "cannot be 'sgd_agc', which clips all gradients"),
            (
                {"quantizer_optimizer": own("schedule_free_sgd")},
                "schedule must be 'constant' with optimizer 'schedule_free_sgd'",
            ),
            (
                {"optimizer": "prodigy", "quantizer_optimizer": None, "quantizer_lr_multiplier": 0.1},
                "'prodigy' estimates one rate",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_is_named_before_training(self, changes: dict[str, Any], text: str) -> None:
        config = recipe(**changes)
        with pytest.raises(UsageError, match=text):
            check(config)
        with pytest.raises(UsageError, match=text):
            training_of(config)


class TestStudy:
    SECTION = {"training.quantizer_optimizer": {"learning_rate": 1e-5}}

    def load(self, folder: Path, overrides: dict[str, Any]) -> Study:
        return Study.load(write(folder), overrides)

    def test_every_quantized_arm_has_it_and_the_control_is_as_without(self, tmp_path: Path) -> None:
        study, plain = self.load(tmp_path, self.SECTION), self.load(tmp_path, {})
        for arm, same in zip(study.arms(), plain.arms(), strict=True):
            config, before = (one.default_config(its, arm.optimizers[0]) for one, its in ((study, arm), (plain, same)))
            if arm.scheme.is_float:
                assert config == before and config.config_id == before.config_id
            else:
                assert config.quantizer_optimizer == own()
                assert config.config_id != before.config_id

    def test_its_documented_default_where_no_rate_is_given(self, tmp_path: Path) -> None:
        study = self.load(tmp_path, {"training.quantizer_optimizer.optimizer": "lion"})
        assert study.quantizer_optimizer == own("lion", 1e-4)

    @pytest.mark.parametrize(
        ("overrides", "text"),
        [
            ({"training.quantizer_optimizer.optimizer": "adamm"}, "training.quantizer_optimizer.*: Unknown optimizer"),
            ({"training.quantizer_optimizer.options": {"momentum": 0.9}}, "has no option 'momentum'"),
            ({"training.quantizer_optimizer.learning_rate": 0}, "quantizer_optimizer.learning_rate.* greater than 0"),
            ({"training.quantizer_optimizer.rate": 1}, "training.quantizer_optimizer.rate.*: unknown key"),
            ({"training.quantizer_optimizer.optimizer": "muon"}, "training.*: quantizer_optimizer cannot be 'muon'"),
            (
                {"training.quantizer_optimizer.optimizer": "schedule_free_sgd"},
                "training.*: schedule must be 'constant' with optimizer 'schedule_free_sgd'",
            ),
            (
                {**SECTION, "space.quantizer_lr_multiplier": {"low": 0.1, "high": 1}},
                "space.quantizer_lr_multiplier.*: is not searched with training.quantizer_optimizer",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_mistake_is_named_with_its_key(self, tmp_path: Path, overrides: dict[str, Any], text: str) -> None:
        with pytest.raises(UsageError, match=text):
            self.load(tmp_path, overrides)
