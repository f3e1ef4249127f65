"""Code blocks of the documentation: each has a language, TOML is a study or a part of one, Python files import."""

import ast
import re
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from tests.helpers.own_code import forgetting_code, write_code
from tests.project.pages import MARKS, Block, blocks, blocks_of, is_run, pages, text_of
from tune_qat.config.own_parts import allow
from tune_qat.study import Study
from tune_qat.study.file_schema import file_schema

own_code = pytest.fixture(forgetting_code)


@cache
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(file_schema())


def test_every_block_has_a_language_and_every_mark_a_reason() -> None:
    assert len(blocks("bash")) > 25 and len(blocks("python")) > 20 and len(blocks("toml")) > 12
    for page in pages():
        assert len(blocks_of(page)) * 2 == len(re.findall(r"^ *```", text_of(page), re.M)), (
            f"{page}: a block is not read"
        )
        for block in blocks_of(page):
            assert block.language in ("python", "toml", "bash", "text", "mermaid"), block
            assert not block.mark or (block.mark in MARKS and block.said), block
        marks = re.findall(r"^ *<!-- (\w[\w ]*):", text_of(page), re.M)
        assert len(marks) == sum(bool(block.mark) for block in blocks_of(page)), (
            f"{page}: a mark is not ahead of a block"
        )


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_is_a_study_or_a_part_of_one(block: Block, tmp_path: Path) -> None:
    """A whole one is loaded as it is, a part is held against the schema."""
    found = tomllib.loads(block.text)
    if block.mark == "no study":
        return
    if {"workload", "quantization", "judgement"} <= set(found):
        (tmp_path / "shown.toml").write_text(block.text, encoding="utf-8")
        assert Study.load(str(tmp_path / "shown.toml")).arms()
    else:
        schema().validate({"extend": "quickstart", **found})


def test_a_wrong_key_of_a_part_is_found() -> None:
    for wrong in ({"stages": {"retrian": 3}}, {"training": {"epochs": "ten"}}, {"quantization": {"quantizer": "lsqq"}}):
        with pytest.raises(jsonschema.ValidationError):
            schema().validate({"extend": "quickstart", **wrong})


def sections() -> dict[str, list[Block]]:
    """Python files of each section that has some."""
    found: dict[str, list[Block]] = {}
    for block in (block for block in blocks("python") if is_run(block) and block.file):
        found.setdefault(f"{block.page.name}: {block.section}", []).append(block)
    return found


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize("files", sections().values(), ids=sections())
def test_python_files_import_and_their_tests_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[Block]
) -> None:
    """Those of a section lie in one folder; a function `test_*` is called as pytest would call it."""
    needed = [block for block in blocks("python") if block.file and block.page == files[0].page and is_run(block)]
    write_code(tmp_path, {str(block.file): block.text for block in [*needed, *files]})
    monkeypatch.syspath_prepend(str(tmp_path))
    allow([tmp_path])
    for block in files:
        module = import_module(str(block.file).removesuffix(".py").replace("/", "."))
        assert [name for name, _ in vars(module).items() if not name.startswith("_")], block
        for name in (name for name in vars(module) if name.startswith("test_")):
            getattr(module, name)(tmp_path)


def test_python_that_is_not_run_is_python() -> None:
    for block in (block for block in blocks("python") if block.mark == "not run"):
        ast.parse(block.text)


def test_no_sql_shown_pools_bit_widths() -> None:
    asked = [sql for block in blocks("bash", "python") for sql in re.findall(r"SELECT.*?GROUP BY", block.text, re.S)]
    assert len(asked) >= 2 and all("weight_bits" in sql for sql in asked)
