"""Which range is searched: the table's, the study's for all optimizers, the study's for one."""

from typing import Any

import pytest

from tune_qat import optimizers
from tune_qat.config import Range
from tune_qat.optimizers import OPTIMIZERS, get_spec
from tune_qat.study.search_sections import SpaceSection
from tune_qat.study.space import Dimensions, check_space, dimensions


def space(*names: str, **more: Any) -> SpaceSection:
    return SpaceSection.model_validate(
        {"optimizers": list(names), "batch_size": {"low": 8, "high": 64}, **more}, strict=True
    )


def searched(name: str, **more: Any) -> Dimensions:
    return dimensions(space(name, **more), name)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ranges_come_from_the_table(name: str) -> None:
    spec = OPTIMIZERS[name]
    rate = {} if spec.learning_rate is None else {"learning_rate": spec.learning_rate}
    assert searched(name) == {**rate, "batch_size": Range(low=8, high=64), **spec.searched}
    check_space(space(name))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_searched_range_lies_in_the_domain_of_its_option(name: str) -> None:
    for option, bounds in OPTIMIZERS[name].searched.items():
        for end in (bounds.low, bounds.high):
            assert optimizers.resolve_options(name, {option: end})[option] == end


def test_one_end_may_be_overridden_for_all() -> None:
    found = searched("adam", learning_rate={"low": 1e-7})["learning_rate"]
    assert found == Range(low=1e-7, high=get_spec("adam").learning_rate.high)  # type: ignore[union-attr]  # it has one


def test_an_optimizer_that_finds_its_rate_is_searched_for_one_where_that_is_said_of_it_alone() -> None:
    for_all = {"low": 1e-5, "high": 1e-2}
    assert set(searched("prodigy", learning_rate=for_all)) == {"batch_size", "d_coef"}
    its = {"prodigy": {"learning_rate": {"low": 0.5, "high": 2}}}
    own = searched("prodigy", learning_rate=for_all, per_optimizer=its)
    assert own["learning_rate"] == Range(low=0.5, high=2.0)


def test_what_is_said_of_one_optimizer_wins_end_by_end() -> None:
    section = space(
        "adam",
        "lion",
        learning_rate={"low": 1e-2, "high": 0.5},
        per_optimizer={"lion": {"learning_rate": {"low": 1e-5}}},
    )
    assert dimensions(section, "adam")["learning_rate"] == Range(low=1e-2, high=0.5)
    assert dimensions(section, "lion")["learning_rate"] == Range(low=1e-5, high=0.5)


def test_a_range_for_all_may_be_none_for_one_that_has_its_own() -> None:
    # Lion's table ends at 1e-3, below the low end for all.
    own = {"lion": {"learning_rate": {"low": 1e-5, "high": 1e-4}}}
    found = searched("lion", learning_rate={"low": 1e-2}, per_optimizer=own)
    assert found["learning_rate"] == Range(low=1e-5, high=1e-4)


def test_an_axis_stays_linear_when_its_ends_are_moved() -> None:
    found = searched("nesterov", per_optimizer={"nesterov": {"momentum": {"low": 0.8}}})
    assert found["momentum"] == Range(low=0.8, high=0.99, log=False)


def test_an_option_outside_the_table_is_searched_on_a_logarithmic_axis() -> None:
    found = searched("adamw", per_optimizer={"adamw": {"weight_decay": {"low": 1e-4, "high": 1.0}}})
    assert found["weight_decay"] == Range(low=1e-4, high=1.0, log=True)


def test_what_is_fixed_is_not_searched() -> None:
    assert "max_norm" not in searched("sgd_clip", fixed={"sgd_clip": {"max_norm": 1.0}})


def test_the_multiplier_of_the_quantizers_is_searched_where_both_ends_are_given() -> None:
    found = searched("adam", quantizer_lr_multiplier={"low": 0.01, "high": 1})
    assert found["quantizer_lr_multiplier"] == Range(low=0.01, high=1.0)


@pytest.mark.parametrize(
    ("section", "key", "text"),
    [
        (space("adamm"), "space.optimizers", "mean 'adam'"),
        (space("adam", "adam"), "space.optimizers", "once"),
        (space("lion", learning_rate={"low": 0.1}), "space.learning_rate", "lion would be searched from 0.1 to 0.001"),
        (
            space("adam", per_optimizer={"adam": {"learning_rate": {"low": 1, "high": 1}}}),
            "space.per_optimizer.adam.learning_rate",
            "low must be below high",
        ),
        (space("adam", per_optimizer={"sgd": {}}), "space.per_optimizer.sgd", "one of space.optimizers"),
        (space("adam", fixed={"sgd": {}}), "space.fixed.sgd", "one of space.optimizers"),
        (
            space("adam", per_optimizer={"adam": {"beta": {"low": 0.1}}}),
            "space.per_optimizer.adam.beta",
            "no option 'beta'. Did you mean 'beta",
        ),
        (
            space("adam", per_optimizer={"adam": {"beta1": {"low": 0.1}}}),
            "space.per_optimizer.adam.beta1",
            "needs both low and high",
        ),
        (
            space("nesterov", per_optimizer={"nesterov": {"momentum": {"high": 1.0}}}),
            "space.per_optimizer.nesterov.momentum",
            "must be below 1",
        ),
        (space("adam", quantizer_lr_multiplier={"low": 1}), "space.quantizer_lr_multiplier", "needs both"),
        (
            space("adam", "prodigy", quantizer_lr_multiplier={"low": 0.1, "high": 1}),
            "space.quantizer_lr_multiplier",
            "'prodigy' estimates one rate for all parameters",
        ),
        (space("adam", fixed={"adam": {"momentum": 0.9}}), "space.fixed.adam", "no option 'momentum'"),
        (
            space("nesterov", fixed={"nesterov": {"momentum": 0.9}}, per_optimizer={"nesterov": {"momentum": {}}}),
            "space.per_optimizer.nesterov.momentum",
            "searches what space.fixed.nesterov.momentum fixes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_named_with_its_key(section: SpaceSection, key: str, text: str) -> None:
    with pytest.raises(ValueError) as raised:  # what pydantic collects
        check_space(section)
    assert str(raised.value).startswith(f"{key}: ")
    assert text in str(raised.value)
