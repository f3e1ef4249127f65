"""What a valid study plans: arms, configurations, seeds, rungs, and the hash of what it is judged by."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.study_files import SMALL, write
from tune_qat.config import PLAIN_NAME, SEEDS, Dampening, Freezing, TrialConfig, UsageError, stable_hash
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs, trial_epochs
from tune_qat.study.file import bundled
from tune_qat.study.repeats import SEEDS_APART
from tune_qat.study.search_sections import BatchSizes

PRETRAIN = {"pretrain.batch_size": 32, "pretrain.epochs": 5, "training.init": "pretrain"}


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """The small study with overrides by dotted key."""
    path = write(tmp_path)
    return lambda **changes: Study.load(path, {key.replace("__", "."): value for key, value in changes.items()})


class TestArms:
    def test_one_for_each_optimizer_and_bit_width_in_the_order_of_the_file(self, load: Any) -> None:
        arms = load().arms()
        assert [arm.arm_id for arm in arms] == ["adam-w32a32", "nesterov-w32a32", "adam-w4a4", "nesterov-w4a4"]
        assert [arm.optimizer for arm in arms] == ["adam", "nesterov"] * 2
        assert [arm.scheme.is_float for arm in arms] == [True, True, False, False]

    def test_joint_mode_has_one_arm_for_all_optimizers_of_a_bit_width(self, load: Any) -> None:
        arms = load(mode="joint").arms()
        assert [arm.arm_id for arm in arms] == ["joint-w32a32", "joint-w4a4"]
        assert arms[0].optimizers == ("adam", "nesterov")
        assert arms[0].optimizer is None

    @pytest.mark.parametrize("mode", ["comparison", "joint"])
    def test_ids_are_unique_plain_file_names(self, load: Any, mode: str) -> None:
        ids = [arm.arm_id for arm in load(mode=mode, repeats=12, quantization__bits=[[32, 32], [4, 8], [8, 4]]).arms()]
        assert len(set(ids)) == len(ids) == 12 * 3 * (2 if mode == "comparison" else 1)
        assert all(PLAIN_NAME.fullmatch(name) for name in ids)

    def test_the_first_repeat_has_the_id_of_a_study_without_repeats(self, load: Any) -> None:
        assert {arm.arm_id for arm in load().arms()} < {arm.arm_id for arm in load(repeats=2).arms()}

    def test_layers_left_in_floating_point_and_attention(self, load: Any) -> None:
        changes = {"quantization__layers": {"fc3": "float", "conv1": [4, 8]}, "quantization__attention": True}
        control, scheme = (arm.scheme for arm in load(**changes).arms()[1:3])
        assert (scheme.float_layers, scheme.layer_bits, scheme.attention) == (("fc3",), {"conv1": (4, 8)}, True)
        assert control.is_float and not control.attention and not control.float_layers
        plain = load().arms()[2].scheme
        assert (plain.float_layers, plain.layer_bits, plain.attention) == ((), {}, False)

    def test_further_methods_have_arms_of_their_own(self, load: Any) -> None:
        methods = [
            {
                "name": "config_1",
                "quantizer": "lsq_plus",
                "bits": [[4, 4]],
                "options": {"activations": "signed_symmetric"},
            },
            {"name": "ternary", "quantizer": "twn", "bits": [[2, 32]]},
        ]
        study = load(quantization__methods=methods)
        assert [arm.arm_id for arm in study.arms()[2:]] == [
            *("adam-w4a4", "nesterov-w4a4", "adam-config_1-w4a4", "nesterov-config_1-w4a4"),
            *("adam-ternary-w2a32", "nesterov-ternary-w2a32"),
        ]
        assert [arm.method for arm in study.arms()[::2]] == ["none", "lsq", "config_1", "ternary"]
        # What the method's paper does with the first and the last layer.
        assert [arm.scheme.first_last_bits for arm in study.arms()[::2]] == [32, 8, 8, 32]
        assert len({recipe for arm in study.arms()[::2] for recipe in study.recipes(arm)}) == 4

    def test_recipes_against_oscillations_are_those_of_quantized_arms(self, load: Any) -> None:
        values = {"training__freezing": {"threshold_start": 0.1, "threshold_end": 0.02}}
        study = load(**values, training__dampening={"weight": 0.1}, training__bn_reestimation_batches=50)
        plain = load()
        for arm, before in zip(study.arms(), plain.arms(), strict=True):
            config = study.default_config(arm, "adam")
            assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
            assert config.bn_reestimation_batches == 50, "batch norm is the control's too"
            used = (Freezing(threshold_start=0.1, threshold_end=0.02), Dampening(weight=0.1))
            assert (config.freezing, config.dampening) == ((None, None) if arm.scheme.is_float else used)
            assert set(study.recipes(arm)).isdisjoint(plain.recipes(before))

    def test_all_have_the_same_plan(self, load: Any) -> None:
        study = load(stages__random=2, stages__retrain=5)
        plans = [study.planned(arm) for arm in study.arms()]
        assert plans == [{"default": 1, "random": 2, "search": 6, "finalists": 0, "retrain": 5}] * 4

    def test_joint_mode_tries_the_defaults_of_every_optimizer(self, load: Any) -> None:
        study = load(mode="joint")
        assert study.planned(study.arms()[0])["default"] == 2
        off = load(mode="joint", stages__default=False)
        assert off.planned(off.arms()[0])["default"] == 0


class TestCost:
    def test_counts_every_trial_at_its_full_length(self, load: Any) -> None:
        study = load(stages__random=2, **{k.replace(".", "__"): v for k, v in PRETRAIN.items()})
        # 4 arms of 9 epochs; the start is trained once.
        assert list(stage_epochs(study)) == [
            ("pretrain", 1, 5),
            ("default", 4, 36),
            ("random", 8, 72),
            ("search", 24, 216),
            ("retrain", 12, 108),
        ]

    def test_stages_without_trials_and_an_unused_start_are_left_out(self, load: Any) -> None:
        study = load(stages__retrain=0, pretrain__batch_size=32, pretrain__epochs=5)
        assert [stage for stage, _, _ in stage_epochs(study)] == ["default", "search"]

    @pytest.mark.parametrize("name", bundled())
    def test_a_bundled_study_is_valid_and_costs_what_its_header_says(self, name: str) -> None:
        study, header = Study.load(name), bundled()[name].read_text(encoding="utf-8")
        assert study.name == name
        assert f"tune-qat run {name}" in header
        for said in re.findall(r"At most ([\d,]+) trial-epochs", header):
            assert trial_epochs(study) == int(said.replace(",", ""))


class TestSeeds:
    def test_retrain_seeds_are_the_same_in_every_arm_and_fresh(self, load: Any) -> None:
        study = load(seed=7, stages__retrain=4)
        assert {study.retrain_seeds(arm) for arm in study.arms()} == {range(8, 12)}
        assert {study.trial_seed(arm) for arm in study.arms()} == {7}

    def test_repeats_share_no_seed(self, load: Any) -> None:
        study = load(repeats=3, stages__retrain=SEEDS_APART - 1)
        per_repeat = {arm.repeat: {study.trial_seed(arm), *study.retrain_seeds(arm)} for arm in study.arms()}
        assert sum(map(len, per_repeat.values())) == len(set.union(*per_repeat.values())) == 3 * SEEDS_APART

    def test_the_last_seed_of_the_last_repeat_is_one_that_a_trial_takes(self, load: Any) -> None:
        largest = SEEDS - 2 * SEEDS_APART
        study = load(seed=largest, repeats=2, stages__retrain=SEEDS_APART - 1)
        arm = study.arms()[-1]
        values = {"learning_rate": 1e-3, "batch_size": 8}
        assert study.config(arm, arm.optimizer, values, seed=study.retrain_seeds(arm)[-1]).seed == SEEDS - 1
        with pytest.raises(UsageError, match=f"seed .*: must be at most {largest} with repeats = 2"):
            load(seed=largest + 1, repeats=2)


class TestConfigurations:
    def test_values_go_where_they_belong(self, load: Any) -> None:
        study = load(space__fixed={"nesterov": {"weight_decay": 1e-4}}, training__warmup_epochs=1)
        arm = study.arms()[3]
        values = {"learning_rate": 0.1, "batch_size": 16, "momentum": 0.8, "quantizer_lr_multiplier": 0.5}
        config = study.config(arm, "nesterov", values, seed=3)
        assert (config.learning_rate, config.batch_size, config.quantizer_lr_multiplier) == (0.1, 16, 0.5)
        assert config.optimizer_options == {"momentum": 0.8, "weight_decay": 1e-4}
        assert (config.seed, config.epochs, config.warmup_epochs, config.scheme) == (3, 9, 1.0, arm.scheme)
        assert config.dataset_options["train_limit"] == 0, "options are resolved, nothing is left to a default"

    def test_defaults_are_those_of_the_table_at_the_middle_batch_size(self, load: Any) -> None:
        study = load(space__fixed={"adam": {"eps": 1e-6}})
        config = study.default_config(study.arms()[0], "adam")
        assert (config.learning_rate, config.batch_size) == (1e-3, 16)
        assert config.optimizer_options == {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.0}

    def test_the_floating_point_control_does_not_depend_on_quantization(self, load: Any) -> None:
        values = {"learning_rate": 1e-3, "batch_size": 8}
        plain, other = load(), load(quantization__ste="round_then_clip", quantization__first_last_bits=4)
        controls = [s.config(s.arms()[0], "adam", {**values, "quantizer_lr_multiplier": m}, seed=0)
                    for s, m in ((plain, 1.0), (other, 0.1))]  # fmt: skip
        assert controls[0] == controls[1], "its trials are shared"
        quantized = [s.config(s.arms()[2], "adam", values, seed=0) for s in (plain, other)]
        assert quantized[0] != quantized[1]

    def test_the_start_is_floating_point_with_its_own_budget(self, load: Any) -> None:
        study = load(**{k.replace(".", "__"): v for k, v in PRETRAIN.items()}, pretrain__optimizer="nesterov",
                     pretrain__optimizer_options={"momentum": 0.8}, pretrain__learning_rate=1)  # fmt: skip
        config = study.pretrain_config(0)
        assert config.scheme.is_float
        assert (config.optimizer, config.epochs, config.batch_size, config.learning_rate) == ("nesterov", 5, 32, 1.0)
        assert config.optimizer_options["momentum"] == 0.8

    def test_an_optimizer_with_a_schedule_of_its_own_is_trained_with_it(self, load: Any) -> None:
        study = load(
            space__optimizers=["schedule_free_adamw", "adam"], training__schedule="step", training__warmup_epochs=2
        )
        configs = [study.default_config(arm, arm.optimizers[0]) for arm in study.arms()]
        assert [config.schedule for config in configs] == ["constant", "step"] * 2
        assert {config.warmup_epochs for config in configs} == {2.0}

    def test_and_without_the_milestones_of_the_studys(self, load: Any) -> None:
        steps = {"epochs": 9, "init": "scratch", "schedule": "step", "milestones": [3, 6], "decay": 0.5}
        study = load(space__optimizers=["schedule_free_sgd", "sgd"], training=steps)
        configs = [study.default_config(arm, arm.optimizers[0]) for arm in study.arms()[:2]]
        assert [config.milestones for config in configs] == [(), (3.0, 6.0)]
        assert [config.decay for config in configs] == [0.1, 0.5]

    def test_so_is_the_start_unless_it_is_said_to_have_another(self, load: Any) -> None:
        changes = {**{k.replace(".", "__"): v for k, v in PRETRAIN.items()}, "pretrain__optimizer": "schedule_free_sgd"}
        assert load(**changes).pretrain_config(0).schedule == "constant"
        with pytest.raises(
            UsageError, match="pretrain.*: schedule must be 'constant' with optimizer 'schedule_free_sgd'"
        ):
            load(**changes, pretrain__schedule="cosine")

    def test_whole_numbers_in_the_file_give_the_keys_of_fractions(self, load: Any) -> None:
        def hashes(number: Any) -> list[str]:
            study = load(
                judgement__margin=number,
                training__warmup_epochs=number,
                space__fixed={"adam": {"eps": number}},
                space__learning_rate={"high": number},
            )
            return [study.prereg_hash, study.model_dump_json(), study.default_config(study.arms()[0], "adam").config_id]

        assert hashes(1) == hashes(1.0)


@pytest.mark.parametrize(
    ("low", "high", "middle"),
    [(8, 64, 16), (8, 128, 32), (16, 256, 64), (8, 8, 8), (8, 16, 8), (1, 1024, 32), (1, 2, 1)],
)
def test_the_default_batch_size_is_the_middle_power_of_two(low: int, high: int, middle: int) -> None:
    assert BatchSizes(low=low, high=high).middle == middle
    assert BatchSizes(low=low, high=high, default=high).middle == high


class TestRungs:
    def test_from_scratch_the_first_is_a_ninth_of_the_epochs_and_each_next_three_times_as_far(self, load: Any) -> None:
        assert load(training__epochs=27).rungs == (3, 9)
        assert load(training__epochs=100).rungs == (12, 36)
        assert load(training__epochs=1).rungs == ()
        assert load(asha__grace_epochs=9).rungs == ()
        assert load(asha__enabled=False).rungs == ()

    @pytest.mark.parametrize("start", [PRETRAIN, {"training.init": "path", "training.init_path": "start.pt"}])
    @pytest.mark.parametrize(("epochs", "rungs"), [(1, ()), (2, (1,)), (3, (2,)), (9, (5,)), (12, (6,)), (100, (50,))])
    def test_behind_a_trained_start_the_first_is_not_before_half_of_them(
        self, load: Any, start: dict[str, Any], epochs: int, rungs: tuple[int, ...]
    ) -> None:
        values = {key.replace(".", "__"): value for key, value in start.items()}
        assert load(**values, training__epochs=epochs).rungs == rungs
        assert load(**values, training__epochs=27, asha__grace_epochs=2).rungs == (2, 6, 18), "unless the file names it"

    @pytest.mark.parametrize("name", bundled())
    def test_no_bundled_study_has_an_early_one_behind_a_trained_start(self, name: str) -> None:
        study = Study.load(name)
        assert study.asha.enabled or study.repeat, "studies that are to carry a claim may stop nothing"
        assert study.training.init == "scratch" or 2 * study.first_rung >= study.training.epochs

    @pytest.mark.parametrize(
        ("epochs", "grace", "factor"),
        [
            (9, None, 3),
            (27, 1, 3),
            (26, 1, 3),
            (28, 1, 3),
            (50, None, 3),
            (8, 1, 2),
            (10, 2, 4),
            (5, 5, 3),
            (1, None, 3),
        ],
    )
    def test_they_are_where_ray_tunes_asha_stops(self, load: Any, epochs: int, grace: int | None, factor: int) -> None:
        from tune_qat.tuning.objective import OBJECTIVE
        from tune_qat.tuning.scheduler import StudyScheduler

        study = load(training__epochs=epochs, asha={"grace_epochs": grace, "reduction_factor": factor})
        arm_id = study.arms()[0].arm_id

        def actions(scheduler: Any, name: str, values: list[float]) -> list[str]:
            trial = SimpleNamespace(trial_id=name, config={"arm_id": arm_id, "stage": "search", "trial_key": name})
            reports = [{"epoch": epoch, OBJECTIVE: value} for epoch, value in enumerate(values, 1)]
            return [scheduler.on_trial_result(None, trial, report) for report in reports]

        stopped = []
        for epoch in range(1, epochs):
            scheduler = StudyScheduler(study, lambda decision: None)
            actions(scheduler, "good", [1.0] * epochs)
            # As good as the other until it falls behind: stopped then if, and only if, somebody looks.
            if actions(scheduler, "falls", [1.0] * (epoch - 1) + [0.0])[-1] == "STOP":
                stopped.append(epoch)
        assert tuple(stopped) == study.rungs


class TestPreregistration:
    @pytest.mark.parametrize(
        "change",
        [
            {"judgement.margin": 0.02},
            {"judgement.alpha": 0.01},
            {"judgement.reference": "adam"},
            {"stages.retrain": 4},
            {"seed": 1},
            {"repeats": 2},
            {"workload": {"model": "espcn", "dataset": "photos"}, "judgement.metric": "psnr"},
        ],
        ids=str,
    )
    def test_covers_what_is_judged(self, tmp_path: Path, change: dict[str, Any]) -> None:
        path = write(tmp_path)
        assert Study.load(path, change).prereg_hash != Study.load(path).prereg_hash

    def test_covers_nothing_else(self, tmp_path: Path) -> None:
        path = write(tmp_path)
        other = {
            "name": "other",
            "mode": "joint",
            "data_dir": "elsewhere",
            "quantization.bits": [[2, 2]],
            "training.epochs": 30,
            "space.optimizers": ["lion"],
            "space.learning_rate.low": 1e-6,
            "stages.search": 60,
            "stages.random": 1,
            "asha.enabled": False,
            "search.sampler": "random",
            **PRETRAIN,
        }
        assert Study.load(path, other).prereg_hash == Study.load(path).prereg_hash

    def test_is_the_same_in_every_process(self, tmp_path: Path) -> None:
        judged = {"metric": "accuracy", "margin": 0.01, "alpha": 0.05, "seeds": [1, 2, 3]}
        assert Study.load(write(tmp_path)).prereg_hash == stable_hash(judged)


def test_nothing_changes_after_loading(load: Any) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="frozen"):
        load().seed = 3


def test_the_definition_that_is_recorded_is_the_study(tmp_path: Path) -> None:
    study = Study.load(write(tmp_path, SMALL + "[space.per_optimizer.adam.learning_rate]\nlow = 1e-6\n"))
    assert Study.model_validate_json(study.model_dump_json()) == study


def test_model_options_are_in_every_trial(tmp_path: Path) -> None:
    text = SMALL.replace('model = "lenet5"', 'model = "timm:vit_tiny_patch16_224"\nmodel_options = { depth = 2 }')
    study = Study.load(write(tmp_path, text))
    configs = [study.default_config(arm, "adam") for arm in study.arms() if "adam" in arm.optimizers]
    assert configs and all(config.model_options == {"depth": 2} for config in configs)
    plain = Study.load(write(tmp_path, SMALL, "plain.toml"))
    assert "model_options" not in plain.default_config(plain.arms()[0], "adam").identity()
