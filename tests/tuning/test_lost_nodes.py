"""A cluster of several raylets, whose nodes join, are killed and are drained in the middle of a study."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.helpers.runs import assert_whole, study_file
from tests.tuning.raylets import Driver, Raylets, address_of
from tests.tuning.sabotage import two_arms
from tune_qat.results.reader import read_rows

pytestmark = [pytest.mark.ray, pytest.mark.raylets, pytest.mark.slow, pytest.mark.xdist_group("nodes")]

WAITING = "sum(group['state'] == 'PENDING' for group in ray.util.placement_group_table().values())"
PLANNED = {"default": 2, "search": 2}


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return study_file(tmp_path, two_arms(stages={"search": 1, "retrain": 0}, search={"startup_trials": 2}))


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


def test_a_cluster_without_nodes_is_waited_for_where_trials_may_wait(
    nodes: Raylets, space: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    nodes.keep(0)
    with Driver(nodes, space, results, concurrent=2) as driver:
        driver.until(event="said", text="no node has room for a trial yet: up to 2 wait for nodes to join")
        # What an autoscaler would see: as many trials as were asked for, and no more.
        nodes.ask_until(f"{WAITING} == 2")
        nodes.add()
        driver.finish()
    assert_whole(results, PLANNED)


def test_a_trial_whose_node_is_killed_and_then_drained_goes_on_elsewhere_each_time(
    nodes: Raylets, space: Path, tmp_path: Path
) -> None:
    """Nodes that join get work at once: first the one that is killed, then the one that is drained."""
    results = tmp_path / "results"
    (stays,) = nodes.keep(1)
    with Driver(nodes, space, results, kind="Waits") as driver:
        driver.until(event="epoch", epoch=1)
        killed = nodes.add()
        lost = driver.until(event="epoch", epoch=3, node=address_of(killed))
        nodes.kill(killed)
        drained = nodes.add()
        driver.until(event="epoch", epoch=4, node=address_of(drained), key=lost["key"])
        nodes.drain(drained)
        (tmp_path / "go").touch()
        driver.finish()
    assert_whole(results, PLANNED)
    assert_no_epoch_twice(results)
    rows = {row["trial_key"]: row for row in read_rows(results, "trials")}
    assert {key for key, row in rows.items() if row["n_restarts"]} == {lost["key"]}
    assert rows[lost["key"]]["status"] == "completed"
    # A trial of a drained node is restored by Ray itself, where it is told in time: no start of ours.
    assert rows[lost["key"]]["n_restarts"] in (1, 2)
    assert [part[0] for part in attempts(results)[lost["key"]]] == [1, 4, 5], "from its checkpoint"
    epochs = [event for event in driver.seen if event["event"] == "epoch"]
    used = dict.fromkeys(event["node"] for event in epochs if event["key"] == lost["key"])
    assert list(used) == [address_of(one) for one in (killed, drained, stays)]
    assert {event["node"] for event in epochs if event["key"] != lost["key"]} == {address_of(stays)}
