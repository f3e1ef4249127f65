"""Own parts: what may be imported, and what is refused before anything is."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.own_code import forgetting_code, write_code
from tune_qat.config import UsageError
from tune_qat.config.own_parts import allow, check_part, is_own, load_part, source_sha256

own_code = pytest.fixture(autouse=True)(forgetting_code)

BUILD = "def build(model_input):\n    return 'built'\n"


def planted(name: str) -> str:
    """A module that leaves a file beside itself when it is imported."""
    return f"from pathlib import Path\nPath(__file__).with_name('{name}').touch()\n"


def refusal(name: str) -> str:
    """The message for a part that is refused, with nothing imported for it."""
    before = set(sys.modules)
    with pytest.raises(UsageError) as raised:
        load_part(name, "model")
    assert set(sys.modules) == before
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "own"),
    [("lenet5", False), ("timm:vit", False), ("torchvision:regnet", False), ("nets:build", True), ("timm.x:y", True)],
)
def test_a_colon_makes_an_own_part(name: str, own: bool) -> None:
    assert is_own(name) is own


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"op_single.py": BUILD}, "op_single:build"),
        ({"op_pack/__init__.py": BUILD}, "op_pack:build"),
        ({"op_sub/__init__.py": "", "op_sub/deep/__init__.py": "", "op_sub/deep/nets.py": BUILD},
         "op_sub.deep.nets:build"),
        ({"op_space/nets.py": "from .parts import made\n\n" + "build = made\n", "op_space/parts.py": "def made(): ..."},
         "op_space.nets:build"),
        ({"op_class.py": "class Net:\n    pass\n"}, "op_class:Net"),
        ({"op_try.py": "try:\n    import absent_library\nexcept ImportError:\n    def build(): ...\n"}, "op_try:build"),
        ({"op_beside.py": "import op_helper\ndef build(): return op_helper.x", "op_helper.py": "x = 1"},
         "op_beside:build"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_below_the_folder_is_imported(tmp_path: Path, files: dict[str, str], name: str) -> None:
    allow([write_code(tmp_path, files)])
    assert callable(load_part(name, "model"))


def test_the_folder_comes_last_on_the_path(tmp_path: Path) -> None:
    """A file of the user's cannot stand for a library's module."""
    allow(
        [write_code(tmp_path, {"op_last.py": "import numbers, colorsys\ndef build(): ...\n", "colorsys.py": "1 / 0"})]
    )
    load_part("op_last:build", "model")
    assert sys.path[-1] == str(tmp_path)


@pytest.mark.parametrize("name", ["os:system", "shutil:rmtree", "builtins:eval", "posix:system", "tune_qat.cli:main"])
def test_python_and_tune_qat_are_no_own_parts(name: str, tmp_path: Path) -> None:
    allow([tmp_path])
    assert "is no own part" in refusal(name)


@pytest.mark.parametrize("name", ["torchgen.gen:main", "idna.core:encode"])
def test_installed_packages_are_no_own_parts(name: str, tmp_path: Path) -> None:
    allow([tmp_path])
    assert "not found" in refusal(name)
    top = name.partition(":")[0].partition(".")[0]
    inside = f"{name.partition(':')[0].replace('.', '/')}.py"
    write_code(tmp_path, {f"{top}/__init__.py": "def main(): ...", inside: "def main(): ...\ndef encode(): ..."})
    assert "Give your package another name" in refusal(name)


def test_the_folder_of_installed_packages_is_refused() -> None:
    import pytest as installed

    allow([Path(installed.__file__).parents[1]])
    assert "of Python's installation" in refusal("idna.core:encode") + refusal("torchgen.gen:main")


@pytest.mark.parametrize(
    "name", [":", "a:", ":b", "a b:c", "a:b.c", "a:b:c", "a..b:c", "../a:b", "a/b:c", "a:class", "a-b:c"]
)
def test_only_identifiers_make_a_path(name: str, tmp_path: Path) -> None:
    allow([tmp_path])
    assert "package.module:name" in refusal(name)


def test_what_the_docs_say_is_refused(tmp_path: Path) -> None:
    import pytest as installed

    allow([tmp_path, Path(installed.__file__).parents[1]])
    text = (Path(__file__).parents[2] / "docs/own_model.md").read_text(encoding="utf-8")
    table = text.partition("refused before anything is imported:")[2].partition("An import that fails")[0]
    names = [name for name in re.findall(r"`([^`\s]+:\w+)`", table) if not name.startswith("my_package")]
    assert len(names) == 7
    for name in names:
        refusal(name)


def test_without_a_folder_the_message_has_file_and_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/venv/bin/tune-qat", "run", "my study.toml"])
    monkeypatch.setenv("PYTHONPATH", str(write_code(tmp_path, {"op_without/nets.py": BUILD})))
    text = refusal("op_without.nets:build")
    assert "op_without/nets.py" in text and text.endswith("tune-qat run 'my study.toml' --code DIR")


def test_a_re_export_is_refused(tmp_path: Path) -> None:
    code = planted("ran") + "from os import system as build\nfrom shutil import *\nimport posix\nimport shutil\n"
    code += "copied = shutil.rmtree\nagain: object = build\n"
    allow([write_code(tmp_path, {"op_export.py": code})])
    assert "imports 'build'" in refusal("op_export:build")
    assert "defines no 'rmtree'" in refusal("op_export:rmtree")
    for name in ("posix", "copied", "again"):
        assert f"imports {name!r}" in refusal(f"op_export:{name}")
    assert not (tmp_path / "ran").exists()


def test_what_is_not_there_is_refused_without_an_import(tmp_path: Path) -> None:
    allow([write_code(tmp_path, {"op_absent.py": planted("ran") + BUILD, "op_torn.py": planted("ran") + "def build("})])
    assert "It defines: build" in refusal("op_absent:bild")
    assert "op_absent/nets.py in" in refusal("op_absent.nets:build")
    assert "is no Python: SyntaxError" in refusal("op_torn:build")
    assert not (tmp_path / "ran").exists()


def test_a_compiled_module_is_refused(tmp_path: Path) -> None:
    allow([write_code(tmp_path, {"op_compiled.pyc": "", "op_folder/inside/nothing.txt": ""})])
    assert "no Python source file" in refusal("op_compiled:build")
    assert "no Python source file" in refusal("op_folder.inside:build")


@pytest.mark.parametrize("link", ["op_link.py", "op_linked"])
def test_links_that_lead_out_are_refused(tmp_path: Path, link: str) -> None:
    outside = write_code(tmp_path / "outside", {"op_link.py": BUILD, "op_linked/__init__.py": BUILD})
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / link).symlink_to(outside / link)
    allow([inside])
    assert "leads out of the folder of --code" in refusal(f"{link.removesuffix('.py')}:build")
    with pytest.raises(UsageError, match="leads out"):
        source_sha256(f"{link.removesuffix('.py')}:build")


def test_a_folder_of_the_same_name_on_the_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace package would have both folders, and Python would look into the other one first."""
    allow([write_code(tmp_path / "mine", {"op_both/nets.py": BUILD})])
    monkeypatch.syspath_prepend(write_code(tmp_path / "other", {"op_both/nets.py": "1 / 0"}))
    assert "is installed, too" in refusal("op_both.nets:build")


