"""Fuzzer of what is imported: rows of Optuna's databases and journals, files of Ray Tune's experiments."""

import functools
import json
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna

from tests.fuzz.loop import command, main
from tests.fuzz.mutants import changed_bytes
from tests.importing.sweeps import journal, sqlite, sweep
from tests.importing.test_ray_tune import EXPERIMENT

VALUES: tuple[Any, ...] = (
    *(None, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 0.5, 1e308, -1e308, 5e-324, float("inf"), "", "x", "nan", "1.5"),
    *(
        "0001-01-01 00:00:00.000000",
        "9999-12-31 23:59:59.999999",
        "2026-13-01",
        "RUNNING",
        "COMPLETE",
        "UNKNOWN",
        "Adam",
    ),
    *(b"\xff\x00", "é\u2028", "\x1b[31m", "x" * 100_000, "{}", "[]", "null", '{"name": "X", "attributes": {}}'),
    *('{"name": "FloatDistribution", "attributes": {"low": "a", "high": null}}', "[" * 5_000, "9" * 5_000, '"\\ud800"'),
)
"""Cells of a database."""
JSON_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        2**31,
        2**64,
        10**400,
        0.5,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\ud800",
        "1",
        "\x1b[31m",
    ),
    *(
        [],
        [[]],
        {},
        {"a": {"b": []}},
        {"_type": "CLOUDPICKLE_FALLBACK", "value": "00"},
        "x" * 100_000,
        "..",
        "../..",
        "a/b",
    ),
    *(
        functools.reduce(lambda inner, _: [inner], range(600), []),
        functools.reduce(lambda i, _: {"a": i}, range(600), {}),
    ),
)
"""Values in JSON."""
OPTIONS = (
    (),
    ("--metric", "x"),
    ("--learning-rate", "lr"),
    ("--optimizer", "=adam"),
    ("--trivial", "0.5"),
    ("--seed", "seed"),
)


