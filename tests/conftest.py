"""For every test: one thread, so that tests run side by side and sums do not depend on the machine."""

import gc
import os
import signal
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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

for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    # A shell lets its background jobs ignore Ctrl-C, and `nohup` the end of a terminal: tests send both.
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)


NEEDS = {"bucket": "s3", "shared_cluster": "ray", "finished": "slow", "ended": "slow"}
"""Marks by the fixtures that a test uses, itself or through others. `finished` and `ended` are whole studies."""


@pytest.hookimpl(tryfirst=True)  # before tests are left out by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need, and put slow files first: at the end no worker waits for a long one.

    Of these, those come first whose tests form a group, which runs on one worker.
    """
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in NEEDS:
                item.add_marker(NEEDS[fixture])
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    chains = {item.path for item in items if item.get_closest_marker("slow") and item.get_closest_marker("xdist_group")}
    items.sort(key=lambda item: (item.path not in slow, item.path not in chains))


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
