"""The wider study: its ranges, its trials, its file."""

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.records import record_of
from tests.helpers.study_files import SMALL, changed, write
from tests.widen.records import full
from tune_qat.config import UsageError
from tune_qat.results.places import keep_places
from tune_qat.storage.paths import RemotePath, StoragePath, storage_path
from tune_qat.study import Study
from tune_qat.widen.area import growth
from tune_qat.widen.file import document
from tune_qat.widen.ranges import Wanted, widen

AT_EDGES = {"adam": {"learning_rate": 0.09, "batch_size": 8}, "nesterov": {"learning_rate": 2e-4}}


MORE_SEARCHED = """\
batch_size = { low = 8, high = 64 }
quantizer_lr_multiplier = { low = 0.01, high = 1.0 }
per_optimizer.adam.beta1 = { low = 0.5, high = 0.95 }
per_optimizer.nesterov.momentum = { low = 0.3, high = 0.9 }"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.load(write(tmp_path_factory.mktemp("study")))


@pytest.fixture(scope="module")
def plain(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results whose best values are in the middle of their ranges; not to be changed."""
    results = tmp_path_factory.mktemp("plain")
    full(study, results)
    return results


@pytest.fixture(scope="module")
def edges(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results whose best values are `AT_EDGES`; not to be changed."""
    results = tmp_path_factory.mktemp("edges")
    full(study, results, AT_EDGES)
    return results


def ranges(study: Study) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in study.space.optimizers:
        rate = study.dimensions(name)["learning_rate"]
        found[name] = (rate.low, rate.high)
    return found | {"batch_size": (study.space.batch_size.low, study.space.batch_size.high)}


class TestRanges:
    def test_from_the_edges(self, study: Study, edges: Path) -> None:
        widened = widen(edges, None, Wanted())
        # A decade or a power of two beyond the edge; 1e-4 / 10 is 1e-5, not the float beside it.
        assert ranges(widened.study) == {"adam": (1e-5, 1.0), "nesterov": (1e-5, 1.0), "batch_size": (4, 64)}

    def test_whoever_ran_the_study_gets_its_places_and_a_reader_what_is_published(self, tmp_path: Path) -> None:
        results, data = tmp_path / "r", str(tmp_path / "data")
        study = Study.load(write(tmp_path)).model_copy(update={"data_dir": data})
        full(study, results, AT_EDGES)
        keep_places(results, study.name, study.model_dump(mode="json"))
        assert widen(results, None, Wanted()).study.data_dir == data
        (results / "private" / f"study_id={study.name}.json").unlink()
        assert widen(results, None, Wanted()).study.data_dir == ".../data"

    def test_an_arm_picks_its_optimizer_alone(self, study: Study, edges: Path) -> None:
        widened = widen(edges, "small", Wanted(arms=["nesterov-w4a4"]))
        assert ranges(widened.study) == {"adam": (1e-5, 0.1), "nesterov": (1e-5, 1.0), "batch_size": (8, 64)}

    def test_the_widest_of_an_optimizers_arms_counts(self, study: Study, tmp_path: Path) -> None:
        record = full(study, tmp_path / "r", {"adam": {"learning_rate": 2e-5}})
        record.trial("adam-w4a4", "search", val_metric=0.95, learning_rate=0.5, batch_size=64)
        widened = widen(tmp_path / "r", None, Wanted())
        # 0.5, a default outside the range, has a decade of room as well.
        assert ranges(widened.study) == {"adam": (1e-6, 5.0), "nesterov": (1e-4, 1.0), "batch_size": (8, 128)}

    def test_what_is_given_goes_before_the_edges(self, study: Study, edges: Path) -> None:
        wanted = Wanted(arms=["adam-w4a4"], learning_rate=(1e-7, 10.0), batch_size=(1, 256), trials=30)
        widened = widen(edges, None, wanted)
        assert ranges(widened.study) == {"adam": (1e-7, 10.0), "nesterov": (1e-4, 1.0), "batch_size": (1, 256)}
        assert widened.study.stages.search == 30

    def test_nothing_else_changes_and_the_default_stays(self, study: Study, plain: Path) -> None:
        wide = widen(plain, None, Wanted(learning_rate=(1e-7, 10.0), batch_size=(8, 512))).study
        assert (wide.name, wide.seed, wide.training, wide.judgement) == (
            study.name, study.seed, study.training, study.judgement,
        )  # fmt: skip
        assert wide.space.batch_size.middle == study.space.batch_size.middle == 16
        for before, after in zip(study.arms(), wide.arms(), strict=True):
            optimizer = before.optimizers[0]
            assert study.default_config(before, optimizer) == wide.default_config(after, optimizer)
        away = widen(plain, None, Wanted(batch_size=(32, 64), trials=7))
        assert away.study.space.batch_size.default is None
        assert "The default trials are run again, at batch size 32: 16 is not in the range." in away.notes

    def test_batches_end_where_the_training_split_does(self, study: Study, tmp_path: Path) -> None:
        full(study, tmp_path / "r", n_train=300)
        widened = widen(tmp_path / "r", None, Wanted(batch_size=(8, 4096)))
        assert ranges(widened.study)["batch_size"] == (8, 256)
        assert "Batch sizes end at 256: the training split has 300 samples." in widened.notes
        with pytest.raises(UsageError, match="an epoch has 300 samples, which does not fill a batch of 512"):
            widen(tmp_path / "r", None, Wanted(batch_size=(512, 4096)))

    def test_every_searched_dimension_is_widened(self, tmp_path: Path) -> None:
        text = changed("batch_size = { low = 8, high = 64 }", MORE_SEARCHED)
        study = Study.load(write(tmp_path, text))
        record = record_of(study, tmp_path / "r")
        scheme = {"ste": "clip_then_round", "first_last_bits": 8}
        for arm in ("adam-w4a4", "nesterov-w4a4"):
            options = {"beta1": 0.94} if arm.startswith("adam") else {"momentum": 0.6}
            params = json.dumps({"scheme": scheme, "optimizer_options": options})
            known: dict[str, Any] = {"val_metric": 0.9, "learning_rate": 1e-2, "batch_size": 32, "params_json": params}
            record.trial(arm, "search", **known, quantizer_lr_multiplier=0.011)
        widened = widen(tmp_path / "r", None, Wanted())
        wide = {name: widened.study.dimensions(name) for name in ("adam", "nesterov")}
        assert (wide["adam"]["beta1"].low, wide["adam"]["beta1"].high) == (0.5, 0.975)
        assert wide["nesterov"]["momentum"] == study.dimensions("nesterov")["momentum"]
        # Two decades: an eighth of them is near, a quarter the step.
        assert wide["adam"]["quantizer_lr_multiplier"].low == pytest.approx(0.01 / 10**0.5, rel=1e-5)
        assert widened.notes[:2] == [
            "beta1 of adam: 0.5..0.95 -> 0.5..0.975",
            "quantizer lr multiplier: 0.01..1 -> 0.00316228..1",
        ]
        # log10(0.975 / 0.5) / log10(0.95 / 0.5) is 1.040, 2.5 of 2 decades 1.25: together 0.3006 more of 6.
        assert widened.study.stages.search == 6 + 2
        again = Study.load(write(tmp_path, document(widened, Path("r"), None), "wide.toml"))
        assert again == widened.study

    def test_what_failed_with_fresh_seeds_moves_nothing(self, study: Study, tmp_path: Path) -> None:
        record = full(study, tmp_path / "r", {"adam": {"learning_rate": 0.09, "config_id": "best"}})
        for arm in ("adam-w32a32", "adam-w4a4"):
            record.retrain(arm, None, None, None, learning_rate=0.09)
        with pytest.raises(UsageError, match="near an edge failed again with fresh seeds"):
            widen(tmp_path / "r", None, Wanted())

    def test_an_optimizer_that_finds_its_own_rate_gets_none(self, tmp_path: Path) -> None:
        own = Study.load(write(tmp_path, changed('["adam", "nesterov"]', '["adam", "prodigy"]')))
        full(own, tmp_path / "r")
        wide = widen(tmp_path / "r", None, Wanted(learning_rate=(1e-7, 10.0))).study
        assert "learning_rate" not in wide.dimensions("prodigy")
        assert wide.dimensions("adam")["learning_rate"].high == 10
        with pytest.raises(UsageError, match="prodigy is searched without a learning rate"):
            widen(tmp_path / "r", None, Wanted(arms=["prodigy-w4a4"], learning_rate=(1e-7, 10.0)))

    @pytest.mark.parametrize(
        ("wanted", "parts"),
        [
            (Wanted(), ["no best value lies near an edge", "--learning-rate LOW:HIGH"]),
            (Wanted(arms=["adam-w4a4"]), ["no best value of adam-w4a4 lies near"]),
            (Wanted(trials=100), ["no best value lies near", "More trials: tune-qat run"]),
            (Wanted(arms=["adam-w4a5"]), ["no arm 'adam-w4a5'", "Did you mean 'adam-w4a4'?", "nesterov-w32a32"]),
            (Wanted(batch_size=(8, 64)), ["ranges that study 'small' has already"]),
            (Wanted(learning_rate=(1e-5, 0.1), arms=["adam-w4a4"]), ["has already"]),
        ],
    )
    def test_what_moves_nothing_is_refused(self, plain: Path, wanted: Wanted, parts: list[str]) -> None:
        with pytest.raises(UsageError) as refused:
            widen(plain, None, wanted)
        assert all(part in str(refused.value) for part in parts), refused.value

    def test_of_several_studies_one_has_to_be_named(self, study: Study, tmp_path: Path) -> None:
        for name in ("one", "two"):
            full(study.model_copy(update={"name": name}), tmp_path / "r", AT_EDGES)
        with pytest.raises(UsageError, match=r"several studies \(one, two\)"):
            widen(tmp_path / "r", None, Wanted())
        assert widen(tmp_path / "r", "two", Wanted()).study.name == "two"


class TestTrials:
    """`small` plans 6 search trials; adam has 4 decades, nesterov 4, and 4 batch sizes."""

    @pytest.mark.parametrize(
        ("wanted", "trials"),
        [
            (Wanted(batch_size=(8, 128)), 6 + 2),  # 4 -> 5 powers: 1.5 more
            (Wanted(batch_size=(8, 1024)), 6 + 6),  # twice as many: exactly as many again
            (Wanted(arms=["adam-w4a4"], learning_rate=(1e-6, 1.0)), 6 + 3),  # 4 -> 6 decades
            (Wanted(learning_rate=(1e-6, 1.0), batch_size=(4, 128)), 6 + 8),  # 6 x 6 / (4 x 4) = 2.25: 7.5 more
            (Wanted(learning_rate=(1e-3, 1e-2)), 6),  # narrower: others in place of those that no longer fit
            (Wanted(learning_rate=(1e-3, 10.0), batch_size=(8, 64)), 6 + 3),  # adam: 2 of 4 decades stay, 2 are new
        ],
    )  # fmt: skip
    def test_fill_the_new_part_as_the_old_one_was(self, plain: Path, wanted: Wanted, trials: int) -> None:
        assert widen(plain, None, wanted).study.stages.search == trials

    def test_growth_is_the_share_of_new_points_of_a_grid(self, study: Study) -> None:
        """Counted, point by point, on a fine grid of the wide area."""

        def grid(optimizer: str, one: Study) -> set[tuple[int, int]]:
            rate, size = one.dimensions(optimizer)["learning_rate"], one.dimensions(optimizer)["batch_size"]
            ends = (round(1000 * math.log10(rate.low)), round(1000 * math.log10(rate.high)))
            powers = (int(math.log2(size.low)), int(math.log2(size.high)))
            return {(r, s) for r in range(*ends) for s in range(powers[0], powers[1] + 1)}

        for low, high, smallest, largest in ((1e-6, 1.0, 4, 64), (1e-4, 30.0, 32, 256), (1e-3, 1e-2, 8, 16)):
            values = study.model_dump(exclude_defaults=True)
            values["space"] |= {"learning_rate": {"low": low, "high": high}}
            values["space"]["batch_size"] = {"low": smallest, "high": largest}
            wide = Study.model_validate(values)
            counted = [
                len(grid(name, wide) - grid(name, study)) / len(grid(name, study)) for name in ("adam", "nesterov")
            ]
            # Ends of ranges are rounded to the grid, 4,000 points long.
            assert growth(study, wide) == pytest.approx(max(counted), abs=2e-3)
            joint, wide_joint = (
                Study.model_validate({**one.model_dump(exclude_defaults=True), "mode": "joint"})
                for one in (study, wide)
            )
            assert growth(joint, wide_joint) == pytest.approx(sum(counted) / 2, abs=2e-3)

    @pytest.mark.parametrize("trials", [1, 6])
    def test_a_number_with_which_nothing_new_would_be_run_is_refused(self, edges: Path, trials: int) -> None:
        with pytest.raises(UsageError, match=f"6 search trials already, .* with {trials}. Ask for more: --trials N"):
            widen(edges, None, Wanted(trials=trials))
        assert widen(edges, None, Wanted(trials=7)).study.stages.search == 7

    def test_narrower_ranges_say_how_many_trials_no_longer_fit(self, study: Study, tmp_path: Path) -> None:
        record = full(study, tmp_path / "r")
        for rate in (1e-5, 2e-4):
            record.trial("adam-w4a4", "search", val_metric=0.4, learning_rate=rate, batch_size=32)
        record.trial("adam-w4a4", "random", "diverged", learning_rate=2e-4, batch_size=32)
        record.trial("adam-w4a4", "random", learning_rate=1e-6, batch_size=32)  # which does not fit as it is
        record.trial("adam-w4a4", "default", learning_rate=2e-4, batch_size=32)  # which always does
        widened = widen(tmp_path / "r", None, Wanted(arms=["adam-w4a4"], learning_rate=(5e-4, 1e-1), trials=7))
        # And one of each arm of adam that `full` has.
        assert "5 recorded trials lie outside of the new ranges and no longer count." in widened.notes
        with pytest.raises(UsageError, match="have 5 search trials already"):
            widen(tmp_path / "r", None, Wanted(arms=["adam-w4a4"], learning_rate=(5e-4, 1e-1), trials=5))

    def test_a_study_without_a_search_needs_a_number(self, tmp_path: Path) -> None:
        none = Study.load(write(tmp_path, changed("search = 6", "search = 0")))
        full(none, tmp_path / "r", AT_EDGES)
        with pytest.raises(UsageError, match="plans no search trials.*--trials N"):
            widen(tmp_path / "r", None, Wanted())
        assert widen(tmp_path / "r", None, Wanted(trials=3)).study.stages.search == 3


class TestFile:
    def test_is_the_study_and_says_where_it_came_from(self, study: Study, edges: Path, tmp_path: Path) -> None:
        widened = widen(edges, None, Wanted())
        text = document(widened, Path("results"), tmp_path / "wide.toml")
        head, _, body = text.partition("\n\n")
        assert head.splitlines() == [
            "# Study small with other ranges, written by `tune-qat widen`.",
            "#",
            "#   tune-qat run wide.toml --results results",
            "#",
            "# learning rate of adam: 1e-05..0.1 -> 1e-05..1",
            "# learning rate of nesterov: 0.0001..1 -> 1e-05..1",
            "# batch size: 8..64 -> 4..64",
            "# search trials of an arm: 6 -> 10",
            "# Recorded trials that fit count, as long as the name stays; only what is new is run.",
        ]
        expected = tomllib.loads(SMALL)
        expected["space"] |= {
            "batch_size": {"low": 4, "high": 64},
            "per_optimizer": {
                "adam": {"learning_rate": {"low": 1e-5, "high": 1.0}},
                "nesterov": {"learning_rate": {"low": 1e-5, "high": 1.0}},
            },
        }
        expected["stages"]["search"] = 10
        assert tomllib.loads(body) == {"name": "small", **expected}, "nothing that is the default anyway"
        assert Study.load(write(tmp_path, text, "wide.toml")) == widened.study

    @pytest.mark.parametrize(
        ("results", "named"),
        [
            (RemotePath("s3://bucket/r"), "s3://bucket/r"),
            (Path("my r"), "'my r'"),
            (Path("/data/r"), "RESULTS"),
            (storage_path("~/r"), "RESULTS"),
            (storage_path("file:///data/r"), "RESULTS"),
        ],
    )
    def test_has_no_path_of_one_machine(self, edges: Path, tmp_path: Path, results: StoragePath, named: str) -> None:
        text = document(widen(edges, None, Wanted()), results, tmp_path / "wide.toml")
        assert f"--results {named}\n" in text
        assert str(tmp_path) not in text and str(edges) not in text

    @pytest.mark.parametrize(
        "name",
        ["quickstart", "joint_quickstart", "lenet5_mnist_methods", "lsq_plus_mixnet_s",
         "lsq_preresnet50_imagenet_distilled", "oscillations_mobilenet_v3_small_frozen"],
    )  # fmt: skip
    def test_a_bundled_study_stays_as_it_is_but_for_what_is_asked(self, name: str, tmp_path: Path) -> None:
        study = Study.load(name)
        record_of(study, tmp_path, n_train=10**7)
        widened = widen(tmp_path, None, Wanted(batch_size=(1, 2**20), trials=10**4))
        text = document(widened, Path("results"), None)
        read = tomllib.loads(text)
        assert Study.model_validate(read) == widened.study
        narrowed = {**widened.values, "space": {**widened.values["space"], "batch_size": study.space.batch_size}}
        back = Study.model_validate({**narrowed, "stages": study.stages})
        assert back == study

    def test_a_start_with_a_schedule_of_its_own_stays_as_it_was(self, tmp_path: Path) -> None:
        text = changed('init = "scratch"\n', "") + (
            '[pretrain]\noptimizer = "schedule_free_adamw"\nbatch_size = 8\nepochs = 2\n'
        )
        study = Study.load(write(tmp_path, text))
        full(study, tmp_path / "r", AT_EDGES)
        widened = widen(tmp_path / "r", None, Wanted())
        again = Study.load(write(tmp_path, document(widened, Path("r"), None), "wide.toml"))
        assert again.pretrain_config(0) == study.pretrain_config(0)
        assert again.pretrain_config(0).schedule == "constant"

    def test_a_file_that_would_not_read_back_is_not_handed_over(
        self, edges: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        widened = widen(edges, None, Wanted())
        monkeypatch.setattr("tune_qat.widen.file.toml_text", lambda values: SMALL)
        with pytest.raises(Exception, match="does not read back as it was meant"):
            document(widened, Path("results"), None)
