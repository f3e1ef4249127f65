"""The command line, in this process: what it prints, its exit codes, and that a mistake writes nothing."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import analysis
from tests.cli.typed import Done, assert_refused
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled
from tests.helpers.rows import write as write_record
from tests.helpers.storage import Bucket
from tests.helpers.study_files import write
from tests.widen.records import full
from tune_qat import Scheme, TrialConfig, __version__, cli, optimizers
from tune_qat.cli.catalogue import KINDS, _table
from tune_qat.cli.help_text import EXAMPLES
from tune_qat.config import Dampening, Freezing, Interrupted, TooManyFailures
from tune_qat.results.schema import TABLES
from tune_qat.storage.paths import storage_path
from tune_qat.study import Study
from tune_qat.training.alone import train
from tune_qat.tuning.budget import Budget

COMMANDS = (
    *("list", "plan", "run", "train", "export", "rerun", "status", "edges", "widen", "simulate", "query", "compact"),
    *("launch", "check", "doctor", "import", "report", "show", "data"),
)


def registered(group: Any = None, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command, those of groups too, by the words that call it."""
    within: Any = group or typer.main.get_command(cli.app)
    for name, command in within.commands.items():
        yield (*names, name), command
        if hasattr(command, "commands"):
            yield from registered(command, *names, name)


class TestHelp:
    @pytest.mark.parametrize("words", [(), *(words for words, _ in registered())], ids=" ".join)
    def test_is_readable(self, tune_qat: Any, words: tuple[str, ...]) -> None:
        done = tune_qat(*words, "--help")
        assert done == tune_qat(*words, "-h")
        assert done.code == 0
        assert done.out.startswith("Usage: tune-qat")
        assert words or "..." not in done.out.replace("[ARGS]...", ""), "the first sentence of a command fits its line"
        assert all(len(line) <= 80 for line in done.out.splitlines())
        assert not re.search(r"<(str|int|float|path|bool)|\{", done.out), "values are named by words"
        assert not words or "Example" in done.out

    def test_every_argument_and_option_says_what_it_is(self) -> None:
        for words, command in registered():
            for parameter in (one for one in command.params if not getattr(one, "hidden", False)):
                assert parameter.help, (words, parameter.name)
                assert parameter.metavar or getattr(parameter, "is_flag", False), (words, parameter.name)

    def test_commands_are_listed_by_group_in_the_order_of_a_reader(self, tune_qat: Any) -> None:
        out = tune_qat("--help").out
        assert all(f"\n  {command} " in out for command in COMMANDS)
        assert "\nCommands:" not in out, "a command that is in no group of help_text.GROUPS"
        places = [out.index(f"\n  {name} ") for name in ("list", "run", "report", "edges", "train", "doctor")]
        assert places == sorted(places)

    @pytest.mark.parametrize("words", [words for words, _ in registered()], ids=" ".join)
    def test_examples_can_be_typed(self, words: tuple[str, ...]) -> None:
        known = dict(registered())
        assert EXAMPLES[" ".join(words)]
        for line in EXAMPLES[" ".join(words)]:
            program, *typed = shlex.split(line)
            called = max((one for one in known if one == tuple(typed[: len(one)])), key=len)
            assert program == "tune-qat" and called[: len(words)] == words
            assert known[called].make_context(called[-1], typed[len(called) :]) is not None

    def test_version_is_that_of_the_package(self, tune_qat: Any) -> None:
        assert tune_qat("--version") == Done(0, f"tune-qat {__version__}\n", "")

    @pytest.mark.parametrize(
        "arguments",
        [(), ("rnu",), ("plan",), ("plan", "quickstart", "--resutls", "x"), ("train", "--model", "lenet5"),
         ("plan", "quickstart", "--trials", "-1"), ("plan", "quickstart", "--trials", "x"),
         ("run", "quickstart", "--max-concurrent", "0"), ("run", "quickstart", "--cpus-per-trial", "0"),
         ("run", "quickstart", "--trial-budget", "0"), ("status",)],
    )  # fmt: skip
    def test_a_wrong_command_line_ends_with_2(self, tune_qat: Any, arguments: tuple[str, ...]) -> None:
        done = tune_qat(*arguments)
        assert done.code == 2
        assert "Usage: tune-qat" in done.err + done.out
        assert os.listdir() == []


