"""Where a study of the record comes from: this program ran it, or it was imported and can only be asked."""

from tune_qat.config import UsageError
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath


def check_own(results: StoragePath, study_id: str, what: str) -> None:
    """`UsageError` if the study was imported; `what` cannot be done with it then, such as `run`."""
    for row in read_rows(results, "studies", study_id, columns=["origin"]):
        if row["origin"] is not None:
            raise UsageError(
                f"Study {study_id!r} in {results} was imported from {row['origin']} and cannot be {what}: the "
                "record has its results, and not what it was made of. Ask it with `tune-qat query` and `tune-qat "
                "report`; a study of tune-qat needs another name or another --results folder."
            )
