"""Fuzzer of a record's files: bytes of any of them, and Parquet of other columns, types and rows.

Whatever was done to the record, every command that reads it ends in an answer or in a message, and after the repair
with which a resumed study begins, its record can be read.
"""

import contextlib
import functools
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.report.page import page
from tests.fuzz.loop import command, main
from tests.fuzz.mutants import changed_bytes
from tests.helpers.rows import filled
from tests.simulate.small import small, write_record
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.layout import checkpoint_path, table_folder
from tune_qat.results.origin import refuse_imported
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.results.repair import repair
from tune_qat.results.schema import TABLES
from tune_qat.results.writer import parquet, write_rows
from tune_qat.simulate.formula import ClosedForm
from tune_qat.storage.paths import write_whole
from tune_qat.study import Study
from tune_qat.tuning.checks import check_results_folder
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import Planner
from tune_qat.tuning.queue import StudyQueue

REPORTS = 0.1
"""Share of the cases that make a report, which takes longest."""
NAMES = ("copy", "a b", "compact-2", "compact-1", "x.1", "\udcff", "é'\"", "-", "%s", "[x]*", f"compact-{'9' * 20}")
"""Names of files that nobody wrote."""
QUESTIONS = ("leaderboard", "learning_rate", "SELECT * FROM epochs", "SELECT count(*) FROM layers", "divergence")


def study() -> Study:
    """Two arms, one rung."""
    return small(
        quantization={"bits": [[4, 4]]},
        training={"epochs": 2},
        stages={"default": True, "random": 1, "search": 2, "retrain": 1},
    )


@functools.cache
def template() -> Path:
    """A record as a run leaves it, half of its trials compacted."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-record-"))
    write_record(folder / "whole", study())
    results, name = folder / "results", study().name
    for table in ("studies", "arms"):
        shutil.copytree(folder / "whole" / table, results / table)
    for table in ("trials", "epochs"):
        rows = read_rows(folder / "whole", table)
        keys = sorted({row["trial_key"] for row in rows})
        own = [{one: value for one, value in row.items() if one != "study_id"} for row in rows]
        write_rows(table_folder(results, table, name) / "compact-1.parquet", table,
                   [row for row in own if row["trial_key"] in keys[::2]])  # fmt: skip
        for key in keys[1::2]:
            file = f"{key}.parquet" if table == "trials" else f"{key}.1.parquet"
            write_rows(
                table_folder(results, table, name) / file, table, [row for row in own if row["trial_key"] == key]
            )
    for key in keys[:3]:
        layer = filled("layers", trial_key=key, attempt=1, epoch=1, kind="weight")
        write_rows(table_folder(results, "layers", name) / f"{key}.1.parquet", "layers", [layer])
        decision = filled("decisions", trial_key=key, action="continue")
        write_rows(table_folder(results, "decisions", name) / f"{key}.parquet", "decisions", [decision])
        write_whole(checkpoint_path(results, name, key), b"weights")
    return results


def case(chance: random.Random, folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A record with one to three of its files changed, read by every command, and repaired."""
    results = folder / "results"
    shutil.copytree(template(), results)
    done = [_damaged(chance, results) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
    said = "; ".join(done)
    key = chance.choice(_keys())
    steps: dict[str, Callable[[], Any]] = {
        "status": functools.partial(command, "status", results),
        "query": functools.partial(command, "query", results, chance.choice(QUESTIONS), "--format", "csv"),
        "edges": functools.partial(command, "edges", results),
        "plan": functools.partial(command, "plan", "quickstart", "--results", results),
        "widen": functools.partial(command, "widen", results),
        "rerun": functools.partial(_find, results, key),
        "export": functools.partial(command, "export", results, key, "-o", folder / "model.onnx"),
        "simulate": functools.partial(command, "simulate", results),
        "report": functools.partial(page, str(results)),
        "compact": functools.partial(command, "compact", results),
    }
    names = ["status", *chance.sample(sorted(set(steps) - {"status", "compact", "report"}), 2)]
    names += ["report"] if chance.random() < REPORTS else []
    names += ["compact"] if chance.random() < 0.5 else []
    for name in names:
        yield f"{name} after {said}", steps[name]
    yield f"resumed after {said}", functools.partial(resumed, results)


def resumed(results: Path) -> None:
    """Do with a record what a run does before its first trial, and read all of it."""
    check_results_folder(results)
    with contextlib.suppress(TuneQatError):
        refuse_imported(results, study().name, "run")
    try:
        repair(results, study().name)
    except UsageError:
        return  # of another schema version
    curves = ClosedForm.of(study())
    planner = Planner(study=study(), work=curves)
    queue = StudyQueue(planner, read_rows(results, "trials", study().name), objective=Objective(1, 0.0))
    queue.start_known(queue.starts[0], "stand-in")
    for table in TABLES:
        for row in read_rows(results, table, study().name):
            if table == "trials":
                last_epochs(results, study().name, row["trial_key"])


def _find(results: Path, key: str) -> None:
    from tune_qat.rerun.recorded import find
    from tune_qat.results.views import naming_damage

    with naming_damage(results):
        find(results, key)


def _keys() -> list[str]:
    return sorted(path.stem for path in (template() / "trials").rglob("[!c]*.parquet"))


def _damaged(chance: random.Random, results: Path) -> str:
    """Change one file of the record; what was done."""
    files = sorted(path for path in results.rglob("*") if path.is_file() and not path.is_symlink())
    path = chance.choice(files)
    changes = (_bytes, _bytes, _bytes, _footer, _footer, _columns, _columns, _columns, _names, _other_kind)
    change = chance.choice(changes)
    change = _bytes if path.suffix != ".parquet" and change in (_footer, _columns) else change
    what = change(chance, path)
    return f"{what} of {path.relative_to(results)}"


def _bytes(chance: random.Random, path: Path) -> str:
    path.write_bytes(chance.choice((changed_bytes(chance, path.read_bytes()),) * 9 + (b"", b"PAR1", b"PAR1PAR1")))
    return "bytes"


def _footer(chance: random.Random, path: Path) -> str:
    content = path.read_bytes()
    size = int.from_bytes(content[-8:-4], "little")
    path.write_bytes(changed_bytes(chance, content, within=(max(0, len(content) - 8 - size), len(content))))
    return "the footer"


def _names(chance: random.Random, path: Path) -> str:
    other = chance.choice(NAMES) + ".parquet"
    with contextlib.suppress(OSError):
        shutil.copy(path, path.with_name(other))
    if chance.random() < 0.3:
        path.unlink(missing_ok=True)
    return f"another file {other!r}"


def _other_kind(chance: random.Random, path: Path) -> str:
    kind = chance.choice(("pipe", "folder", "dangling link", "circular link", "link to a device"))
    if chance.random() < 0.5:
        path = path.with_name("0" + path.name)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"dangling link": "nothing", "circular link": path.name}.get(kind, "/dev/zero"))
    return f"a {kind} in place"


