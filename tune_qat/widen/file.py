"""The file of a wider study: its origin in comments at the head, and checked by reading it back."""

import shlex
import tempfile
from pathlib import Path

from tune_qat.config import TuneQatError, UsageError
from tune_qat.storage.paths import StoragePath, naming, write_whole
from tune_qat.study import Study
from tune_qat.study.starts import starts_of
from tune_qat.text.toml import toml_text
from tune_qat.widen.ranges import Widened

MARK = "written by `tune-qat widen`"
"""Part of the first line of every file that is written here; such a file may be replaced."""


def document(widened: Widened, results: StoragePath, output: str | Path | None) -> str:
    """Return the text of the study file, with its origin at the head; `tune-qat run` reads exactly this study from it.

    The head names the results as they were typed, but no absolute path, which is only valid on one machine.
    """
    where = "RESULTS" if isinstance(results, Path) and results.is_absolute() else str(results)
    name = Path(output).name if output else "wide.toml"
    head = [
        f"Study {widened.study.name} with other ranges, {MARK}.",
        "",
        f"  tune-qat run {shlex.quote(name)} --results {shlex.quote(where)}",
        "",
        *widened.notes,
    ]
    text = "".join(f"# {line}".rstrip() + "\n" for line in head) + "\n" + toml_text(widened.values)
    _check_reads_back(text, widened.study)
    return text


def check_output(output: Path) -> None:
    """Raise `UsageError` for a name that does not end in .toml, or an existing file that was not written here."""
    if output.suffix != ".toml":
        raise UsageError(f"-o must end in .toml, but got {str(output)!r}.")
    if output.exists() and not _ours(output):
        raise UsageError(f"{output} is there already, and `tune-qat widen` did not write it. Name another file (-o).")


def write(text: str, output: Path) -> None:
    """Write the file atomically; one that is there has passed `check_output` and is replaced."""
    with naming(output):
        write_whole(output, text.encode())


def _ours(path: Path) -> bool:
    try:
        return path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except OSError:  # nothing that may be read
        return False


def _check_reads_back(text: str, study: Study) -> None:
    """Read the file as `tune-qat run` will; raise `TuneQatError` if it is not the intended study."""
    with tempfile.TemporaryDirectory(prefix="tune_qat-") as folder:
        path = Path(folder) / "wide.toml"
        path.write_text(text, encoding="utf-8")
        read = Study.load(str(path))
    same_start = study.pretrain is None or starts_of(read) == starts_of(study)
    if read != study or not same_start:
        raise TuneQatError(
            f"The wider study of {study.name!r} does not read back as it was meant, which is a mistake of tune-qat. "
            "Nothing was written; edit the study file by hand."
        )
