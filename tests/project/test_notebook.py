"""The notebook of docs/: its cells run in order, and it is kept without outputs."""

import json
import re
from contextlib import chdir
from typing import Any

import pytest

from tests.project.pages import ROOT

NOTEBOOK = ROOT / "docs" / "first_look.ipynb"


def cells(kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def test_it_is_kept_without_outputs_and_its_links_lead_somewhere() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells("code"))
    targets = re.findall(r"\]\(([^)]+)\)", "".join(line for cell in cells("markdown") for line in cell["source"]))
    assert targets and all((NOTEBOOK.parent / target).exists() for target in targets)


@pytest.mark.slow
def test_its_cells_run() -> None:
    names: dict[str, Any] = {}
    with chdir(NOTEBOOK.parent):
        for cell in cells("code"):
            exec("".join(cell["source"]), names)  # noqa: S102 - the notebook's own code
    assert len(names["board"]) == 20 and len(names["figure"].data) > 10
