"""An S3 server on loopback, for tests of storage, that fails when it is told to."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"

REFUSALS = {"503": ("503 Slow Down", BUSY), "403": ("403 Forbidden", DENIED)}


@dataclass
class Trouble:
    """What stands between the server and its clients."""

    server: Callable[..., Iterable[bytes]]
    kind: str | None = None
    """`503` refuses every request, `half` gives half of each body, `silent` does not answer, `403` denies
    access; None is no trouble."""
    only: str = ""
    """Part of the paths that it is for."""
    since: float = 0.0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if self.only not in environ["PATH_INFO"]:
            return self.server(environ, start)
        while self.kind == "silent":
            time.sleep(0.05)
        if self.kind == "half":
            body = b"".join(self.server(environ, start))
            return [body[: len(body) // 2]]
        if self.kind in REFUSALS:
            line, body = REFUSALS[self.kind]
            start(line, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        return self.server(environ, start)


@dataclass(frozen=True)
class Bucket:
    uri: str
    """`s3://` with the server's address as the environment has it."""
    trouble: Trouble = field(repr=False)

    @contextmanager
    def failing(self, kind: str, only: str = "") -> Iterator[None]:
        """Trouble of that kind while the block runs."""
        self.trouble.kind, self.trouble.only = kind, only
        try:
            yield
        finally:
            self.trouble.kind, self.trouble.only = None, ""

    def objects(self) -> dict[str, int]:
        """Size of every object, by its key."""
        import boto3

        pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.uri.removeprefix("s3://"))
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", ())}


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
        assert server._server is not None
        trouble = server._server.app = Trouble(server._server.app)
        yield Bucket(f"s3://{name}", trouble)
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()