def test_what_is_imported_already_from_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow([write_code(tmp_path / "mine", {"op_taken/nets.py": BUILD, "op_made.py": BUILD})])
    taken, made = ModuleType("op_taken"), ModuleType("op_made")
    taken.__path__ = [str(tmp_path / "other")]
    monkeypatch.setitem(sys.modules, "op_taken", taken)
    monkeypatch.setitem(sys.modules, "op_made", made)
    assert f"op_taken is imported already, from {tmp_path / 'other'}" in refusal("op_taken.nets:build")
    assert "op_made is imported already" in refusal("op_made:build")


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("import op_no_such\n" + BUILD, "ModuleNotFoundError: No module named 'op_no_such'"),
        (BUILD + "1 / 0\n", "ZeroDivisionError: division by zero"),
        (BUILD + "raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_an_import_that_fails_is_one_line(tmp_path: Path, code: str, last: str) -> None:
    allow([write_code(tmp_path, {"op_failing.py": code})])
    with pytest.raises(UsageError) as raised:
        load_part("op_failing:build", "model")
    assert last in str(raised.value) and "op_failing.py, line" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_neither_function_nor_class_is_refused(tmp_path: Path) -> None:
    allow([write_code(tmp_path, {"op_value.py": "build = 3\n"})])
    with pytest.raises(UsageError, match="must be a function or a class, but is 3"):
        load_part("op_value:build", "model")


def test_the_hash_is_over_the_sources_of_the_package(tmp_path: Path) -> None:
    files = {"op_hash/__init__.py": planted("ran"), "op_hash/nets.py": BUILD, "op_hash/more/parts.py": "x = 1\n"}
    allow([write_code(tmp_path / "a", files)])
    name, before = "op_hash.nets:build", source_sha256("op_hash.nets:build")
    allow([write_code(tmp_path / "b", dict(reversed(files.items())))])
    write_code(
        tmp_path / "b",
        {"op_hash/data.npz": "1", "op_hash/.git/hook.py": "", "op_hash/__pycache__/x.py": "", "beside.py": ""},
    )
    assert source_sha256(name) == before
    write_code(tmp_path / "b", {"op_hash/more/parts.py": "x = 2\n"})
    changed = source_sha256(name)
    write_code(tmp_path / "b", {"op_hash/more/parts.py": "x = 1\n", "op_hash/more/new.py": ""})
    assert len({before, changed, source_sha256(name)}) == 3
    os.rename(tmp_path / "b/op_hash/more/new.py", tmp_path / "b/op_hash/new.py")
    assert len({before, changed, source_sha256(name)}) == 3
    assert not list(tmp_path.glob("*/op_hash/ran"))


def test_the_hash_of_a_single_file_and_a_circle_of_links(tmp_path: Path) -> None:
    allow([write_code(tmp_path, {"op_one.py": BUILD, "op_circle/nets.py": BUILD, "op_circle/deep/x.py": ""})])
    one = source_sha256("op_one:build")
    write_code(tmp_path, {"op_two.py": "changed"})
    assert source_sha256("op_one:build") == one
    circle = source_sha256("op_circle.nets:build")
    (tmp_path / "op_circle/deep/again").symlink_to(tmp_path / "op_circle")
    assert source_sha256("op_circle.nets:build") == circle


def test_no_folder_is_allowed_at_first_nor_by_the_environment(tmp_path: Path) -> None:
    write_code(tmp_path, {"op_fresh.py": planted("ran") + BUILD})
    program = (
        "from tune_qat.config.own_parts import load_part, allowed\n"
        "assert not allowed()\ntry: load_part('op_fresh:build', 'model')\n"
        "except Exception as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "--code DIR" in done.stdout and not (tmp_path / "ran").exists()


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        allow([tmp_path / "absent"])


def test_checking_a_part_imports_nothing(tmp_path: Path) -> None:
    allow(
        [write_code(tmp_path, {"op_checked/__init__.py": planted("ran"), "op_checked/nets.py": planted("ran") + BUILD})]
    )
    assert check_part("op_checked.nets:build", "model").name == "nets.py"
    assert not (tmp_path / "op_checked/ran").exists()


def test_a_command_that_compares_sources_cannot_import(tmp_path: Path) -> None:
    allow([write_code(tmp_path, {"op_hashed.py": planted("ran") + BUILD})], only_hashed=True)
    assert len(source_sha256("op_hashed:build")) == 64
    assert "which this command does not import" in refusal("op_hashed:build")
    assert not (tmp_path / "ran").exists()
