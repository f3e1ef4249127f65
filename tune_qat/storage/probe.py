"""A test of whether results can be written, by writing a file."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_qat.config import TuneQatError
from tune_qat.storage.paths import StoragePath, write_whole


@contextmanager
def probe(results: StoragePath) -> Iterator[str]:
    """Write a file to the results, yield its name, which is also its content, and remove it after the block.

    Raises `TuneQatError` if the file cannot be written or removed.
    """
    name = f".probe-{secrets.token_hex(8)}"
    made = isinstance(results, Path) and not results.exists()
    try:
        write_whole(results / name, name.encode())
        yield name
        (results / name).unlink()
    except OSError as error:
        raise TuneQatError(f"--results {results} cannot be written to: {error}. Name another folder.") from error
    finally:
        with suppress(OSError):
            (results / name).unlink(missing_ok=True)
            if made and isinstance(results, Path):
                results.rmdir()
