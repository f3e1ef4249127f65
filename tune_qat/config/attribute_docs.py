"""Docstrings of a class's attributes, which Python keeps in no object."""

import ast
import inspect
import textwrap


def attribute_docs(cls: type) -> dict[str, str]:
    """Read the docstring below each annotated attribute of a class from its source, in one line each."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            docs[before.target.id] = " ".join(str(after.value.value).split())
    return docs