@functools.cache
def storages() -> dict[str, Path]:
    """A database and a journal of Optuna with a few trials of every kind."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-imports-"))
    sweep(sqlite(folder)[0], trials=12)
    sweep(journal(folder)[0], trials=12)
    return {"sqlite": folder / "sweep.db", "journal": folder / "sweep.log"}


def case(chance: random.Random, folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """One changed database or journal, and one changed experiment, imported and asked."""
    kind = chance.choice(("sqlite", "sqlite", "journal"))
    path = folder / storages()[kind].name
    shutil.copy(storages()[kind], path)
    what = {"sqlite": _cells, "journal": _lines}[kind](chance, path)
    results = folder / "results"
    options = chance.choice(OPTIONS)
    yield (
        f"optuna, {what} {options}",
        functools.partial(command, "import", "optuna", path, "--results", results, *options),
    )
    copy = folder / "experiment"
    shutil.copytree(EXPERIMENT, copy)
    what = "; ".join(_experiment(chance, copy) for _ in range(chance.choice((1, 1, 2, 3))))
    ours = (
        "import",
        "ray-tune",
        copy,
        "--results",
        results,
        *chance.choice((options, options, ("--epoch", "accuracy"))),
    )
    yield f"ray-tune, {what}", functools.partial(command, *ours)
    if results.exists():
        yield f"status after {what}", functools.partial(command, "status", results)
        yield f"query after {what}", functools.partial(command, "query", results, "learning_rate", "--format", "json")


def _cells(chance: random.Random, path: Path) -> str:
    """Change cells of random tables, or bytes of the file."""
    if chance.random() < 0.2:
        path.write_bytes(changed_bytes(chance, path.read_bytes()))
        return "bytes"
    done = []
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for _ in range(chance.choice((1, 1, 2, 4))):
        table = chance.choice(tables)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        column, value = chance.choice(columns), chance.choice(VALUES)
        done.append(f"{table}.{column} = {value!r:.40}")
        try:
            if chance.random() < 0.1:
                connection.execute(f"DELETE FROM {table} WHERE rowid % 2 = 0")
            else:
                _update(connection, table, column, value, every=chance.random() < 0.3)
        except sqlite3.Error as error:
            done[-1] += f" ({error})"
    connection.commit()
    connection.close()
    return "; ".join(done)


def _update(connection: sqlite3.Connection, table: str, column: str, value: Any, *, every: bool) -> None:
    # Without its schema's NOT NULL and types, as another program may leave a table.
    (made,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()
    connection.execute("PRAGMA writable_schema = ON")
    loose = made.replace("NOT NULL", "").replace("UNIQUE", "CHECK")
    connection.execute(
        "UPDATE sqlite_master SET sql = ? WHERE name = ?", [loose if "CHECK (" not in loose else made, table]
    )
    where = "" if every else f" WHERE rowid = (SELECT max(rowid) / 2 + 1 FROM {table})"
    connection.execute(f"UPDATE {table} SET {column} = ?{where}", [value])


def _lines(chance: random.Random, path: Path) -> str:
    """Change a value, a line, or bytes of a journal."""
    lines = path.read_text().splitlines()
    place, kind = chance.randrange(len(lines)), chance.randrange(4)
    if kind == 0:
        path.write_bytes(changed_bytes(chance, path.read_bytes()))
        return "bytes"
    if kind == 1:
        lines.pop(place)
    elif kind == 2:
        lines[place] = lines[place][: chance.randrange(len(lines[place]))]
    else:
        lines[place] = json.dumps(_changed(chance, json.loads(lines[place])))
    path.write_text("\n".join(lines) + "\n")
    return f"line {place}, {kind}"


def _experiment(chance: random.Random, copy: Path) -> str:
    """Change one of an experiment's files."""
    names = (
        "experiment_state-*.json",
        "experiment_state-*.json",
        "result.json",
        "result.json",
        "result.json",
        "progress.csv",
    )
    files = sorted(copy.rglob(chance.choice(names)))
    if not files:
        return "nothing"
    path, kind = chance.choice(files), chance.randrange(5)
    if path.name == "progress.csv":
        path.with_name("result.json").unlink(missing_ok=True)
    if kind == 0 or (kind > 2 and path.suffix != ".json"):
        path.write_bytes(changed_bytes(chance, path.read_bytes()))
    elif kind == 1:  # torn at its end
        content = path.read_bytes()
        path.write_bytes(content[: -chance.randrange(1, min(400, len(content)))])
    elif kind == 2:
        path.unlink()
    elif path.name == "result.json":
        lines = path.read_text(errors="replace").splitlines() or ["{}"]
        place = chance.randrange(len(lines))
        lines[place] = json.dumps(_changed(chance, _parsed(lines[place])))
        path.write_text("\n".join(lines) + chance.choice(("", "\n")))
    else:
        _state(chance, path)
    return f"{path.name} {kind}"


def _state(chance: random.Random, path: Path) -> None:
    state = _parsed(path.read_text(errors="replace"))
    if chance.random() < 0.3 or not isinstance(state, dict) or not state.get("trial_data"):
        path.write_text(json.dumps(_changed(chance, state)))
        return
    trials = state["trial_data"]
    trial, part = chance.randrange(len(trials)), chance.randrange(2)
    if isinstance(trials[trial], list) and len(trials[trial]) == 2:
        trials[trial][part] = json.dumps(_changed(chance, _parsed(trials[trial][part])))
    path.write_text(json.dumps(state))


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError):
        return {}


def _changed(chance: random.Random, value: Any) -> Any:
    """A value of JSON with a part of it replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice(sorted(value))
        if chance.random() < 0.1:
            return {one: inner for one, inner in value.items() if one != name}
        if chance.random() < 0.05:
            return {**value, chance.choice(("\ud800", "", "x" * 10_000, "a/b")): value[name]}
        return {**value, name: _changed(chance, value[name]) if chance.random() < 0.7 else chance.choice(JSON_VALUES)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], _changed(chance, value[place]), *value[place + 1 :]]
    return chance.choice(JSON_VALUES)


if __name__ == "__main__":
    main("tests.fuzz.import_rows", case)
