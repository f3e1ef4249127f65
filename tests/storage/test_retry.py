"""Writes to a results folder that goes while they are made."""

from pathlib import Path

import pytest

from tune_qat.storage import retry
from tune_qat.storage.retry import Patience


def test_what_was_written_in_the_moment_in_which_the_folder_went_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder takes its place, as under a mount, and takes the file; then it is back."""
    results, away = tmp_path / "results", tmp_path / "away"
    results.mkdir()
    (landmark := results / "study").write_bytes(b"")
    written = list[Path]()

    def write(path: Path, data: bytes) -> None:
        if not written:
            results.rename(away)
            results.mkdir()
        written.append(path)
        path.write_bytes(data)

    def pause(patience: Patience, seconds: float) -> None:
        (results / "row").unlink()
        results.rmdir()
        away.rename(results)

    monkeypatch.setattr(retry, "write_whole", write)
    monkeypatch.setattr(Patience, "_wait", pause)
    Patience(results, 60.0, landmark=landmark).write_whole(results / "row", b"here")
    assert len(written) == 2 and (results / "row").read_bytes() == b"here"
