"""Whether results can be written to, found out by writing."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tune_qat.config import TuneQatError
from tune_qat.storage.paths import StoragePath, write_whole


@contextmanager
def probe(results: StoragePath) -> Iterator[str]:
    """Keep a new file among the results for as long as the block runs: its name, which is its content.

    Raises:
        TuneQatError: it cannot be written or removed.
    """
    name = f".probe-{secrets.token_hex(8)}"
    made = isinstance(results, Path) and not results.exists()
    try:
        write_whole(results / name, name.encode())
        yield name
        (results / name).unlink()
    except OSError as error:
        raise TuneQatError(f"--results {results} cannot be written to: {error}. Name another place.") from error
    finally:
        with suppress(OSError):
            (results / name).unlink(missing_ok=True)
            if made and isinstance(results, Path):
                results.rmdir()
