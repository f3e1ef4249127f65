import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.stats.comparisons import alphas
from analysis.stats.starts import what_seeds_varied
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write

DEFINITION = {
    "training": {"init": "pretrain", "init_path": None},
    "pretrain": {"optimizer": "lion", "epochs": 7, "learning_rate": 1e-4},
    "judgement": {"metric": "accuracy", "margin": 0.002, "alpha": 0.01},
}


def study(results: Path, name: str, definition: object, **values: Any) -> SmallStudy:
    write(results, name, "studies", "studies", filled("studies", definition_json=json.dumps(definition)))
    made = SmallStudy(results, name)
    made.arm("adam", margin=0.002, **values)
    return made


def test_pretrained_start_is_told_with_the_last_model_that_was_trained(tmp_path: Path) -> None:
    made = study(tmp_path, "s", DEFINITION)
    for day, metric in ((2, 0.9), (1, 0.8)):
        moment = datetime(2026, 1, day, tzinfo=UTC)
        made.trial("adam-w4a4", "pretrain", val_metric=metric, finished_at=moment)
    row = analysis.frame(tmp_path, "start").iloc[0]
    assert row[["init", "pretrained_by", "pretrain_epochs"]].tolist() == ["pretrain", "lion", 7]
    assert row[["pretrain_learning_rate", "pretrain_val_metric"]].tolist() == [1e-4, 0.9]
    assert row[["margin", "alpha", "planned_retrain", "repeats"]].tolist() == [0.002, 0.01, 3, 1]


@pytest.mark.parametrize("init", ["scratch", "path", "weights"])
def test_other_starts_have_no_pretraining(tmp_path: Path, init: str) -> None:
    study(tmp_path, "s", {**DEFINITION, "training": {"init": init, "init_path": "start.pt"}}, init=init)
    row = analysis.frame(tmp_path, "start").iloc[0]
    assert row["init"] == init and row["init_path"] == "start.pt"
    assert row[["pretrained_by", "pretrain_epochs", "pretrain_learning_rate", "pretrain_val_metric"]].isna().all()


def test_a_study_that_says_nothing_of_it_has_no_level_of_its_own(tmp_path: Path) -> None:
    study(tmp_path, "s", DEFINITION)
    study(tmp_path, "imported", {})
    assert alphas(analysis.answers(tmp_path)) == {"s": 0.01}
    found = analysis.frame(tmp_path, "start").set_index("study_id")
    assert pd.isna(found.loc["imported", "alpha"])


def test_what_a_seed_varied_is_said(tmp_path: Path) -> None:
    made = study(tmp_path, "s", DEFINITION)
    shared = "All arms start from one floating-point model, pretrained with lion (7 epochs, learning rate 0.0001"
    assert what_seeds_varied(tmp_path)["s"].startswith(f"{shared}): a seed varies the order of the data and")
    made.trial("adam-w4a4", "pretrain", val_metric=0.9876, finished_at=datetime(2026, 1, 1, tzinfo=UTC))
    said = what_seeds_varied(tmp_path)["s"]
    assert said.startswith(f"{shared}, accuracy 98.8 % on validation data): a seed varies")
    assert "not the initial weights. It may favour optimizers that are like its own." in said
    assert said.endswith("Nor do they cover what another search would have chosen: that takes repeats.")


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("scratch", "Every seed starts from random weights of its own: a seed varies these and the order of the data."),
        ("path", "All arms start from one given checkpoint, whose training is not in the record: a "),
    ],
)
def test_what_a_seed_varied_from_another_start(tmp_path: Path, init: str, said: str) -> None:
    study(tmp_path, "s", {**DEFINITION, "training": {"init": init}}, init=init)
    assert what_seeds_varied(tmp_path)["s"].startswith(said)


def test_what_a_seed_varied_may_not_be_known(tmp_path: Path) -> None:
    study(tmp_path, "s", {})
    assert what_seeds_varied(tmp_path)["s"].startswith("What trials started from, and so what a seed varied, is not in")


def test_repeats_are_said(tmp_path: Path) -> None:
    study(tmp_path, "s", DEFINITION).arm("adam", arm_id="adam-r2", repeat=2)
    assert what_seeds_varied(tmp_path)["s"].endswith("include the variation of the search.")


def test_what_repeats_vary_is_said_from_the_record(tmp_path: Path) -> None:
    whole: dict[str, Any] = {"whole": "w", "subset_overlap": 0.25}
    varies = '["start", "subset", "design", "order"]'
    made = study(tmp_path, "s", DEFINITION, repeat=0, varies_json=varies, start_name="by adam", **whole)
    for repeat, start in ((1, "by sgd"), (2, "by adam"), (3, "by sgd")):
        made.arm("adam", arm_id=f"r{repeat}", repeat=repeat, varies_json=varies, start_name=start, **whole)
    assert what_seeds_varied(tmp_path)["s"] == (
        "Each of 4 repeats draws anew, the same for all its arms but the search: the start, the subset of training "
        "data, the search of each arm and the order of the data. The same in all repeats, so that intervals do not "
        "cover it: the validation split. Starts alternate over repeats: by adam, by sgd. Training subsets of two "
        "repeats share up to 25% of their samples: intervals are then too short. "
        "Test data are the same throughout: intervals do not cover others."
    )
    row = analysis.frame(tmp_path, "start").iloc[0]
    assert row[["whole", "repeats", "starts"]].tolist() == ["w", 4, "by adam, by sgd"]


def test_given_weights_are_named(tmp_path: Path) -> None:
    definition = {**DEFINITION, "training": {"init": "weights", "weights": "timm"}}
    study(tmp_path, "direct", definition, init="weights")
    study(tmp_path, "first", {**DEFINITION, "training": {"init": "pretrain", "weights": "timm"}})
    said = what_seeds_varied(tmp_path)
    assert said["direct"].startswith("All arms start from given weights (timm), whose training is not in the record: ")
    assert "one floating-point model, pretrained from given weights (timm) with lion (" in said["first"]
