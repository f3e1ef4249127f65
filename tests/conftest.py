"""For every test: one thread, so that tests run side by side and sums do not depend on the machine."""

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.helpers.storage import Bucket, s3_bucket

if TYPE_CHECKING:
    from tune_qat.study import Study

for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    # A shell lets its background jobs ignore Ctrl-C, and `nohup` the end of a terminal: tests send both.
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)


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
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple["Study", Path]:
    """A small study that has run to its end, for tests of what is done with its record afterwards.

    Two arms of every stage, one trial at a time and so always the same; ASHA has stopped some.
    Nothing in the folder may be changed: copy it.
    """
    from tests.tuning.studies import tiny  # not at the top: most tests need no Ray
    from tune_qat.tuning.run import run

    study = tiny(quantization={"bits": [[4, 4]]}, stages={"default": True, "random": 1, "search": 4, "retrain": 2})
    results = tmp_path_factory.mktemp("ended") / "results"
    run(study, results=results, max_concurrent=1)
    return study, results
