"""What repeats draw anew and what their arms share, as study files say it."""

from itertools import combinations
from typing import Any

import pytest
from pydantic import ValidationError

from tests.helpers.studies import tiny_study
from tune_qat.config import TrialConfig
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs
from tune_qat.study.repeats import SEEDS_APART
from tune_qat.study.starts import starts_of

ALL = ["start", "subset", "split", "design", "order"]
STARTS = [{"optimizer": "adam"}, {"name": "slow", "optimizer": "sgd", "learning_rate": 1e-2}]


def study_of(varies: list[str] | None = None, repeats: int = 4, **changes: Any) -> Study:
    section = {"repeat": {"varies": varies, **changes.pop("repeat", {})}} if varies else {}
    return tiny_study(repeats=repeats, **section, **changes)


def configs(study: Study) -> dict[int, list[TrialConfig]]:
    """The default configurations of all arms, by repeat."""
    found: dict[int, list[TrialConfig]] = {}
    for arm in study.arms():
        found.setdefault(arm.repeat, []).append(study.default_config(arm, arm.optimizers[0]))
    return found


def test_repeats_of_a_file_that_says_nothing_of_them_are_what_they_were() -> None:
    study = study_of(seed=7)
    for number, found in configs(study).items():
        assert {(one.seed, one.init_seed) for one in found} == {(7 + number * SEEDS_APART,) * 2}
        assert {tuple(one.dataset_options.items()) for one in found} == {
            (("split_seed", 0), ("train_limit", 128), ("augment", "none"))
        }
    (start,) = starts_of(study)
    assert start.repeats == (0, 1, 2, 3) and start.config is not None and start.config.seed == 7


@pytest.mark.parametrize("varies", [ALL, ["order"], ["start"], ["subset"], ["split", "design"]], ids="-".join)
def test_a_repeat_draws_what_varies_and_shares_the_rest(varies: list[str]) -> None:
    study = study_of(varies)
    drawn = [study.drawn(number) for number in study.repeat_numbers]
    options = [study.data_options(number) for number in study.repeat_numbers]
    for kind, values in (
        ("order", [one.trial_seed for one in drawn]),
        ("start", [one.start_seed for one in drawn]),
        ("subset", [one.get("subset_seed", 0) for one in options]),
        ("split", [one.get("val_seed", 0) for one in options]),
    ):
        assert len(set(values)) == (4 if kind in varies else 1), kind
    for found in configs(study).values():
        assert len({(one.seed, one.init_seed, str(one.dataset_options)) for one in found}) == 1
    assert len(starts_of(study)) == (1 if varies == ["order"] else 4)
    assert next(stage_epochs(study))[1] == len(starts_of(study))


@pytest.mark.parametrize("varies", [None, ALL, ["design", "order"]])
def test_no_two_searches_share_a_design(varies: list[str] | None) -> None:
    study = study_of(varies)
    boards = [study, tiny_study(repeats=4, training={"epochs": 3, "init": "scratch"}), tiny_study(seed=1)]
    seeds = [board.design_seed(arm) for board in boards for arm in board.arms()]
    assert len(set(seeds)) == len(seeds) == 2 * 16 + 4


def test_a_design_that_does_not_vary_is_that_of_every_repeat_of_an_arm() -> None:
    study = study_of(["order", "start"])
    by_name: dict[str, set[int]] = {}
    for arm in study.arms():
        by_name.setdefault(arm.name, set()).add(study.design_seed(arm))
    assert [len(seeds) for seeds in by_name.values()] == [1] * 4 and len(set.union(*by_name.values())) == 4


