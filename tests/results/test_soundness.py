"""Files of a record that are no such files: each is named, and a resumed study goes on without it."""

import os
import re
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from tests.helpers.records import whole_study
from tests.helpers.rows import filled, write
from tune_qat.cli.status_text import describe
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results import reader
from tune_qat.results.compaction import compact
from tune_qat.results.reader import check_files, last_epochs, read_file, read_rows
from tune_qat.results.repair import repair
from tune_qat.results.schema import VERSION_KEY
from tune_qat.results.views import connect, naming_damage
from tune_qat.results.writer import parquet


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record that nothing is wrong with; not to be changed."""
    results = tmp_path_factory.mktemp("sound") / "results"
    study = whole_study(results)
    write(study.results, study.name, "studies", "study", filled("studies"))
    return results


@pytest.fixture
def results(sound: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "results"))


def file(results: Path, table: str, place: int = -1) -> Path:
    return sorted((results / table).rglob("*.parquet"))[place]


def changed(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path.write_bytes(parquet(change(pq.ParquetFile(path).read())))


def as_text(name: str) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(["good"] * len(table)))

    return change


def with_values(name: str, values: list[Any], kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, pa.array(values, kind))


UNSEEN = ("no key", "a column twice")
"""Changes of one file among many that DuckDB, which takes columns by their names, does not notice."""
UNSOUND: dict[str, tuple[str, Callable[[pa.Table], pa.Table], str]] = {
    "a number as text": ("trials", as_text("val_metric"), "holds string in column 'val_metric', which is double"),
    "a count as text": ("epochs", as_text("epoch"), "holds string in column 'epoch', which is int64"),
    "three rows of a study": (
        "studies",
        lambda table: pa.concat_tables([table] * 3),
        "has 3 rows, but a study has one",
    ),
    "no row of a study": ("studies", lambda table: table.slice(0, 0), "has 0 rows, but a study has one"),
    "no key": ("trials", lambda table: table.drop_columns(["trial_key"]), "has no column 'trial_key'"),
    "a column twice": (
        "trials",
        lambda table: table.append_column("status", table["status"]),
        "has column 'status' twice",
    ),
}


@pytest.mark.parametrize("kind", UNSOUND)
def test_a_file_that_is_no_file_of_its_table_is_named_by_every_reader(results: Path, kind: str) -> None:
    table, change, said = UNSOUND[kind]
    path = file(results, table)
    changed(path, change)
    questions: list[Callable[[], object]] = [
        lambda: connect(results),
        lambda: analysis.frame(results, "leaderboard"),
        lambda: analysis.frame(results, f"SELECT count(*) FROM {table}"),
        lambda: describe(results),
    ]
    for read in [lambda: read_rows(results, table), lambda: check_files(results), *questions * (kind not in UNSEEN)]:
        with pytest.raises(TuneQatError) as raised:
            read()
        assert str(raised.value).startswith(f"{path} {said}. It is damaged"), raised.value


@pytest.mark.parametrize("kind", UNSOUND)
@pytest.mark.slow
def test_a_resumed_study_sets_such_a_file_aside(results: Path, kind: str) -> None:
    table, change, said = UNSOUND[kind]
    path = file(results, table)
    changed(path, change)
    found = repair(results, "whole")
    assert said in found[0] and "set aside in" in found[0] and not path.is_symlink()
    assert repair(results, "whole") == []
    check_files(results)


NULLS_AND_JSON: dict[str, tuple[str, Callable[[pa.Table], pa.Table], str]] = {
    "a required value": ("trials", with_values("status", [None], pa.string()), "has a NULL in column 'status'"),
    "no JSON": ("trials", with_values("params_json", ["{"], pa.string()), "has '{' in column 'params_json'"),
    "deep JSON": ("trials", with_values("params_json", ["[" * 10**5], pa.string()), "(100,002 characters) in column"),
    "NaN": ("trials", with_values("params_json", ['{"a": NaN}'], pa.string()), "which is no JSON object"),
    "a list": ("studies", with_values("definition_json", ["[]"], pa.string()), "which is no JSON object"),
}


@pytest.mark.parametrize("kind", NULLS_AND_JSON)
def test_what_a_row_must_say_is_looked_at_where_something_fails(results: Path, kind: str) -> None:
    table, change, said = NULLS_AND_JSON[kind]
    path = file(results, table)
    changed(path, change)
    with pytest.raises(TuneQatError) as raised, naming_damage(results):
        raise ValueError("something failed")
    assert str(raised.value).startswith(str(path)) and said in str(raised.value)
    assert said in repair(results, "whole")[0]


@pytest.mark.slow
def test_what_fails_on_a_sound_record_stays_as_it_is(results: Path) -> None:
    with pytest.raises(ZeroDivisionError), naming_damage(results):
        _ = 1 / 0


@pytest.mark.parametrize("compacted", [False, True])
def test_a_flipped_bit_of_a_number_is_no_answer(tmp_path: Path, compacted: bool) -> None:
    """DuckDB looks at no checksum of a page: it would answer with the number that the bits are now."""
    study = whole_study(tmp_path)
    write(study.results, study.name, "studies", "study", filled("studies"))
    odd = 0.8437218734
    path = write(tmp_path, study.name, "epochs", "odd.1", filled("epochs", trial_key="odd", epoch=1, val_metric=odd))
    if compacted:
        path = path.with_name("compact-1.parquet")
        path.write_bytes(parquet(read_file(path.with_name("odd.1.parquet")), compression="none"))
        path.with_name("odd.1.parquet").unlink()
    asked = "SELECT val_metric FROM epochs WHERE trial_key = 'odd'"
    assert analysis.frame(tmp_path, asked)["val_metric"].item() == odd
    content = bytearray(path.read_bytes())
    places = [found.start() for found in re.finditer(re.escape(struct.pack("<d", odd)), content)]
    content[places[0] + 6] ^= 1
    path.write_bytes(content)
    found = duckdb.execute(f"SELECT val_metric FROM read_parquet('{path}')").fetchall()
    assert found not in ([(odd,)], [(None,)]), "the file decodes, to another number"
    for ask in (
        lambda: analysis.frame(tmp_path, asked),
        lambda: describe(tmp_path),
        lambda: analysis.Answers(tmp_path),
    ):
        with pytest.raises(TuneQatError, match="cannot be read as Parquet") as raised:
            ask()
        assert str(path) in str(raised.value)
    assert f"{path} cannot be read" in repair(tmp_path, study.name)[0]


def test_a_page_is_checked_once_and_again_where_its_file_has_changed(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[Path]()
    parsed = reader._parsed

    def counted(path: Any, parse: Callable[[Any], Any]) -> Any:
        opened.append(path)
        return parsed(path, parse)

    reader.check_pages(results)
    monkeypatch.setattr(reader, "_parsed", counted)
    reader.check_pages(results)
    assert not opened
    path = file(results, "trials")
    path.write_bytes(path.read_bytes())
    reader.check_pages(results)
    assert opened == [path]


@pytest.mark.parametrize("version", [b"\xff\xfe", b"\x1b[31m", b"x" * 10**6], ids=["bytes", "colour", "long"])
def test_bytes_of_a_version_that_are_no_text_are_shown(results: Path, version: bytes) -> None:
    path = file(results, "trials", 0)
    table = pq.ParquetFile(path).read()
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: version}), path)
    for read in (lambda: connect(results), lambda: read_rows(results, "trials"), lambda: repair(results, "whole")):
        with pytest.raises(UsageError, match="was written with schema version") as raised:
            read()
        assert str(path) in str(raised.value) and len(str(raised.value)) < 1_000


KINDS = ("pipe", "folder", "link to nothing", "link to itself", "device")
OF_A_TABLE = ("trials", "epochs", "studies", "layers")


@pytest.mark.parametrize(
    ("kind", "table", "place"),
    # As the first file of its table, whose columns DuckDB takes for those of all, or as the last; a pipe as both.
    [*((kind, OF_A_TABLE[i % 4], -(i % 2)) for i, kind in enumerate(KINDS)), ("pipe", "epochs", -1)],
)
def test_what_is_no_regular_file_is_named_and_keeps_nobody_waiting(
    results: Path, kind: str, table: str, place: int
) -> None:
    path = file(results, table, place)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link to nothing": "nothing", "link to itself": path.name}.get(kind, "/dev/zero"))
    began = time.monotonic()
    for read in (lambda: connect(results), lambda: describe(results), lambda: read_rows(results, table)):
        with pytest.raises(TuneQatError, match="is no regular file, but a folder, a named pipe") as raised:
            read()
        assert str(path) in str(raised.value)
    repair(results, "whole")
    assert not path.is_symlink() and time.monotonic() - began < 10
    describe(results)


def test_a_second_file_where_a_study_has_one_is_named(results: Path) -> None:
    path = file(results, "studies")
    path.with_name("study (copy).parquet").write_bytes(path.read_bytes())
    with pytest.raises(TuneQatError, match=r"holds 2 files \(study \(copy\).parquet, study.parquet\)"):
        connect(results)


@pytest.mark.slow
def test_a_footer_that_duckdb_refuses_and_pyarrow_reads_is_named(results: Path) -> None:
    path = refused_by_duckdb(file(results, "trials"))
    assert read_rows(results, "trials")
    for ask in (lambda: analysis.frame(results, "leaderboard"), lambda: describe(results), lambda: connect(results)):
        with pytest.raises(TuneQatError) as raised:
            ask()
        assert str(path) in str(raised.value) and len(str(raised.value).splitlines()) == 1


def refused_by_duckdb(path: Path) -> Path:
    """The file with a bit of its footer flipped that pyarrow does not look at."""
    content = path.read_bytes()
    size = int.from_bytes(content[-8:-4], "little")
    for place in range(len(content) - 8 - size, len(content) - 8):
        for bit in (1, 2, 4, 8, 16, 32, 64, 128):
            found = bytearray(content)
            found[place] ^= bit
            path.write_bytes(found)
            try:
                pq.ParquetFile(path).read()
            except Exception:
                continue
            try:
                duckdb.execute(f"FROM read_parquet('{path}')").fetchall()
            except duckdb.Error:
                return path
    raise AssertionError("no such bit")


@pytest.mark.parametrize("place", range(-8, -2_000, -173))
def test_a_byte_of_a_footer_changes_nothing_or_names_the_file(results: Path, place: int) -> None:
    path = file(results, "epochs", 3)
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    for read in (
        lambda: describe(results),
        lambda: analysis.frame(results, "learning_curves"),
        lambda: read_rows(results, "epochs"),
        lambda: last_epochs(results, "whole", path.name.partition(".")[0]),
        lambda: compact(results),
    ):
        try:
            read()
        except TuneQatError as error:
            assert path.name in str(error) or "results" in str(error), error
