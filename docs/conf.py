"""Sphinx's configuration of the site: `python -m sphinx -W -c docs . build/site`, from the repository's root.

The source is the repository itself, so that links between README, CONTRIBUTING and docs/ are the same on GitHub, in an
editor and on the site. Nothing is fetched: no font, script or picture comes from another host.
"""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "tune_qat"
copyright = "the authors of tune_qat"  # noqa: A001 - Sphinx's name
html_title = "tune_qat"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**.md", "docs/**.ipynb"]
OTHERS = ("build", "dist", "results", "data", "tests", "analysis", "benchmarks", "tune_qat")
exclude_patterns = [".*", *OTHERS, "**/record"]

myst_heading_anchors = 4
myst_enable_extensions = ["strikethrough"]
suppress_warnings = ["misc.highlighting_failure"]  # mermaid, which GitHub draws, is text here

html_theme = "furo"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["site.css"]
html_css_files = ["site.css"]

NAVIGATION = {
    "Begin": ["first_study", "install", "first_look", "commands", "features"],
    "Your network and data": ["own_model", "models", "data"],
    "Studies": [
        "writing_a_study",
        "study_file",
        "choosing",
        "repeats",
        "mixed",
        "factors",
        "objectives",
        "clusters",
        "workers",
        "storage",
        "troubleshooting",
    ],
    "Results": ["reading", "questions", "record", "curves", "export", "statistics"],
    "From other tools": ["coming_from", "importing"],
    "Measured": ["results/README", "performance/README", "limitations"],
    "How it is built": ["architecture", "/CONTRIBUTING", "/CHANGELOG"],
}
"""Pages of the sidebar by heading; those of results/ and performance/ hang below their first page."""


def notebook(text: str) -> str:
    """Return a notebook as Markdown: its cells in order, without their outputs."""
    cells = json.loads(text)["cells"]
    return "\n\n".join(
        "".join(cell["source"]) if cell["cell_type"] == "markdown" else f"```python\n{''.join(cell['source'])}\n```"
        for cell in cells
    )


def tree(pages: list[str], caption: str = "") -> str:
    """Return the directive that puts pages into the sidebar."""
    said = f":caption: {caption}\n" if caption else ""
    return f"\n\n```{{toctree}}\n:hidden:\n{said}\n" + "\n".join(pages) + "\n```\n"


def read(app: "Sphinx", name: str, source: list[str]) -> None:
    """Add to a page what GitHub does not show: the sidebar; and make a page of a notebook."""
    if name == "docs/first_look":
        source[0] = notebook(source[0])
    if name == root_doc:
        for caption, pages in NAVIGATION.items():
            source[0] += tree([page if page.startswith("/") else f"docs/{page}" for page in pages], caption)
    if name in ("docs/results/README", "docs/performance/README"):
        folder = name.rpartition("/")[0]
        beside = sorted(page for page in app.env.found_docs if page.startswith(f"{folder}/") and page != name)
        source[0] += tree([f"/{page}" for page in beside])


def setup(app: "Sphinx") -> dict[str, Any]:
    """Connect."""
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