def test_files_of_a_whole_study_have_its_repeats() -> None:
    whole = study_of(ALL, name="whole", pretrain={"batch_size": 32, "epochs": 2, "starts": STARTS})
    later = study_of(
        ALL,
        2,
        name="later",
        repeat={"first": 3, "study": "whole"},
        pretrain={"batch_size": 32, "epochs": 2, "starts": STARTS},
    )
    arms = {arm.arm_id: arm for arm in whole.arms()}
    assert [arm.repeat for arm in later.arms()] == [2, 3] * 4
    for arm in later.arms():
        same = arms[arm.arm_id]
        assert later.default_config(arm, arm.optimizers[0]) == whole.default_config(same, same.optimizers[0])
        assert later.design_seed(arm) == whole.design_seed(same)
        assert later.retrain_seeds(arm) == whole.retrain_seeds(same)
        assert later.pretrain_config(arm.repeat) == whole.pretrain_config(arm.repeat)
    alone = study_of(ALL, 2, name="later", repeat={"first": 3})
    assert not {one.seed for one in configs(alone)[2]} & {one.seed for one in configs(later)[2]}


def test_starts_alternate_by_the_number_of_the_repeat() -> None:
    study = study_of(ALL, pretrain={"batch_size": 32, "epochs": 2, "starts": STARTS})
    made = [study.pretrain_config(number) for number in study.repeat_numbers]
    assert [(one.optimizer, one.learning_rate) for one in made] == [("adam", 1e-3), ("sgd", 1e-2)] * 2
    labels = [start.label for number in study.repeat_numbers if (start := study.drawn(number).start)]
    assert labels == ["adam", "slow"] * 2


def test_no_two_repeats_train_the_same() -> None:
    """Whatever they vary, so that each of their trials has a row of its own."""
    for varies in (list(some) for size in (1, 2, 5) for some in combinations(ALL, size) if some != ("design",)):
        study = study_of(varies, training={"epochs": 3, "init": "scratch"})
        keys, drawn = set(), dict[int, set[int]]()
        for arm in study.arms():
            values = {"learning_rate": 1e-3, "batch_size": 32}
            for seed in (study.trial_seed(arm), *study.retrain_seeds(arm), *study.finalist_seeds(arm)):
                config = study.config(arm, arm.optimizers[0], values, seed=seed)
                keys.add((arm.name, str(config.identity())))
                drawn.setdefault(arm.repeat, set()).add(config.init_seed)
        assert len(set.union(*drawn.values())) == 5 * (4 if "start" in varies else 1), varies
        assert len(keys) == len(study.arms()) * (1 + 2 + 2), varies


PHOTOS = {"model": "espcn", "dataset": "photos"}
PSNR = {"metric": "psnr", "margin": 0.1}
PATH = {"epochs": 3, "init": "path", "init_path": "start.pt"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "varies": ALL,
                "training": {"epochs": 3, "init": "scratch"},
                "pretrain": {"batch_size": 32, "epochs": 2, "starts": STARTS},
            },
            'pretrain.starts: are trained with training.init = "pretrain", but it is "scratch"',
        ),
        ({"varies": ["design"]}, 'repeat.varies: needs "order" beside "design"'),
        ({"varies": ["order", "order"]}, "each may appear once"),
        ({"varies": ALL, "mode": "joint"}, "repeat.varies: is for mode"),
        ({"varies": ALL, "training": PATH}, '"start" needs training.init'),
        ({"varies": ["subset"], "workload": PHOTOS, "judgement": PSNR}, "dataset 'photos' draws no subset"),
        ({"varies": ["subset"], "workload": {"model": "lenet5", "dataset": "digits"}}, "needs workload.options.train_"),
        ({"varies": ["order"], "repeat": {"disjoint": True}}, 'repeat.varies must have "subset"'),
        ({"varies": ["order"], "repeat": {"study": "../other"}}, "must be a plain file name, but got '../other'"),
        (
            {"varies": ALL, "repeats": 3, "pretrain": {"batch_size": 32, "epochs": 2, "starts": STARTS}},
            "repeats: must be a multiple of the 2 pretrain.starts, which alternate, but got 3",
        ),
        (
            {"pretrain": {"batch_size": 32, "epochs": 2, "starts": STARTS}},
            'pretrain.starts: alternate over repeats, so that repeat.varies must have "start"',
        ),
        (
            {"varies": ["split"], "workload": {"model": "lenet5", "dataset": "digits", "options": {"val_seed": 2}}},
            'workload.options.val_seed: is set by repeat.varies, which has "split"',
        ),
    ],
)
def test_a_mistake_is_named_by_its_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        study_of(**changes)
    assert message in str(refused.value)
