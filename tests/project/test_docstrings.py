"""Docstrings name what they stand under: first a verb for a function, a noun for a module, a class or a field."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES_NOTHING = {"As", "By", "For", "Of", "Such", "That", "Those", "What", "Which"}
VERBS = set(
    """
    Add Answer Append Apply Ask Begin Bring Build Call Check Choose Claim Clip Close Collect Compare Compute
    Connect Constrain Convert Copy Count Cut Declare Decode Download Draw Drop End Escape Evaluate Export Fetch
    Fill Find Finish Fit Flush Follow Format Free Freeze Give Go Guess Handle Hash Hold Import Initialise Join
    Keep Leave Let Limit List Load Lock Look Make Map Mark Measure Merge Move Name Note Open Pack Parse Pass
    Pick Plan Print Probe Propose Put Quantize Raise Rank Read Record Refuse Release Remove Replace Replay
    Report Reset Resolve Resume Return Rewrite Round Run Save Say Scale Search Seed Send Serve Set Shade Show
    Sort Split Start Stop Store Subtract Summarise Take Tell Test Train Translate Try Turn Unpack Update Use
    Wait Walk Warn Watch Write Yield
""".split()
)
"""First words of functions; a further verb in the imperative is added here."""


def docstrings(path: Path) -> Iterator[tuple[str, int, str]]:
    """Kind (function, or thing), line and text of every docstring of a file, those under fields included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            decorators = [ast.unparse(one) for one in getattr(node, "decorator_list", [])]
            is_function = isinstance(node, ast.FunctionDef) and not any("property" in one for one in decorators)
            yield "function" if is_function else "thing", getattr(node, "lineno", 1), text
        for before, after in pairwise(body):
            if isinstance(before, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
                if isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
                    yield "thing", after.lineno, after.value.value


def fault(kind: str, text: str) -> str | None:
    """What is wrong with the first word, if anything is."""
    first = text.split()[0].rstrip(",:;.")
    if kind == "function" and first not in VERBS:
        return f"{first!r} is no verb that the list of this test has"
    return f"{first!r} names nothing" if first in NAMES_NOTHING else None


def test_first_words() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {why}: {text.splitlines()[0]}"
        for package in ("tune_qat", "analysis")
        for path in sorted((ROOT / package).rglob("*.py"))
        for kind, line, text in docstrings(path)
        if (why := fault(kind, text))
    ]
    assert not found, "\n".join(found)
