"""For every test: one thread, so that tests run side by side and sums do not depend on the machine."""

import gc
import os
import signal
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.helpers.storage import Bucket, s3_bucket

if TYPE_CHECKING:
    from tests.helpers.shared_cluster import SharedCluster
    from tune_qat.study import Study

ROOT = Path(__file__).parents[1]
# Processes that tests start, Ray's among them, find this checkout from any folder, however the package is installed.
if str(ROOT) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
# Ray runs trials at niceness 15: beside the tests of another core they would wait for long.
os.environ.setdefault("RAY_worker_niceness", "0")
# Inductor otherwise starts processes that import torch, to compile two tiny programs at a time.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    # A shell lets its background jobs ignore Ctrl-C, and `nohup` the end of a terminal: tests send both.
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)


NEEDS = {"bucket": "s3", "shared_cluster": "ray", "finished": "slow", "ended": "slow"}
"""Marks by the fixtures that a test uses, itself or through others. `finished` and `ended` are whole studies."""
WAITING = ("ray", "raylets", "s3")
"""Marks of tests that wait for others more than they compute."""


@pytest.hookimpl(tryfirst=True)  # before tests are left out by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need, and order them: groups first, each on one worker, then slow files, then the others.

    Slow files that wait, for Ray or a server of S3, are spread over the others: at no time do all workers wait, and at
    the end none does.
    """
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in NEEDS:
                item.add_marker(NEEDS[fixture])
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    chains = {item.path for item in items if item.get_closest_marker("slow") and item.get_closest_marker("xdist_group")}
    waiting = {item.path for item in items if any(map(item.get_closest_marker, WAITING))} & slow - chains
    items.sort(key=lambda item: (item.path not in slow, item.path not in chains))
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.path in waiting:
            files.setdefault(item.path, []).append(item)
    items[:] = spread(list(files.values()), [item for item in items if item.path not in waiting])


def spread(files: list[list[pytest.Item]], others: list[pytest.Item]) -> list[pytest.Item]:
    """Put files between the others, after equal shares of their time; a slow test takes as long as fifty others."""
    costs = [50 if item.get_closest_marker("slow") else 1 for item in others]
    share = 0.7 * sum(costs) / max(1, len(files))
    ordered, left, so_far = [], iter(files), 0.0
    for item, cost in zip(others, costs, strict=True):
        ordered.append(item)
        so_far += cost
        if so_far >= share:
            ordered += next(left, [])
            so_far -= share
    return [*ordered, *(item for file in left for item in file)]


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole files: what a file makes once is made by one worker, and the controller counts 500 files.

    One test at a time, both workers make all of it, and the controller counts through 8,000 at each test that ends.
    """
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return str(super()._split_scope(nodeid)).partition("::")[0]

    config.option.loadscopereorder = False  # the order is that of `pytest_collection_modifyitems`
    return ByFile(config, log)


def pytest_sessionfinish() -> None:
    """Give everything back: bindings complain about objects that outlive the interpreter."""
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave libraries and tests out of later collections of garbage, as trials do: each asks for one at its end.

    With all that a process of the suite has loaded, one takes half a second; while it is loaded, they take five.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """A bucket on an S3 server of this test process."""
    # A name of its own each time: file systems are cached by it.
    with s3_bucket(f"tune-qat-{uuid.uuid4().hex[:12]}") as made:
        yield made


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator["SharedCluster"]:
    """The Ray cluster of this test process: from here on studies that are run in this process share it."""
    from tests.helpers.shared_cluster import SharedCluster  # not at the top: most tests need no Ray

    # Sockets lie here, whose paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="tq", dir="/tmp", ignore_cleanup_errors=True) as folder:
        shared = SharedCluster(Path(folder))
        with shared.used():
            yield shared


@pytest.fixture
def own_cluster() -> None:
    """For tests that start a Ray cluster in this process: the shared one has ended, if there was one."""
    from tests.helpers.shared_cluster import SharedCluster

    SharedCluster.end_all()


@pytest.fixture
def no_cluster(own_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray does not run in this process, and may not be started."""
    import ray

    monkeypatch.setattr(ray, "init", lambda *args, **options: pytest.fail("this needs no cluster"))


@pytest.fixture(scope="session")
def ended(shared_cluster: "SharedCluster", tmp_path_factory: pytest.TempPathFactory) -> tuple["Study", Path]:
    """A small study that has run to its end, for tests of what is done with its record afterwards.

    Two arms of every stage, one trial at a time and so always the same; ASHA has stopped some.
    Nothing in the folder may be changed: copy it.
    """
    from tests.helpers.studies import tiny_study
    from tune_qat.tuning.run import run

    stages = {"default": True, "random": 1, "search": 4, "retrain": 2}
    study = tiny_study(quantization={"bits": [[4, 4]]}, stages=stages)
    results = tmp_path_factory.mktemp("ended") / "results"
    run(study, results=results, max_concurrent=1)
    return study, results