def _columns(chance: random.Random, path: Path) -> str:
    try:
        table = pq.ParquetFile(path).read()
    except Exception:  # damaged before
        return "nothing"
    kind = chance.choice(("type", "type", "gone", "null", "more", "rows", "version", "text", "number", "json"))
    place = chance.randrange(table.num_columns)
    name = table.column_names[place]
    if kind == "type":
        types: tuple[Any, ...] = (
            pa.string(),
            pa.binary(),
            pa.int64(),
            pa.list_(pa.int64()),
            pa.float32(),
            pa.date32(),
            pa.bool_(),
        )
        table = table.set_column(place, name, pa.array([None] * len(table), chance.choice(types)))
    elif kind == "gone":
        table = table.drop_columns([name])
    elif kind == "null":
        table = table.set_column(place, name, pa.nulls(len(table), table.schema.field(place).type))
    elif kind == "more":
        table = table.append_column(
            chance.choice(("new", "study_id", "filename", "a b", "é", name)), pa.nulls(len(table))
        )
    elif kind == "rows":
        table = chance.choice((table.slice(0, 0), pa.concat_tables([table] * 3)))
    elif kind in ("text", "json"):
        texts = [one for one in table.column_names if table.schema.field(one).type == pa.string()]
        texts = (
            [one for one in texts if one.endswith("_json")]
            if kind == "json" and path.parent.parent.name != "epochs"
            else texts
        )
        name = chance.choice(texts or ["trial_key"])
        values = (
            "",
            "x",
            "{}",
            "[]",
            "null",
            "[" * 100_000,
            '{"a": NaN}',
            "\x1b[31m",
            "x" * 10**6,
            '{"scheme": {}}',
            "1",
            "é\u2028",
        )
        table = _with(table, name, [chance.choice(values)] * len(table), pa.string())
    elif kind == "number":
        numbers = [one for one in table.column_names if pa.types.is_floating(table.schema.field(one).type)]
        name = chance.choice(numbers or ["x"])
        value = chance.choice((float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, 0.0, -1.0))
        table = _with(table, name, [value] * len(table), pa.float64())
    content = parquet(table, use_dictionary=chance.random() < 0.5)
    if kind == "version":
        metadata = {
            b"tune_qat.schema_version": chance.choice((b"\xff\xfe", b"", b"2", b"x" * 100_000, b"\x1b]0;x\x07"))
        }
        pq.write_table(table.replace_schema_metadata(metadata), path)
    else:
        path.write_bytes(content)
    return f"{kind} of column {name}"


def _with(table: pa.Table, name: str, values: list[Any], kind: pa.DataType) -> pa.Table:
    if name not in table.column_names:
        return table
    return table.set_column(table.column_names.index(name), name, pa.array(values, kind))


if __name__ == "__main__":
    main("tests.fuzz.record_bytes", case)