class TestCompletion:
    @pytest.fixture
    def complete(self, tune_qat: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        """What bash offers for the last of these words."""

        def offered(*words: str) -> list[str]:
            monkeypatch.setenv("COMP_WORDS", " ".join(["tune-qat", *words]))
            monkeypatch.setenv("COMP_CWORD", str(len(words)))
            monkeypatch.setenv("_TUNE_QAT_COMPLETE", "complete_bash")
            found: list[str] = tune_qat().out.split()
            return found

        return offered

    def test_of_commands_studies_files_and_kinds(self, complete: Any, tmp_path: Path) -> None:
        (tmp_path / "here" / "folder").mkdir()
        for name in ("quick.toml", "folder/mine.toml", "folder/notes.txt"):
            (tmp_path / "here" / name).touch()
        assert sorted(complete("re")) == ["report", "rerun"]
        assert complete("run", "quick") == ["quickstart", "quick.toml"]
        assert complete("plan", "fo") == ["folder/"]
        assert complete("plan", "folder/") == ["folder/mine.toml"]
        assert complete("list", "o") == ["optimizers"]
        assert "--time-budget" in complete("run", "--t")


class TestList:
    def test_names_everything_with_a_line_each(self, tune_qat: Any) -> None:
        from tune_qat.data.table import DATASETS
        from tune_qat.data.tasks import TASKS
        from tune_qat.models import MODELS
        from tune_qat.quantizers import QUANTIZERS
        from tune_qat.study.file import bundled

        done = tune_qat("list", "--json")
        assert done.code == 0
        found = {kind: [row["name"] for row in rows] for kind, rows in json.loads(done.out).items()}
        studies = found.pop("studies")
        assert sorted(studies) == sorted(bundled())
        assert list(found.values()) == [
            list(one) for one in (MODELS, DATASETS, TASKS, QUANTIZERS, optimizers.OPTIMIZERS)
        ]
        assert all(row["summary"] for rows in json.loads(done.out).values() for row in rows)

    def test_begins_where_one_starts_and_takes_the_files_of_a_study_together(self, tune_qat: Any) -> None:
        out = tune_qat("list").out
        assert out.startswith("studies: start here\n  quickstart  ")
        titles = [line for line in out.splitlines() if line and not line.startswith(" ")]
        assert titles[3:] == ["studies: full size, as published", *KINDS[1:]]
        assert re.search(r"\n  lsq_optimizers_mnist_2bit_1 \.\. 3 +Does 2-bit LSQ .* at 2/2\.\n", out)

    def test_takes_a_kind(self, tune_qat: Any) -> None:
        out = tune_qat("list", "tasks").out
        assert out.splitlines()[0] == "tasks" and "super_resolution" in out and "lenet5" not in out
        assert_refused(tune_qat("list", "task"), 2, "list takes one of studies,", "Did you mean 'tasks'?")

    def test_goes_on_under_itself_where_a_line_is_too_long(self) -> None:
        known = {"lenet5": "LeNet-5, ReLU and max pooling", "a": "b"}
        assert _table("models", known, 32).splitlines() == [
            "models",
            "  lenet5  LeNet-5, ReLU and max",
            "          pooling",
            "  a       b",
        ]


class TestRun:
    """Without Ray: `tests/tuning` runs studies."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
        """What the engine was asked; a study ends as the last call's `complete` says."""
        made: list[dict[str, Any]] = []

        def run(study: Any, **given: Any) -> Any:
            made.append({"study": study, **given})
            if given["results"] == Path("failing"):
                raise TooManyFailures("3 trials ended in an error.")
            return SimpleNamespace(complete=given["results"] != Path("cut"))

        for name, module in (
            ("tune_qat.tuning.run", SimpleNamespace(run=run)),
            (
                "tune_qat.cli.run_summary",
                SimpleNamespace(ending=lambda study, outcome, **given: f"ended {given['again']}"),
            ),
        ):
            monkeypatch.setitem(sys.modules, name, module)
        yield made

    def test_hands_everything_to_the_engine(self, tune_qat: Any, calls: list[dict[str, Any]], small: str) -> None:
        done = tune_qat("run", small, "--results", "r s", "--data-dir", "d", "--address", "auto", "--trials", "2",
                        "--max-concurrent", "3", "--cpus-per-trial", "2", "--gpus-per-trial", "0.5",
                        "--time-budget", "90s",
                        "--trial-budget", "7", "--gpu-hours", "1.5", "--set", "seed=4", "--no-progress")  # fmt: skip
        assert done.code == 0
        (call,) = calls
        assert (call["study"].stages.search, call["study"].seed) == (2, 4)
        expected = {"results": Path("r s"), "data_dir": Path("d"), "address": "auto", "max_concurrent": 3,
                    "cpus_per_trial": 2.0, "gpus_per_trial": 0.5,
                    "budget": Budget(seconds=90.0, trials=7, gpu_hours=1.5)}  # fmt: skip
        assert {name: call[name] for name in expected} == expected
        # The line that resumes can be pasted as it is.
        assert f"ended tune-qat run {small} --results 'r s'" in done.out

    def test_what_is_left_out_is_left_to_the_engine(self, tune_qat: Any, calls: list[dict[str, Any]]) -> None:
        assert tune_qat("run", "quickstart").code == 0
        left = {"results": Path("results"), "data_dir": None, "address": "local", "max_concurrent": None,
                "cpus_per_trial": 1.0, "gpus_per_trial": None, "budget": Budget()}  # fmt: skip
        assert {name: calls[0][name] for name in left} == left

    @pytest.mark.parametrize(
        ("text", "seconds"), [("90s", 90), ("30m", 1800), ("8h", 28800), ("1.5h", 5400), ("2d", 172800)]
    )
    def test_a_time_budget_has_a_unit(
        self, tune_qat: Any, calls: list[dict[str, Any]], text: str, seconds: float
    ) -> None:
        tune_qat("run", "quickstart", "--time-budget", text)
        assert calls[0]["budget"] == Budget(seconds=seconds)

    def test_an_unfinished_study_ends_with_4(self, tune_qat: Any, calls: list[dict[str, Any]]) -> None:
        assert tune_qat("run", "quickstart", "--results", "cut").code == 4

    def test_too_many_failures_end_with_3(self, tune_qat: Any, calls: list[dict[str, Any]]) -> None:
        assert_refused(tune_qat("run", "quickstart", "--results", "failing"), 3, "error: 3 trials ended in an error.")

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            *(
                (("quickstart", "--time-budget", text), "--time-budget takes a number with a unit")
                for text in ("", "abc", "30", "-3m", "0s", "nans", "infh", "1e400h", "m", "30x")
            ),
            (("quickstart", "--set", 'space.optimizers=["adamm"]'), "Unknown optimizer 'adamm'"),
            (("nowhere.toml",), "No study 'nowhere.toml'"),
            (("quickstart", "--address", "ray://h:10001"), "ray job submit --address http://h:8265"),
            (("quickstart", "--address=ray://h:10001"), "-- tune-qat run quickstart --address=auto --results SHARED"),
            (("quickstart", "--address", "ray://h:10001", "--results", "s3://b/r"), "--results s3://b/r --submit"),
        ],
    )
    def test_a_mistake_is_found_before_ray_is_imported(
        self, tune_qat: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], part: str
    ) -> None:
        monkeypatch.setitem(sys.modules, "tune_qat.tuning.run", None)  # importing it would be an ImportError
        assert_refused(tune_qat("run", *arguments), 2, part)


