"""Writes to a results folder that goes while they are made."""

from pathlib import Path

import pytest

from tune_qat.storage import retry
from tune_qat.storage.paths import write_whole
from tune_qat.storage.retry import Patience


def test_what_was_written_in_the_moment_in_which_the_folder_went_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder takes its place, as under a mount: nothing is written there, and once it is back all is."""
    results, away = tmp_path / "results", tmp_path / "away"
    results.mkdir()
    (landmark := results / "study").write_bytes(b"")
    written = list[Path]()

    def write(path: Path, data: bytes, root: int) -> None:
        if not written:
            results.rename(away)
            results.mkdir()
        written.append(path)
        write_whole(path, data, root)

    def pause(patience: Patience, seconds: float) -> None:
        results.rmdir()  # nothing was written to the folder that took its place
        away.rename(results)

    monkeypatch.setattr(retry, "write_whole", write)
    monkeypatch.setattr(Patience, "_wait", pause)
    Patience(results, 60.0, landmark=landmark).write_whole(results / "trials" / "a" / "row", b"here")
    assert len(written) == 2 and (results / "trials" / "a" / "row").read_bytes() == b"here"
    assert [path.name for path in results.rglob("*") if path.is_file()] == ["study", "row"]
