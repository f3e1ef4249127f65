"""A cluster of several raylets, whose nodes are killed, drained and join in the middle of a study."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.tuning.raylets import Driver, raylets
from tests.tuning.test_run import assert_whole
from tune_qat.results.reader import read_rows

pytestmark = pytest.mark.xdist_group("ray")

SPACE = """
[workload]
model = "lenet5"
dataset = "digits"
[quantization]
bits = [[4, 4]]
[training]
epochs = 6
init = "scratch"
[space]
optimizers = ["adam", "nesterov"]
batch_size = { low = 16, high = 32 }
[stages]
random = 1
search = 1
retrain = 1
[search]
startup_trials = 2
[judgement]
metric = "accuracy"
margin = 0.01
"""
WAITING = "sum(group['state'] == 'PENDING' for group in ray.util.placement_group_table().values())"
PLANNED = {"default": 2, "random": 2, "search": 2, "retrain": 2}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "nodes.toml"
    path.write_text(SPACE)
    return path


def attempts(results: Path) -> dict[str, list[list[int]]]:
    """Epochs that each attempt at a trial has recorded, by trial: of the files, not of the view that tidies them."""
    found: dict[tuple[str, int], list[int]] = {}
    for path in sorted((results / "epochs").rglob("*.parquet")):
        for row in pq.ParquetFile(path).read(["trial_key", "attempt", "epoch"]).to_pylist():
            found.setdefault((row["trial_key"], row["attempt"]), []).append(row["epoch"])
    keys = {key for key, _ in found}
    return {key: [found[key, number] for number in sorted(n for k, n in found if k == key)] for key in keys}


def assert_no_epoch_twice(results: Path) -> None:
    """An attempt goes on after the last checkpoint: at most the epoch whose checkpoint was not written is run again."""
    for key, parts in attempts(results).items():
        for before, after in zip(parts, parts[1:], strict=False):
            assert after[0] >= before[-1], (key, parts)


def test_trials_of_a_killed_node_go_on_elsewhere_from_their_checkpoints(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with raylets(0, 1, 1) as cluster, Driver(cluster, space, results) as driver:
        lost = driver.until(event="epoch", epoch=3, node="127.0.0.3")
        cluster.kill(3)
        driver.finish()
    assert_whole(results, PLANNED)
    assert_no_epoch_twice(results)
    rows = {row["trial_key"]: row for row in read_rows(results, "trials")}
    assert {key for key, row in rows.items() if row["n_restarts"]} == {lost["key"]}
    assert (rows[lost["key"]]["status"], rows[lost["key"]]["n_restarts"]) == ("completed", 1)
    assert [part[0] for part in attempts(results)[lost["key"]]] in ([1, 4], [1, 5]), "from its checkpoint"
    nodes = {event["node"] for event in driver.seen if event["event"] == "epoch" and event["key"] == lost["key"]}
    assert nodes == {"127.0.0.2", "127.0.0.3"}


def test_trials_of_a_drained_node_go_on_elsewhere(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with raylets(0, 1, 1) as cluster, Driver(cluster, space, results) as driver:
        driver.until(event="epoch", epoch=2, node="127.0.0.3")
        cluster.drain(3)
        driver.finish()
    assert_whole(results, PLANNED)
    assert_no_epoch_twice(results)


def test_a_node_that_joins_gets_work_beside_the_first(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    # Long enough for a node to start and to load what trials need, also on a machine that does much else.
    space.write_text(SPACE.replace("epochs = 6", "epochs = 24"))
    with raylets(0, 1) as cluster, Driver(cluster, space, results) as driver:
        driver.until(event="epoch", epoch=2)
        cluster.start(3)
        driver.until(event="epoch", node="127.0.0.3")
        driver.finish()
    assert_whole(results, PLANNED)
    work = Counter(event["node"] for event in driver.seen if event["event"] == "epoch")
    assert work["127.0.0.3"] >= 6 and work["127.0.0.2"] >= 6, work
    assert not any(row["n_restarts"] for row in read_rows(results, "trials"))


def test_a_cluster_without_nodes_is_waited_for_where_trials_may_wait(space: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    with raylets(0) as cluster:
        with Driver(cluster, space, results) as refused:
            assert refused.process.wait(60) == 1
            assert refused.process.stderr and "how many may wait: --max-concurrent N" in refused.process.stderr.read()
        with Driver(cluster, space, results, "2") as driver:
            driver.until(event="said", text="no node has room for a trial yet: up to 2 wait for nodes to join")
            # What an autoscaler would see: as many trials as were asked for, and no more.
            cluster.ask_until(f"{WAITING} == 2")
            cluster.start(2)
            driver.finish()
    assert_whole(results, PLANNED)