DIGITS = ("--model", "lenet5", "--dataset", "digits", "--data-option", "train_limit=64", "--batch-size", "16")


class TestTrain:
    def test_prints_a_line_an_epoch(self, tune_qat: Any) -> None:
        done = tune_qat("train", *DIGITS, "--epochs", "2")
        assert (done.code, done.err) == (0, "")
        assert [line[:20] for line in done.out.splitlines()] == ["epoch 1/2  train los", "epoch 2/2  train los"]
        assert "test" not in done.out
        assert os.listdir() == []

    def test_json_has_the_numbers_of_python_in_the_fields_of_the_record(self, tune_qat: Any) -> None:
        done = tune_qat("train", *DIGITS, "--epochs", "2", "--optimizer", "nesterov", "--option", "momentum=0.8",
                        "--learning-rate", "0.01", "--seed", "3", "--schedule", "step", "--warmup-epochs", "0.5",
                        "--quantizer-lr-multiplier", "0.5", "--weight-bits", "3", "--first-last-bits", "4",
                        "--ste", "round_then_clip", "--test", "--json")  # fmt: skip
        rows = [json.loads(line) for line in done.out.splitlines()]
        config = TrialConfig(
            model="lenet5",
            dataset="digits",
            dataset_options={"split_seed": 0, "train_limit": 64, "augment": "none"},
            scheme=Scheme(weight_bits=3, first_last_bits=4, ste="round_then_clip"),
            optimizer="nesterov",
            learning_rate=0.01,
            optimizer_options={"momentum": 0.8, "weight_decay": 0.0},
            quantizer_lr_multiplier=0.5,
            batch_size=16,
            epochs=2,
            schedule="step",
            warmup_epochs=0.5,
            seed=3,
            init_seed=3,
        )
        for row, result in zip(rows, train(config, test=True, device="cpu"), strict=True):
            same = {name: value for name, value in row.items() if name not in ("wall_s", "device_s")}
            assert same == {name: getattr(result, name) for name in same}
        assert set(rows[0]) <= set(TABLES["epochs"].names)
        assert rows[0]["test_metric"] is None
        assert 0 <= rows[1]["test_metric"] <= 1

    def test_recipes_against_oscillations(self, tune_qat: Any) -> None:
        done = tune_qat("train", *DIGITS, "--model", "lenet5_bn", "--epochs", "2", "--bn-reestimation-batches", "2",
                        "--freezing", "threshold_start=0.05", "--freezing", "threshold_end=0.04",
                        "--freezing", "momentum=0.02", "--dampening", "weight=0.5", "--json")  # fmt: skip
        config = TrialConfig(
            model="lenet5_bn",
            dataset="digits",
            dataset_options={"split_seed": 0, "train_limit": 64, "augment": "none"},
            scheme=Scheme(),
            optimizer="adam",
            learning_rate=1e-3,
            optimizer_options=optimizers.resolve_options("adam", {}),
            batch_size=16,
            epochs=2,
            bn_reestimation_batches=2,
            freezing=Freezing(threshold_start=0.05, threshold_end=0.04, momentum=0.02),
            dampening=Dampening(weight=0.5),
        )
        for line, result in zip(done.out.splitlines(), train(config, device="cpu"), strict=True):
            row = json.loads(line)
            assert all(row[name] == getattr(result, name) for name in ("train_loss", "val_metric", "val_metric_pre_bn"))
            assert result.val_metric_pre_bn is not None

    def test_a_learning_rate_left_out_is_the_documented_one(self, tune_qat: Any) -> None:
        def losses(*more: str) -> list[float]:
            lines = tune_qat("train", *DIGITS, "--epochs", "1", "--optimizer", "lion", "--json", *more).out.splitlines()
            return [json.loads(line)["train_loss"] for line in lines]

        assert losses() == losses("--learning-rate", "1e-4") != losses("--learning-rate", "1e-3")

    def test_a_schedule_left_out_is_the_optimizers_own(self, tune_qat: Any) -> None:
        def losses(*more: str) -> list[float]:
            done = tune_qat("train", *DIGITS, "--epochs", "2", "--optimizer", "schedule_free_adamw", "--json", *more)
            return [json.loads(line)["train_loss"] for line in done.out.splitlines()]

        assert losses() == losses("--schedule", "constant") != []

    def test_quantizers_may_have_their_own_optimizer(self, tune_qat: Any) -> None:
        def losses(*more: str) -> list[float]:
            done = tune_qat("train", *DIGITS, "--epochs", "2", "--optimizer", "sgd", "--json", *more)
            return [json.loads(line)["train_loss"] for line in done.out.splitlines()]

        own = losses("--quantizer-optimizer", "adam")
        assert own == losses("--quantizer-optimizer", "adam", "--quantizer-learning-rate", "1e-3")
        assert own != losses("--quantizer-optimizer", "adam", "--quantizer-learning-rate", "1e-5") != losses()
        control = ("--weight-bits", "32", "--activation-bits", "32")
        assert losses(*control, "--quantizer-optimizer", "adam") == losses(*control)

    def test_a_diverged_trial_is_a_result(self, tune_qat: Any) -> None:
        done = tune_qat("train", *DIGITS, "--epochs", "2", "--optimizer", "sgd", "--learning-rate", "1e30")
        assert done.code == 0
        (line,) = done.out.splitlines()
        assert line.endswith("DIVERGED")
        assert "nan" not in line

    @pytest.mark.parametrize(
        ("more", "code", "parts"),
        [
            (("--model", "lenet"), 2, ["Unknown model 'lenet'. Did you mean 'lenet5'?"]),
            (("--dataset", "digit"), 2, ["Unknown dataset 'digit'. Did you mean 'digits'?"]),
            (("--optimizer", "adamm"), 2, ["Unknown optimizer 'adamm'. Did you mean 'adam'?"]),
            (("--quantizer", "lqs"), 2, ["Unknown quantizer 'lqs'. Did you mean 'lsq'?"]),
            (("--quantizer", "x", "--weight-bits", "32", "--activation-bits", "32"), 2, ["Unknown quantizer 'x'"]),
            (("--weight-bits", "1"), 2, ["2 to 8 bits of weights, or 32 (not quantized), but weight_bits is 1"]),
            (("--activation-bits", "9"), 2, ["activation_bits is 9"]),
            (("--first-last-bits", "1"), 2, ["first_last_bits is 1"]),
            (("--learning-rate", "0"), 2, ["learning_rate must be positive, but got 0.0"]),
            (("--learning-rate", "-1"), 2, ["learning_rate must be positive, but got -1.0"]),
            (("--learning-rate", "nan"), 2, ["learning_rate: must be a finite number, but got nan"]),
            (("--batch-size", "0"), 2, ["--batch-size"]),
            (("--batch-size", "4096"), 2, ["Batch size 4096 is larger than one epoch of 'digits' (64 samples)"]),
            (("--epochs", "0"), 2, ["--epochs"]),
            (("--seed", "-1"), 2, ["--seed"]),
            (("--threads", "0"), 2, ["--threads"]),
            (("--schedule", "x"), 2, ["schedule must be one of cosine, step, constant, but got 'x'"]),
            (
                ("--optimizer", "schedule_free_sgd", "--schedule", "cosine"),
                2,
                ["schedule must be 'constant' with optimizer 'schedule_free_sgd'"],
            ),
            (("--optimizer", "prodigy", "--quantizer-lr-multiplier", "0.1"), 2, ["'prodigy' estimates one rate"]),
            (("--quantizer-optimizer", "adamm"), 2, ["Unknown optimizer 'adamm'. Did you mean 'adam'?"]),
            (("--quantizer-optimizer", "muon"), 2, ["quantizer_optimizer cannot be 'muon'"]),
            (("--quantizer-learning-rate", "0.1"), 2, ["quantizer_optimizer.name: missing"]),
            (
                ("--quantizer-optimizer", "adam", "--quantizer-learning-rate", "0"),
                2,
                ["learning_rate of quantizer_optimizer must be positive, but got 0.0"],
            ),
            (
                ("--quantizer-optimizer", "adam", "--quantizer-lr-multiplier", "0.5"),
                2,
                ["quantizer_lr_multiplier must be 1 with a quantizer_optimizer"],
            ),
            (("--warmup-epochs", "3"), 2, ["below epochs (3)"]),
            (("--ste", "x"), 2, ["clip_then_round, round_then_clip, but got 'x'"]),
            (("--quantizer-lr-multiplier", "-1"), 2, ["quantizer_lr_multiplier must be at least 0"]),
            (("--option", "momentum=0.9"), 2, ["Optimizer 'adam' has no option 'momentum'", "beta1"]),
            (("--option", "eps"), 2, ["--option takes key=value, such as momentum=0.9, but got 'eps'"]),
            (
                ("--freezing", "start=0.1"),
                2,
                ["freezing.start: unknown key", "Known here: threshold_start, threshold_end, momentum"],
            ),
            (("--freezing", "threshold_start=0.1"), 2, ["freezing.threshold_end: missing"]),
            (("--dampening", "weight=-1"), 2, ["dampening weight must be above 0, but got -1.0"]),
            (
                ("--quantizer", "twn", "--weight-bits", "2", "--activation-bits", "32", "--dampening", "weight=1"),
                2,
                ["Weights of quantizer 'twn' cannot be dampened"],
            ),
            (("--data-option", "x"), 2, ["--data-option takes key=value, such as scale=2, but got 'x'"]),
            (("--data-option", "train_limit=x"), 2, ["'train_limit'", "whole number of at least 0, but got 'x'"]),
            (("--init", "no.pt"), 1, ["Checkpoint no.pt does not exist"]),
            (("--init", "."), 1, ["Checkpoint . is no regular file"]),
        ],
        ids=str,
    )
    def test_a_mistake_is_one_message(self, tune_qat: Any, more: tuple[str, ...], code: int, parts: list[str]) -> None:
        assert_refused(tune_qat("train", *DIGITS, *more), code, *parts)

    def test_a_model_of_another_task_is_refused(self, tune_qat: Any) -> None:
        done = tune_qat("train", "--model", "lenet5", "--dataset", "photos")
        assert_refused(done, 2, "Model 'lenet5' is made for classification", "super-resolution", "espcn")

    @pytest.mark.parametrize("folder", [(), ("--data-dir", "nowhere")])
    def test_missing_data_is_named_with_layout_and_source(self, tune_qat: Any, folder: tuple[str, ...]) -> None:
        done = tune_qat("train", "--model", "lenet5", "--dataset", "mnist", *folder)
        assert_refused(done, 1, "The data of dataset 'mnist' was not found", "Expected layout", "How to get it",
                       "--data-dir", *folder[1:])  # fmt: skip

    def test_ctrl_c_ends_with_4(self, tune_qat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*arguments: Any, **named: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr("tune_qat.training.alone.train", interrupted)
        assert_refused(tune_qat("train", *DIGITS), Interrupted.exit_code, "stopped by Ctrl-C")


class TestReading:
    @pytest.fixture
    def results(self, tmp_path: Path) -> str:
        folder = tmp_path / "results"
        study = SmallStudy(folder, "2026")
        study.trial(study.arm("adam"), "default", val_metric=0.5)
        write_record(folder, "2026", "studies", "study", filled("studies", complete=False))
        return str(folder)

    def test_status_says_how_far_each_arm_is(self, tune_qat: Any, results: str) -> None:
        done = tune_qat("status", results)
        assert done.code == 0
        assert "study 2026: not complete" in done.out
        assert "adam-w4a4" in done.out

    @pytest.mark.parametrize("command", [("status",), ("query", "leaderboard"), ("query", "SELECT 1")])
    def test_a_folder_without_a_record_ends_with_1(
        self, tune_qat: Any, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        name, *rest = command
        assert_refused(tune_qat(name, "nowhere", *rest), 1, "nowhere does not exist", "--results")
        assert_refused(tune_qat(name, str(tmp_path), *rest), 1, f"{tmp_path} holds no record of a study")

    def test_query_takes_sql(self, tune_qat: Any, results: str) -> None:
        sql = tune_qat("query", results, "SELECT study_id, optimizer FROM trials", "--format", "csv")
        assert (sql.code, sql.out) == (0, "study_id,optimizer\n2026,adam\n")

    def test_query_shows_the_columns_that_are_named(self, tune_qat: Any, results: str) -> None:
        asked = ("query", results, "SELECT study_id, optimizer, 1 AS one FROM trials", "--columns")
        assert tune_qat(*asked, "one, optimizer", "--format", "csv").out == "one,optimizer\n1,adam\n"
        assert tune_qat(*asked, "optimizer").out.split() == ["optimizer", "─────────", "adam", "1", "row"]
        wrong = tune_qat(*asked, "optimiser")
        assert_refused(wrong, 2, "no column 'optimiser'. Did you mean 'optimizer'?", "study_id, optimizer, one")

    def test_query_writes_files(self, tune_qat: Any, results: str, tmp_path: Path) -> None:
        path = tmp_path / "answer.parquet"
        done = tune_qat("query", results, "SELECT 1 AS one", "--format", "parquet", "-o", str(path))
        assert done == Done(0, "", "")
        assert path.read_bytes()[:4] == b"PAR1"

    def test_query_lists_its_questions_without_a_record(self, tune_qat: Any) -> None:
        done = tune_qat("query", "--list")
        assert done.code == 0
        listed = [line.split()[0] for line in done.out.splitlines()]
        assert listed == [*analysis.queries(), "verdicts", "badges"]

        assert tune_qat("query", "nowhere", "--list") == done

    def test_query_asks_several_results_at_once(self, tune_qat: Any, results: str, bucket: Bucket) -> None:
        remote = f"{bucket.uri}/several"
        study = SmallStudy(storage_path(remote), "remote")
        study.retrain(study.arm("lion"), 0.8, None)
        SmallStudy(Path("here"), "here").arm("sgd")
        counted = "SELECT study_id, optimizer FROM arms ORDER BY ALL"
        done = tune_qat("query", results, remote, "here", counted, "--format", "csv")
        assert (done.code, done.out) == (0, "study_id,optimizer\n2026,adam\nhere,sgd\nremote,lion\n")
        assert "remote" in tune_qat("query", remote, results, "leaderboard").out

    def test_ctrl_c_while_duckdb_answers_is_said_and_no_traceback(self, tune_qat: Any, results: str) -> None:
        slow = "SELECT count(*) FROM range(10000000) a, range(5000) b WHERE (a.range * b.range) % 7 = 3"  # some minutes
        press = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        press.start()
        done = tune_qat("query", results, slow)
        press.join()
        assert done.code == 4 and done.err == "error: stopped by Ctrl-C\n", done

    def test_query_says_which_study_is_in_two_results(self, tune_qat: Any, results: str, tmp_path: Path) -> None:
        SmallStudy(tmp_path / "other", "2026").arm("adam")
        assert_refused(tune_qat("query", results, str(tmp_path / "other"), "budget"), 2, "Study '2026' is in", "other")

    def test_query_names_a_file_that_is_not_parquet(self, tune_qat: Any, results: str) -> None:
        path = Path(results) / "trials" / "study_id=2026" / "notes.parquet"
        path.write_text("not Parquet")
        assert_refused(tune_qat("query", results, "leaderboard"), 1, f"{path} cannot be read as Parquet")

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            ((), "query takes results folders and then a question: SQL, or one of batch_norm_gap"),
            (("leaderbord",), "No question 'leaderbord'. Did you mean 'leaderboard'?"),
            (("SELECT nope FROM trials",), '"nope" not found'),
            (("SELEC 1",), "DuckDB cannot answer"),
            (("DROP VIEW trials",), "only reads"),
            (("SELECT 1", "--format", "xml"), "--format must be one of table, csv, json, parquet"),
            (("SELECT 1", "--format", "parquet"), "needs a file: -o FILE"),
            (("SELECT 1 AS a, 2 AS a", "--format", "json"), "Two columns are called 'a'"),
        ],
    )
    def test_a_wrong_question_ends_with_2(
        self, tune_qat: Any, results: str, arguments: tuple[str, ...], part: str
    ) -> None:
        assert_refused(tune_qat("query", results, *arguments), 2, part)

    def test_a_format_is_checked_before_the_folder_is_read(self, tune_qat: Any) -> None:
        assert_refused(tune_qat("query", "nowhere", "SELECT 1", "--format", "xml"), 2, "--format must be one of")


