"""The keys of several objectives: what they go together with, and each mistake in one message."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.helpers.studies import tiny_study
from tune_qat.config import UsageError
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs
from tune_qat.study.early_stopping import early_stopping_off
from tune_qat.study.file import of_values

BOTH = ["accuracy", "weight_bytes"]
BITS = [[8, 8], [4, 4], [3, 4], [2, 2]]


def values_of(**changes: Any) -> dict[str, Any]:
    """A joint study over bits with two objectives."""
    known: dict[str, Any] = {
        "mode": "joint",
        "quantization": {"bits": BITS, "search_bits": True},
        "search": {"objectives": BOTH},
    }
    return {**known, **changes}


def mistake(**changes: Any) -> str:
    values = tiny_study(mode="joint").model_dump(mode="json", exclude_defaults=True)
    with pytest.raises(UsageError) as caught:
        of_values(Study, {**values, **values_of(**changes)}, "study.toml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 2, lines
    return lines[1].strip()


@pytest.mark.parametrize(
    ("objectives", "said"),
    [
        (["accuracy", "weight_byte"], "has no objective 'weight_byte'. Did you mean 'weight_bytes'?"),
        (["psnr", "weight_bytes"], "accuracy is the metric of the study"),
        (["accuracy", "macs"], "has 'macs', which no choice of bits changes"),
        (["accuracy", "accuracy"], "each objective may appear once, but got ['accuracy', 'accuracy']"),
        (["accuracy"], "needs accuracy and at least one of weight_bytes"),
        (["weight_bytes", "bit_operations"], "needs accuracy, the metric of the study"),
    ],
)
def test_names_that_are_no_objectives(objectives: list[str], said: str) -> None:
    found = mistake(search={"objectives": objectives})
    assert found.startswith("search.objectives: ") and said in found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "comparison", "quantization": {"bits": BITS}}, 'search.objectives: is for mode = "joint"'),
        ({"quantization": {"bits": BITS}}, "search.objectives: needs quantization.search_bits = true"),
        ({"selection": {"finalists": 2}}, "selection.finalists: is for one objective"),
        (
            {"quantization": {"bits": [[4, 4], [4, 2]], "search_bits": True}},
            "search.objectives: has 'weight_bytes', which is the same for all of quantization.bits",
        ),
        ({"search": {"sampler": "nsga2"}}, "search.sampler: is 'nsga2', which is for several objectives"),
        ({"search": {}, "selection": {"front": 3}}, "selection.front: is for several objectives"),
    ],
)
def test_what_objectives_do_not_go_together_with(changes: dict[str, Any], said: str) -> None:
    assert mistake(**changes).startswith(said)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ValidationError):
        tiny_study(**values_of(search={"objectives": []}))


def test_nothing_is_stopped_early_and_the_study_says_so() -> None:
    study = tiny_study(**values_of())
    assert study.asha.enabled and not study.stops_early and study.rungs == ()
    (said,) = early_stopping_off(study)
    assert said.startswith("Early stopping is off: accuracy is traded against weight_bytes")
    assert early_stopping_off(tiny_study()) == [] and tiny_study().stops_early
    off = tiny_study(**values_of(asha={"enabled": False}))
    assert early_stopping_off(off) == [], "the file says it itself"


@pytest.mark.parametrize(("front", "points"), [(None, 4), (2, 2), (9, 4)])
def test_a_front_has_a_point_of_each_scheme_at_most(front: int | None, points: int) -> None:
    study = tiny_study(**values_of(selection={"front": front}))
    (arm,) = study.arms()
    assert study.planned(arm)["retrain"] == 2 * points
    assert dict((stage, trials) for stage, trials, _ in stage_epochs(study))["retrain"] == 2 * points
