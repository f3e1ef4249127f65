"""An S3 server on loopback, for tests of storage."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Bucket:
    uri: str
    """`s3://` with the server's address as the environment has it."""


@contextmanager
def s3_bucket(name: str) -> Iterator[Bucket]:
    """A bucket on a server that ends with the block; this process and those it starts find it by the environment."""
    import logging

    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    before = dict(os.environ)
    try:
        host, port = server.get_host_and_port()
        os.environ.update(ACCOUNT | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"})
        boto3.client("s3").create_bucket(Bucket=name)
        yield Bucket(f"s3://{name}")
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()
