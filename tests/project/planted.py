"""Secrets, a user and folders that are planted before commands run, and the search for them in all that is left."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from tune_qat.storage.paths import StoragePath

MARK = "pl4nted"
"""Part of every planted secret."""
USER = "alice-n4med"
SECRETS = {
    "AWS_ACCESS_KEY_ID": f"AKIA{MARK}KEYID",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}/aws+secret",
    "AWS_SESSION_TOKEN": f"{MARK}-session-token",
    "AWS_SECURITY_TOKEN": f"{MARK}-security-token",
    "GOOGLE_OAUTH_ACCESS_TOKEN": f"ya29.{MARK}",
    "GCS_HMAC_SECRET": f"{MARK}-gcs",
    "WANDB_API_KEY": f"{MARK}-wandb",
    "MLFLOW_TRACKING_PASSWORD": f"{MARK}-mlflow",
    "NEPTUNE_API_TOKEN": f"{MARK}-neptune",
    "COMET_API_KEY": f"{MARK}-comet",
    "PGPASSWORD": f"{MARK}-postgres",
}
"""Variables of the environment by which storage, databases and trackers get their keys."""
URLS = (
    f"postgresql+psycopg2://{USER}:{MARK}@127.0.0.1:1/db",
    f"mysql://{USER}:{MARK}/wo@rd@127.0.0.1:1/db",
    f"mysql+pymysql://127.0.0.1:1/db?user={USER}&password={MARK}",
    f"mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3D{MARK}",
    f"redis://:{MARK}@127.0.0.1:1",
    f"postgresql:/{USER}:{MARK}@127.0.0.1/db",
    f"s3://{USER}:{MARK}@bucket/results",
    f"s3://{USER}:{MARK[:4]}/{MARK}@bucket",
    f"s3://{USER}%3A{MARK}@bucket/results",
    f"s3://bucket/results?secret_key={MARK}",
    f"db://127.0.0.1/db?password={MARK}@x",
)
"""Addresses that hold a password, in every form."""


def secrets_in(texts: Iterator[tuple[str, bytes]]) -> list[str]:
    """Names of the texts that hold a planted secret, each with what is around it."""
    planted = re.compile(f".{{0,60}}{MARK}.{{0,20}}".encode())
    return [f"{name}: {around}" for name, text in texts for around in planted.findall(text)]


def places_in(texts: Iterator[tuple[str, bytes]], *folders: Path) -> list[str]:
    """Names of the texts that name the planted user, this host, or one of these folders."""
    host = socket.gethostname()
    named = [USER, *map(str, folders), *([host] if len(host) > 4 and host != "localhost" else [])]
    found = re.compile(b".{0,40}(?:%s).{0,40}" % b"|".join(re.escape(one).encode() for one in named))
    return [f"{name}: {around}" for name, text in texts for around in found.findall(text)]


def files(folder: Path, *, without: tuple[Path, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files below a folder, as they are and, of Parquet, also unpacked."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path not in without:
            yield str(path), path.name.encode() + b"\n" + path.read_bytes()
            if path.suffix == ".parquet":
                yield str(path), str(pq.read_table(path, partitioning=None).to_pylist()).encode()


def record(results: StoragePath) -> Iterator[tuple[str, bytes]]:
    """Names and rows of all Parquet files of a record."""
    from tune_qat.results.reader import read_file

    for path in results.glob("*/study_id=*/*.parquet"):
        yield str(path), str(read_file(path).to_pylist()).encode()
