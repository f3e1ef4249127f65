"""Imports point one way. The table below is the design; a broken arrow says what it would tie together."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("tune_qat", "analysis", "search_spaces")

ALLOWED: dict[str, set[str]] = {
    # The ground: what a trial is and gives back, where files are, values as text.
    "config": set(),
    "storage": {"config"},
    "text": {"config"},
    # Four tables of names. They never import one another, but for a model, which is told of its data by what a dataset
    # says of itself.
    "quantizers": {"config"},
    "optimizers": {"config"},
    "data": {"config"},
    "models": {"config", "data.base"},
    # One trial.
    "quantization": {"config", "quantizers"},
    "training": {"config", "storage", "quantizers", "optimizers", "models", "data", "quantization"},
    # One study, its record, and what runs it.
    "study": {"config", "quantizers", "optimizers", "models", "data", "search_spaces"},
    "results": {"config", "storage"},
    "tuning": {"config", "storage", "data", "optimizers.base", "quantization", "training", "study", "results"},
    # Questions.
    "analysis": {"config", "storage", "results"},
    # One package for each further command.
    "export": {"config", "storage", "text", "quantizers", "models", "data", "quantization", "training"}
    | {"results", "analysis"},
    "importing": {"config", "storage", "results"},
    "launch": {"config", "text", "data", "study"},
    "rerun": {"config", "storage", "training", "results"},
    "simulate": {"config", "storage", "text", "optimizers", "study", "results", "tuning"},
    "widen": {"config", "storage", "text", "study", "results", "analysis"},
    "search_spaces": set(),
}
"""What each part may import of the others; a part is a package of `tune_qat`, or `analysis`, or `search_spaces`."""
OUTERMOST = {"cli", "__main__"}
MAY_IMPORT_ANYTHING = {*OUTERMOST, "__init__"}
ENGINES = {"ray": {"tuning", "simulate.loop"}, "optuna": {"tuning", "importing", "analysis.stats.importance"}}
"""And the parts or modules that import them: what runs studies; of Optuna, what reads its storages, and what asks it
which hyperparameter mattered."""
WITHOUT_TORCH = {
    *("config", "storage", "text", "study", "results", "analysis", "search_spaces"),
    *("importing", "launch", "simulate", "widen", "cli", "__init__", "__main__"),
}
"""Checked before, or read after, training: they never import torch, in a function neither."""


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def part_of(name: str) -> str:
    """`tune_qat.data.base` is in `data`; `analysis` is itself."""
    first, _, rest = name.partition(".")
    return (rest.partition(".")[0] or "__init__") if first == "tune_qat" else first


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Full names of everything a file imports, at its top or in a function; not what only type checkers see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for body in node.body
        for inner in ast.walk(body)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            # `from tune_qat import data` imports a part, `from tune_qat.data import load` a name of it.
            whole = node.module == "tune_qat"
            yield from (f"{node.module}.{alias.name}" if whole else node.module for alias in node.names)


def ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def allowed(importer: str, imported: str) -> bool:
    """Whether a part may import a module: the part it is in, or that module alone, is in the table."""
    target = part_of(imported)
    if importer == target or importer in MAY_IMPORT_ANYTHING:
        return True
    within = imported.removeprefix("tune_qat.")
    return target in ALLOWED[importer] or within in ALLOWED[importer]


def test_the_reader_sees_functions_and_not_what_type_checkers_see(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import json\nfrom tune_qat import data, models\nfrom tune_qat.study import Study\n"
        "if TYPE_CHECKING:\n    import ray\nelse:\n    import optuna\n"
        "def late():\n    from torch import nn\n"
    )
    expected = ["json", "tune_qat.data", "tune_qat.models", "tune_qat.study", "optuna", "torch"]
    assert sorted(imports(path)) == sorted(expected)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("optimizers", "tune_qat.quantizers"),
        ("models", "tune_qat.data"),
        ("models", "tune_qat.data.photos"),
        ("quantization", "tune_qat.optimizers"),
        ("training", "tune_qat.tuning.plan"),
        ("results", "tune_qat.tuning.record"),
        ("study", "tune_qat.tuning.plan"),
        ("analysis", "tune_qat.study"),
        ("config", "tune_qat.storage.paths"),
    ],
)
def test_arrows_that_the_design_rules_out_are_refused(importer: str, imported: str) -> None:
    assert not allowed(importer, imported)


def broken_arrow(module: str, name: str) -> str | None:
    """What is wrong with a module's importing another of ours."""
    importer = part_of(module)
    if importer not in ALLOWED and importer not in MAY_IMPORT_ANYTHING:
        return f"{module}: {importer} is new. Add it to ALLOWED with what it may import, the less the better."
    if part_of(name) in OUTERMOST and importer not in OUTERMOST:
        return f"{module} imports {name}: the command line is the outermost part, and nothing may need it."
    if not allowed(importer, name):
        return (
            f"{module} imports {name}. {importer} may import "
            f"{', '.join(sorted(ALLOWED[importer])) or 'nothing of ours'}: with this arrow it could no longer be used, "
            f"tested or understood without {part_of(name)}. Move what both need to a part that both may import."
        )
    return None


