"""Imports point one way, and no two files need each other. The table is the design."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
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
    "models": {"config", "data.spec"},
    # One trial.
    "quantization": {"config", "quantizers"},
    "training": {"config", "storage", "quantizers", "optimizers", "models", "data", "quantization"},
    # One study, its record, and what runs it.
    "study": {"config", "text", "quantizers", "optimizers", "models", "data", "search_spaces"},
    "results": {"config", "storage"},
    "trackers": {"config", "storage", "results"},
    "tuning": {"config", "storage", "text", "data", "quantization", "training", "study", "results", "trackers"},
    # Questions.
    "analysis": {"config", "storage", "text", "results"},
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
ENGINES = {
    "ray": {"tuning", "simulate.loop"},
    "optuna": {"tuning", "importing", "analysis.stats.importance", "trackers"},
    "tensorboard": {"trackers"},
    "wandb": {"trackers"},
}
"""And the parts or modules that import them: what runs studies; of Optuna, what reads its storages, what writes them,
and what asks it which hyperparameter mattered; trackers, what exports to them."""
WITHOUT_TORCH = {
    *("config", "storage", "text", "study", "results", "analysis", "search_spaces"),
    *("importing", "launch", "simulate", "trackers", "widen", "cli", "__init__", "__main__"),
}
"""Checked before, or read after, training: they never import torch, in a function neither."""
MOST_DOORS = 21


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for part in PACKAGES for path in sorted((ROOT / part).rglob("*.py"))}


def part_of(name: str) -> str:
    """`tune_qat.data.spec` is in `data`; `analysis` is itself."""
    first, _, rest = name.partition(".")
    return (rest.partition(".")[0] or "__init__") if first == "tune_qat" else first


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Full names of everything a file imports: at its top, in a function, or for type checkers alone."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: relative import"
            # `from tune_qat import data` imports a module, `from tune_qat.data import load` a name of one.
            within = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in MODULES else node.module for name in within]
    return tuple(found)


def ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


def allowed(importer: str, imported: str) -> bool:
    """Whether a part may import a module: the part it is in, or that module alone, is in the table."""
    target = part_of(imported)
    if importer == target or importer in MAY_IMPORT_ANYTHING:
        return True
    within = imported.removeprefix("tune_qat.")
    return target in ALLOWED[importer] or within in ALLOWED[importer]


def test_the_reader_sees_functions_and_what_only_type_checkers_see(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import json\nfrom tune_qat import data, models\nfrom tune_qat.study import Study\n"
        "if TYPE_CHECKING:\n    import ray\nelse:\n    import optuna\n"
        "def late():\n    from torch import nn\n"
    )
    expected = ["json", "tune_qat.data", "tune_qat.models", "tune_qat.study", "ray", "optuna", "torch"]
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
    """What is wrong with a module that imports another of ours."""
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
    """What is wrong with a module that imports from a library."""
    part, own, top = part_of(module), module.removeprefix("tune_qat."), name.partition(".")[0]
    if top in ENGINES and not {part, own} & ENGINES[top]:
        return f"{module} imports {top}: a trial runs, and a record is read, without Ray and Optuna (ENGINES)."
    if top == "torch" and part in WITHOUT_TORCH:
        return f"{module} imports torch: studies are checked, and records read, on machines without it."
    if part == "config" and top not in {*sys.stdlib_module_names, "tune_qat"}:
        return f"{module} imports {top}: every part imports config, so it takes the standard library only."
    return None


def test_imports_point_one_way() -> None:
    found = [broken_arrow(module, name) for module, path in MODULES.items() for name in filter(ours, imports(path))]
    broken = [arrow for arrow in found if arrow]
    assert len(found) > 500 and not broken, "\n".join(broken)


def test_engines_are_imported_where_they_are_needed_alone() -> None:
    found = [misplaced_library(module, name) for module, path in MODULES.items() for name in imports(path)]
    misplaced = [arrow for arrow in found if arrow]
    assert len(found) > 1000 and not misplaced, "\n".join(misplaced)


@pytest.mark.parametrize(
    ("module", "imported", "text"),
    [
        ("tune_qat.study.space", "ray.tune", "without Ray and Optuna"),
        ("tune_qat.simulate.summary", "ray", "without Ray and Optuna"),
        ("analysis.questions", "torch.nn", "on machines without it"),
        ("tune_qat.config.lookup", "numpy", "the standard library only"),
    ],
)
def test_libraries_that_the_design_rules_out_are_refused(module: str, imported: str, text: str) -> None:
    assert text in (misplaced_library(module, imported) or "")
    assert misplaced_library("tune_qat.tuning.run", imported) is None


def test_no_two_files_need_each_other() -> None:
    arrows = {module: {name for name in imports(path) if name in MODULES} for module, path in MODULES.items()}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"these files import one another in a circle: {' -> '.join(error.args[1])}")


def test_the_table_has_no_circle_and_no_part_that_is_gone() -> None:
    TopologicalSorter(
        {part: {arrow.partition(".")[0] for arrow in arrows} for part, arrows in ALLOWED.items()}
    ).prepare()
    assert {part_of(module) for module in MODULES} - MAY_IMPORT_ANYTHING == set(ALLOWED)


def test_the_root_has_few_doors() -> None:
    doors = {part_of(module) for module in MODULES if module.startswith("tune_qat.")}
    assert len(doors) <= MOST_DOORS, f"{len(doors)} doors at the root of tune_qat; {sorted(doors)}"


HEAVY = ("torch", "torchvision", "ray", "optuna", "tensorboard", "wandb")
LATE = (*HEAVY, "pandas", "duckdb", "pyarrow", "scipy", "sklearn", "skimage", "timm", "pytorchcv")


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import tune_qat.cli, analysis", (*LATE, "numpy", "pydantic")),
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
            ("ray", "optuna", "pydantic", "duckdb", "pyarrow", "pytorch_optimizer", "schedulefree", "prodigyopt")
            + ("tensorboard", "wandb"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.slow
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, absent: tuple[str, ...]) -> None:
    report = f"import sys; print('found', *(name for name in {absent!r} if name in sys.modules), file=sys.stderr)"
    # Commands end with SystemExit; the modules are looked at even so.
    program = f"try:\n    {code}\nexcept SystemExit:\n    pass\n{report}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "found", f"{code} imports what only a later step needs"


@pytest.mark.parametrize(("package", "most"), [("tune_qat", 200), ("analysis", 220)])
def test_a_package_is_imported_with_few_modules(package: str, most: int) -> None:
    """Seconds depend on the machine: `python -m benchmarks.imports` measures them."""
    code = f"import sys, {package}; print(len(sys.modules), set({LATE!r}) & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    number, late = done.stdout.split(maxsplit=1)
    assert 50 < int(number) <= most and late.strip() == "set()", done.stdout
