"""S3 as pyarrow does not have it: calls that end soon where nothing answers, and files removed without a trace."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

ATTEMPTS = 3
"""Attempts at a request, of up to three seconds each; `Patience` repeats what fails for longer."""
ATTEMPT_S = 3.0


def limited(files: Any) -> Any:
    """Return a file system like `files` whose calls fail after `ATTEMPTS`; pyarrow's own may take minutes each."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    if not isinstance(files, S3FileSystem):
        return files
    return S3FileSystem(**_settings(files), retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS))


def remove(files: Any, names: Iterable[str]) -> None:
    """Remove objects, by their names with the bucket; a missing one is no error. Raises `OSError`.

    pyarrow would put an empty object with the folder's name in the place of each (apache/arrow#36275).
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = _client(files)
    for name in names:
        bucket, _, key = name.partition("/")
        try:
            client.delete_object(Bucket=bucket, Key=key)
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"{name} cannot be removed: {error}") from None


def _client(files: Any) -> Any:
    given = _settings(files)
    endpoint = given["endpoint_override"]
    if endpoint and "://" not in endpoint:
        endpoint = f"{given['scheme']}://{endpoint}"
    style = "path" if endpoint and not given["force_virtual_addressing"] else "virtual"
    return _made(given["region"] or None, endpoint or None, style, given["anonymous"])


@lru_cache
def _made(region: str | None, endpoint: str | None, style: str, anonymous: bool) -> Any:
    """Return a client, which finds the account in the environment and in files, as pyarrow does."""
    import botocore.session
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(
        connect_timeout=ATTEMPT_S,
        read_timeout=ATTEMPT_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        s3={"addressing_style": style},
        signature_version=UNSIGNED if anonymous else None,
    )
    session = botocore.session.get_session()
    return session.create_client("s3", region_name=region, endpoint_url=endpoint, config=config)


def _settings(files: Any) -> dict[str, Any]:
    """Return the options that a file system was made with, as it tells them when it is pickled."""
    settings: dict[str, Any] = files.__reduce__()[1][0]
    return settings
