"""The origin of a study in the record: run by this program, or imported, and then it can only be queried."""

from tune_qat.config import UsageError
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath


def refuse_imported(results: StoragePath, study_id: str, what: str) -> None:
    """Raise `UsageError` if the study was imported: it cannot be `what`, such as `widened`."""
    for row in read_rows(results, "studies", study_id, columns=["origin"]):
        if row["origin"] is not None:
            raise UsageError(
                f"Study {study_id!r} in {results} was imported from {row['origin']} and cannot be {what}: the "
                "record holds its results, but not its definition. Use `tune-qat query` and `tune-qat report` on it; "
                "a study of tune-qat needs another name or another --results folder."
            )
