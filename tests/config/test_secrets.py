"""Secrets in addresses: no form of a URL shows one, and what holds none stays as it is."""

import pytest

from tune_qat.config.secrets import hide_secrets, hide_secrets_in, may_hold_secret, without_secrets_of

ADDRESSES = {
    "postgresql+psycopg2://alice:{}@host/db": "postgresql+psycopg2://...@host/db",
    "mysql://alice:{}@host:3306/db?charset=utf8": "mysql://...@host:3306/db?...",
    "db://host/db?user=alice&password={}": "db://host/db?...",
    "mysql://host/db?ssl_key={}": "mysql://host/db?...",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3D{}": "mssql+pyodbc:///?...",
    "sqlserver://host;password={}": "sqlserver://host?...",
    "s3://{}@bucket": "s3://...@bucket",
    "https://{}@tracker.example/api": "https://...@tracker.example/api",
    "postgresql:/alice:{}@host/db": "postgresql:/...@host/db",
    "alice:{}@host/db": "...@host/db",
}
PASSWORDS = ("hunter2", "hun/ter2", "hun@ter2", "hun%40ter2", "hun%2Fter:2", "h@u/n@ter2", "hun#ter2", "hun?ter2")


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("form", ADDRESSES)
def test_no_part_of_a_password_is_shown(form: str, password: str) -> None:
    address = form.format(password)
    shown = hide_secrets(address)
    for part in ("hun", "ter2", "alice"):
        assert part not in shown, shown
    only_the_scheme = shown.endswith("/...") and address.startswith(shown.removesuffix("..."))
    assert shown == ADDRESSES[form] or only_the_scheme, shown
    assert hide_secrets_in(f"{address} is away") == f"{shown} is away" or ":/" not in address


@pytest.mark.parametrize(
    "address",
    [
        "results",
        "/data/run@3/results",
        "s3://bucket/results",
        "sqlite:///study.db",
        "memory://a/b",
        "C:/results",
        "a:b",
    ],
)
def test_an_address_without_secrets_stays(address: str) -> None:
    assert hide_secrets(address) == address and not may_hold_secret(address)


@pytest.mark.parametrize(
    ("uri", "refused"),
    [
        ("s3://key:secret@bucket/a", True),
        ("s3://K:SE/CRET@bucket", True),
        ("s3://key%3Asecret@bucket/a", True),
        ("s3://key@bucket/a", True),
        ("s3://bucket/a?secret_key=x", True),
        ("s3://bucket/a?region=x&access_key=y", True),
        ("s3://bucket/a?endpoint_override=http://u:p@host", True),
        ("abfs://container@account/a?sas=x", True),
        ("s3://bucket/a?region=eu-west-1&endpoint_override=localhost:9000", False),
        ("s3://bucket/run@3/a", False),
        ("s3://bucket/a;b", False),
        ("gs://anonymous@bucket/a", False),
        ("abfs://container@account/a", False),
        ("sftp://alice@host/a", False),
    ],
)
def test_a_results_uri_with_a_secret_is_told_from_one_without(uri: str, refused: bool) -> None:
    assert may_hold_secret(uri) == refused


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_driver_may_quote_any_part_of_an_address(password: str) -> None:
    address = f"postgresql://alice:{password}@host/db?options={password}"
    quoted = [address, password, *password.replace("@", "/").replace("?", "/").split("/"), f"password={password!r}"]
    for said in quoted:
        shown = without_secrets_of(address, f"connection to host failed: {said} is wrong")
        assert "connection to" in shown and "is wrong" in shown
        assert not [part for part in ("hunter2", "ter2", "ter:2", "alice") if part in shown], shown


def test_a_short_secret_is_hidden_as_a_word() -> None:
    assert without_secrets_of("db://u:p@host/db", "up to host: p, not 'p'; u") == "up to host: ..., not '...'; ..."
