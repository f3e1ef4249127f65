"""For every test: one thread, so that tests run side by side and sums do not depend on the machine."""

import signal
import uuid
from collections.abc import Iterator

import pytest
import torch

from tests.storage import Bucket, s3_bucket

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