class TestWiden:
    @pytest.fixture
    def results(self, tmp_path: Path, small: str) -> str:
        """`small`, whose adam at 4/4 bits is best at the upper edge."""
        full(Study.load(small), tmp_path / "r", {"adam": {"learning_rate": 0.09}})
        return str(tmp_path / "r")

    def test_prints_a_file_that_runs_as_it_says(self, tune_qat: Any, results: str, tmp_path: Path) -> None:
        done = tune_qat("widen", results)
        assert (done.code, done.err) == (0, "")
        study = Study.load(write(tmp_path, done.out, "wide.toml"))
        assert study.dimensions("adam")["learning_rate"].high == 1
        assert os.listdir() == []

    def test_writes_a_file_and_says_what_moved_and_what_to_type(self, tune_qat: Any, results: str) -> None:
        done = tune_qat("widen", results, "-o", "wide file.toml", "--arm", "adam-w4a4", "--trials", "9")
        assert done.code == 0
        *said, command = done.out.splitlines()
        assert said[:3] == [
            "wide file.toml: study small",
            "  learning rate of adam: 1e-05..0.1 -> 1e-05..1",
            "  search trials of an arm: 6 -> 9",
        ]
        assert command == f"run      tune-qat run 'wide file.toml' --results {results}"
        assert os.listdir() == ["wide file.toml"]
        assert Study.load("wide file.toml").stages.search == 9

    @pytest.mark.slow
    def test_replaces_its_own_file_and_no_other(self, tune_qat: Any, results: str) -> None:
        tune_qat("widen", results, "-o", "wide.toml")
        assert tune_qat("widen", results, "-o", "wide.toml", "--trials", "20").code == 0
        assert Study.load("wide.toml").stages.search == 20
        own = Path("mine.toml")
        own.write_text("# Mine.\n")
        done = tune_qat("widen", results, "-o", "mine.toml")
        assert (done.code, own.read_text()) == (2, "# Mine.\n")
        assert "mine.toml is there already, and `tune-qat widen` did not write it" in done.err

    def test_what_cannot_be_written_leaves_nothing(self, tune_qat: Any, results: str) -> None:
        Path("../file").write_text("")
        assert_refused(tune_qat("widen", results, "-o", "../file/wide.toml"), 1, "../file/wide.toml cannot be written")

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            *(
                (("--learning-rate", text), "--learning-rate takes LOW:HIGH, such as 1e-5:1, but got")
                for text in ("", "1e-3", "1e-3:", ":1", "1:2:3", "a:b", "1e-3..1")
            ),
            *((("--learning-rate", text), "above 0") for text in ("0:1", "-1:1", "nan:1", "1e-3:inf")),
            (("--learning-rate", "1:0.1"), "LOW must be below HIGH, but got '1:0.1'"),
            (("--learning-rate", "1:1"), "LOW must be below HIGH"),
            (("--batch-size", "24:64"), "both ends must be powers of two, such as 16:256, but got '24:64'"),
            (("--batch-size", "0.5:64"), "powers of two"),
            (("--batch-size", "64:16"), "LOW must be at most HIGH"),
            (("--trials", "6"), "6 search trials already"),
            (("--study", "smal"), "holds no study 'smal' (--study). Did you mean 'small'?"),
            (("--arm", "adam"), "has no arm 'adam' (--arm)"),
            (("-o", "wide"), "-o must end in .toml, but got 'wide'"),
        ],
        ids=str,
    )
    def test_a_mistake_ends_with_2(self, tune_qat: Any, results: str, arguments: tuple[str, ...], part: str) -> None:
        assert_refused(tune_qat("widen", results, *arguments), 2, part)

    def test_edges_ends_with_the_command(self, tune_qat: Any, results: str) -> None:
        done = tune_qat("edges", results, "--study", "small")
        assert done.code == 0
        assert done.out.splitlines()[-1] == f"widen    tune-qat widen {results} -o wide.toml"
        assert_refused(tune_qat("edges", "nowhere"), 1, "nowhere does not exist")


def test_a_reader_that_stops_reading_is_no_error() -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "tune_qat", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout is not None and command.stderr is not None
    command.stdout.close()
    with command.stderr as errors:
        assert errors.read() == ""
    assert command.wait() == 0
