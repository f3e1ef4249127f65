"""Studies of a model of the user's own: trained, gone on with, and looked at by commands that import nothing."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.cli.typed import tune_qat as tune_qat
from tests.helpers.own_code import forgetting_code, write_code, write_nets
from tests.helpers.runs import assert_whole, command, study_file, wait_for
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tests.tuning.raylets import Raylets
from tune_qat.config import StudyHalted, UsageError
from tune_qat.config.own_parts import allow
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.tuning.run import run

own_code = pytest.fixture(autouse=True)(forgetting_code)
PLANNED = {"pretrain": 1, "default": 1, "search": 2, "retrain": 1}
BUILDS_ANOTHER = "from torch import nn\n\n\ndef hidden(pixels):\n    return nn.Linear(pixels, 12), nn.Tanh()\n"


def own_study(model: str, **changes: Any) -> Study:
    """One arm of a model of the user's own."""
    return tiny_study(
        workload={"model": model, "dataset": "digits", "options": {"train_limit": 128}},
        quantization={"bits": [[4, 4]]},
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        stages={"search": 2, "retrain": 1},
        **changes,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The folder of the code and the study file, and the record; the code is not imported any more."""
    folder = tmp_path_factory.mktemp("own")
    forgetting = contextmanager(forgetting_code)
    with forgetting():
        study = own_study(write_nets(folder / "code", "oc_nets"))
        allow([folder / "code"])
        run_here(study, folder / "results")
    (folder / "code/oc_nets/imported").unlink()
    study_file(folder, study)
    yield folder, folder / "results"


@pytest.fixture
def mine(ran: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all of it, to be changed; its code could be imported by whoever tried."""
    shutil.copytree(ran[0], tmp_path / "mine")
    monkeypatch.syspath_prepend(tmp_path / "mine/code")
    return tmp_path / "mine"


def imported(folder: Path) -> bool:
    return (folder / "code/oc_nets/imported").exists()


def change_source(folder: Path) -> None:
    write_code(folder / "code/oc_nets", {"parts.py": BUILDS_ANOTHER})


def test_the_key_and_the_row_have_the_hash_of_the_source(ran: tuple[Path, Path]) -> None:
    assert_whole(ran[1], PLANNED)
    for row in read_rows(ran[1], "trials"):
        sources = json.loads(row["params_json"])["sources"]
        assert list(sources) == ["oc_nets"] and len(sources["oc_nets"]) == 64
        assert json.loads(row["sources_json"]) == sources


def test_the_same_source_runs_nothing_and_another_one_everything(mine: Path) -> None:
    study = Study.load(str(mine / "tiny.toml"))
    allow([mine / "code"])
    assert run_here(study, mine / "results") == ([], ["5 recorded, 0 new"])
    change_source(mine)
    trained, said = run_here(study, mine / "results", accept_changed_code=True)
    assert (trained, said) == ([], ["5 recorded, 0 new"])
    trained, said = run_here(study, mine / "results")
    assert len(trained) == 5
    assert said[1].startswith("5 recorded trials do not fit any more: source of oc_nets ")
    assert "(--accept-changed-code counts them all the same)" in said[1]


def test_accepted_code_keeps_the_key_and_the_row_says_what_ran(mine: Path) -> None:
    study = Study.load(str(mine / "tiny.toml"), {"stages.retrain": 2})
    before = {row["params_json"] for row in read_rows(mine / "results", "trials")}
    change_source(mine)
    allow([mine / "code"])
    trained, _ = run_here(study, mine / "results", accept_changed_code=True)
    rows = read_rows(mine / "results", "trials")
    (row,) = (row for row in rows if row["trial_key"] in trained)
    keyed, what_ran = json.loads(row["params_json"])["sources"], json.loads(row["sources_json"])
    assert {json.dumps(json.loads(text)["sources"]) for text in before} == {json.dumps(keyed)}
    assert keyed["oc_nets"] != what_ran["oc_nets"]


def test_a_source_that_changes_while_the_study_runs_stops_it(mine: Path) -> None:
    allow([mine / "code"])
    study = Study.load(str(mine / "tiny.toml"), {"stages.retrain": 3, "name": "other"})

    def change(plan: Any, report: Any) -> None:
        change_source(mine)

    with pytest.raises(StudyHalted, match="oc_nets has another source here"):
        run_here(study, mine / "fresh", watch=change)


@pytest.mark.slow
def test_commands_that_look_at_a_record_import_nothing(mine: Path, tune_qat: Any) -> None:
    study, results, code = str(mine / "tiny.toml"), str(mine / "results"), str(mine / "code")
    for words in (
        ("plan", study, "--results", results),
        ("plan", study, "--results", results, "--code", code),
        ("plan", study, "--results", results, "--code", code, "--set", "space.batch_size.low=1"),
        ("query", results, "leaderboard"),
        ("report", results, "-o", "page.html"),
        ("status", results),
        ("simulate", results),
        ("simulate", study),
        ("edges", results),
        ("widen", results, "-o", "wide.toml", "--batch-size", "4:128"),
        ("compact", results),
    ):
        done = tune_qat(*words)
        assert done.code == 0, (words, done.err)
        assert not imported(mine) and "oc_nets" not in sys.modules, words


def test_commands_that_need_the_code_ask_for_it(mine: Path, tune_qat: Any) -> None:
    study, results = str(mine / "tiny.toml"), str(mine / "results")
    key = read_rows(mine / "results", "trials")[0]["trial_key"]
    for words in (
        ("run", study, "--results", results),
        ("train", "--model", "oc_nets.nets:build", "--dataset", "digits"),
        ("rerun", results, key),
        ("export", results, "-o", "model.onnx"),
        ("launch", study, "--on", "ray", "--results", "s3://bucket/results"),
    ):
        done = tune_qat(*words)
        assert done.code == 2, (words, done)
        assert "oc_nets/nets.py" in done.err and f"tune-qat {words[0]} " in done.err and "--code DIR" in done.err
        assert not imported(mine), words


def test_a_record_that_names_another_module_imports_nothing(mine: Path, tune_qat: Any) -> None:
    """What a record says decides on no import: neither a module of Python nor one that lies elsewhere."""
    from tests.rerun.test_rerun import change

    row = next(row for row in read_rows(mine / "results", "trials") if row["stage"] == "retrain")
    write_code(mine / "code", {"oc_evil.py": "from pathlib import Path\nPath(__file__).with_name('evil').touch()\n"})
    for name in ("shutil:rmtree", "oc_evil:build", "os:system"):
        params = {**json.loads(row["params_json"]), "model": name}
        change(mine / "results", row, params_json=json.dumps(params))
        for words in (
            ("rerun", str(mine / "results"), row["trial_key"]),
            ("export", str(mine / "results"), "-o", "x.pt"),
        ):
            done = tune_qat(*words, "--code", str(mine / "code"))
            assert done.code == 2 and "Traceback" not in done.err, (name, words, done)
    assert not (mine / "code/evil").exists()


def test_plan_compares_the_source(mine: Path, tune_qat: Any) -> None:
    words = ("plan", str(mine / "tiny.toml"), "--results", str(mine / "results"))
    assert (
        "reuses 5 recorded, takes over nothing, runs 0" in tune_qat(*words).out
        and "taken as recorded (oc_nets " in tune_qat(*words).out
    )
    change_source(mine)
    assert "reuses 5 recorded, takes over nothing, runs 0" in tune_qat(*words).out
    with_code = tune_qat(*words, "--code", str(mine / "code")).out
    assert (
        "reuses nothing, takes over nothing, runs 5" in with_code
        and "5 recorded trials do not fit any more: source of oc_nets" in with_code
    )
    accepted = tune_qat(*words, "--code", str(mine / "code"), "--accept-changed-code").out
    assert "reuses 5 recorded, takes over nothing, runs 0" in accepted
    assert not imported(mine)


def test_a_rerun_is_the_same_and_of_another_source_it_is_refused(mine: Path, tune_qat: Any) -> None:
    key = next(row["trial_key"] for row in read_rows(mine / "results", "trials") if row["stage"] == "retrain")
    words = ("rerun", str(mine / "results"), key, "--code", str(mine / "code"))
    done = tune_qat(*words)
    assert done.code == 0 and "The same curve bit for bit" in done.out, done
    change_source(mine)
    done = tune_qat(*words)
    assert done.code == 2 and "another source of oc_nets" in done.err and "--accept-changed-code" in done.err
    done = tune_qat(*words, "--accept-changed-code")
    assert done.code == 0 and "source of own parts oc_nets " in done.out, done


@pytest.mark.slow
def test_an_exported_file_says_which_source_it_is_of(mine: Path, tune_qat: Any) -> None:
    words = ("export", str(mine / "results"), "-o", "model.onnx", "--code", str(mine / "code"))
    assert tune_qat(*words).code == 0

    def about() -> Any:
        return json.loads(onnx.load("model.onnx").metadata_props[0].value)

    trained = about()["sources"]
    assert list(trained) == ["oc_nets"] and "exported_with_sources" not in about()
    os.remove("model.onnx")
    change_source(mine)
    refused = tune_qat(*words)
    assert refused.code == 2 and "another source of oc_nets" in refused.err and not os.path.exists("model.onnx")
    assert tune_qat(*words, "--accept-changed-code").code == 0
    assert about()["sources"] == trained != about()["exported_with_sources"]


def test_a_widened_study_goes_on_with_the_code_and_trains_nothing_again(mine: Path, tune_qat: Any) -> None:
    results, wide = mine / "results", mine / "wide.toml"
    typed = ("widen", str(results), "-o", str(wide), "--batch-size", "4:128", "--trials", "4", "--arm", "adam-w4a4")
    assert tune_qat(*typed).code == 0 and not imported(mine)
    before = {row["trial_key"]: row for row in read_rows(results, "trials")}
    allow([mine / "code"])
    trained, said = run_here(Study.load(str(wide)), results)
    assert said[0].startswith("5 recorded, ") and "oc_nets" in sys.modules
    rows = {row["trial_key"]: row for row in read_rows(results, "trials")}
    assert {key: rows[key] for key in before} == before and set(trained) == set(rows) - set(before)
    (sources,) = {rows[key]["sources_json"] for key in trained}
    assert sources == rows[next(iter(before))]["sources_json"]


def test_train_takes_an_own_model(mine: Path, tune_qat: Any) -> None:
    words = ("train", "--model", "oc_nets.nets:build", "--dataset", "digits", "--epochs", "1")
    done = tune_qat(*words, "--code", str(mine / "code"), "--set", "dataset_options.train_limit=128")
    assert done.code == 0 and done.out.startswith("epoch 1/1"), done


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("shared_cluster")
def test_trial_processes_on_this_machine_import_it(tmp_path: Path) -> None:
    study = own_study(write_nets(tmp_path / "code", "oc_local"))
    with pytest.raises(UsageError, match="oc_local/nets.py"):
        run(study, results=tmp_path / "results")
    allow([tmp_path / "code"])
    assert run(study, results=tmp_path / "results").complete
    assert_whole(tmp_path / "results", PLANNED)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.raylets
@pytest.mark.xdist_group("nodes")
class TestNodes:
    def test_the_code_travels_to_nodes_that_were_started_elsewhere_and_again_after_a_kill(
        self, nodes: Raylets, tmp_path: Path
    ) -> None:
        nodes.keep(1)
        study = own_study(write_nets(tmp_path / "code", "oc_sent"), training={"epochs": 8})
        write_code(tmp_path / "code/oc_sent", {"data.txt": "does not travel"})
        space, results = study_file(tmp_path, study), tmp_path / "results"
        typed, pipe = command(space, results, "--address", nodes.address, "--code"), subprocess.PIPE
        code, env = str(tmp_path / "code"), nodes.environment
        with subprocess.Popen([*typed, code], stdout=pipe, stderr=pipe, env=env, text=True) as process:
            wait_for(results, 2, process)
            process.kill()
        # The folder of the code is now that of the driver, which Ray puts on the path of its processes, too.
        ended = subprocess.run([*typed, "."], cwd=code, env=env, capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stderr
        assert_whole(results, PLANNED)
        (text,) = {row["sources_json"] for row in read_rows(results, "trials")}
        assert list(json.loads(text)) == ["oc_sent"]

    def test_a_node_where_it_does_not_import_is_named_before_the_first_trial(
        self, nodes: Raylets, tmp_path: Path
    ) -> None:
        """It imports a file beside its package: on this machine it is there, and it is not sent."""
        nodes.keep(1)
        space = study_file(tmp_path, own_study(write_nets(tmp_path / "code", "oc_beside")))
        write_code(tmp_path / "code", {"oc_helper.py": "", "oc_beside/parts.py": f"import oc_helper\n{BUILDS_ANOTHER}"})
        typed = command(space, tmp_path / "results", "--address", nodes.address, "--code", str(tmp_path / "code"))
        ended = subprocess.run(typed, env=nodes.environment, capture_output=True, text=True, timeout=200)
        assert ended.returncode == 1 and "No module named 'oc_helper'" in ended.stderr, ended.stderr
        assert "Nodes of the cluster cannot use the own parts" in ended.stderr and "Traceback" not in ended.stderr
        assert not read_rows(tmp_path / "results", "trials")