def misplaced_library(module: str, name: str) -> str | None:
    """What is wrong with a module's importing from a library."""
    importer, top = part_of(module), name.partition(".")[0]
    if not {importer, module.removeprefix("tune_qat.")} & ENGINES.get(top, {importer}):
        return (
            f"{module} imports {top}: Ray and Optuna are the engine, known to tune_qat/tuning (ENGINES), so that a "
            "trial runs, and a record is read, without them."
        )
    if top == "torch" and importer in WITHOUT_TORCH and not module.endswith(".provenance"):
        return f"{module} imports torch: studies are checked, and records read, on machines without it."
    if importer == "config" and top not in {*sys.stdlib_module_names, "tune_qat"}:
        return f"{module} imports {top}: every part imports it, so it takes the standard library only."
    return None


def test_imports_point_one_way() -> None:
    found = [broken_arrow(module_name(path), name) for path in modules() for name in filter(ours, imports(path))]
    broken = [arrow for arrow in found if arrow]
    assert len(found) > 500 and not broken, "\n".join(broken)


def test_engines_are_imported_where_they_are_needed_alone() -> None:
    found = [misplaced_library(module_name(path), name) for path in modules() for name in imports(path)]
    misplaced = [arrow for arrow in found if arrow]
    assert len(found) > 1000 and not misplaced, "\n".join(misplaced)


@pytest.mark.parametrize(
    ("module", "imported", "text"),
    [
        ("tune_qat.study.space", "ray.tune", "Ray and Optuna are the engine"),
        ("tune_qat.simulate.summary", "ray", "Ray and Optuna are the engine"),
        ("analysis.questions", "torch.nn", "on machines without it"),
        ("tune_qat.config.lookup", "numpy", "the standard library only"),
    ],
)
def test_libraries_that_the_design_rules_out_are_refused(module: str, imported: str, text: str) -> None:
    assert text in (misplaced_library(module, imported) or "")
    assert misplaced_library("tune_qat.tuning.run", imported) is None


def test_the_table_has_no_circle_and_no_part_that_is_gone() -> None:
    seen: set[str] = set()
    while left := {part for part in ALLOWED if part not in seen}:
        ready = {part for part in left if {arrow.partition(".")[0] for arrow in ALLOWED[part]} <= seen}
        assert ready, f"these parts import one another in a circle: {', '.join(sorted(left))}"
        seen |= ready
    assert {part_of(module_name(path)) for path in modules()} - MAY_IMPORT_ANYTHING == set(ALLOWED)


HEAVY = ("torch", "torchvision", "ray", "optuna")
LATE = (*HEAVY, "pandas", "duckdb", "pyarrow", "scipy", "sklearn", "skimage", "timm", "pytorchcv")


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import tune_qat.cli", (*LATE, "numpy", "pydantic")),
        (
            "import sys, tune_qat.cli; sys.argv = ['tune-qat', '--help']; tune_qat.cli.main()",
            (*LATE, "numpy", "pydantic"),
        ),
        ("import sys, tune_qat.cli; sys.argv = ['tune-qat', 'run', '--help']; tune_qat.cli.main()", (*LATE, "numpy")),
        ("import sys, tune_qat.cli; sys.argv = ['tune-qat', 'list']; tune_qat.cli.main()", LATE),
        (
            "import sys, tune_qat.cli; sys.argv = ['tune-qat', 'plan', 'quickstart']; tune_qat.cli.main()",
            HEAVY,
        ),
        ("import tune_qat.quantizers, tune_qat.optimizers, tune_qat.models, tune_qat.data", LATE),
        ("from tune_qat import Study; Study.load('quickstart').arms()", LATE),
        ("import tune_qat.cli.plan_text, tune_qat.cli.status_text, tune_qat.cli.run_summary, analysis", HEAVY),
        ("import tune_qat.results.reader, tune_qat.results.writer", HEAVY),
        (
            "import tune_qat.training.loop, tune_qat.training.workload",
            ("ray", "optuna", "pydantic", "duckdb", "pyarrow", "pytorch_optimizer", "schedulefree", "prodigyopt"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, absent: tuple[str, ...]) -> None:
    report = f"import sys; print('found', *(name for name in {absent!r} if name in sys.modules), file=sys.stderr)"
    # Commands end with SystemExit; the modules are looked at even so.
    program = f"try:\n    {code}\nexcept SystemExit:\n    pass\n{report}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "found", f"{code} imports what only a later step needs"
