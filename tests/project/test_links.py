"""Links between the pages of the documentation: files and anchors, without a network."""

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from tests.project.pages import ROOT, anchors, links, pages, prose, text_of

ELSEWHERE = ("http://", "https://", "mailto:")


def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading() -> None:
    lost, checked = [], 0
    for page in pages():
        for target in links(page):
            if target.startswith(ELSEWHERE):
                continue
            checked += 1
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or not file.is_relative_to(ROOT):
                lost.append(f"{page.relative_to(ROOT)}: {target} is not there")
            elif anchor and anchor not in anchors(file):
                lost.append(f"{page.relative_to(ROOT)}: {target} has no such heading")
    assert lost == []
    assert checked > 100


def test_a_lost_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A [b](c.md#d) `e`\n## Two\n## Two\n`[code](no.md)` ![p](q.svg)\n```bash\n# No\n[no](no.md)\n```\n"
    )
    assert anchors(page) == {"a-b-e", "two", "two-1"}
    assert links(page) == ["c.md#d", "q.svg"]


def test_the_navigation_has_every_page() -> None:
    site = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    named = {
        f"docs/{one}" if not one.startswith("/") else one[1:] for part in site["NAVIGATION"].values() for one in part
    }
    there = {str(page.relative_to(ROOT).with_suffix("")) for page in (*pages(), *(ROOT / "docs").glob("*.ipynb"))}
    assert named <= there
    left = {one for one in there - named if not one.startswith(("docs/results/", "docs/performance/"))}
    assert left == {"README"}


def test_readme_is_short_and_has_its_parts() -> None:
    text = text_of(ROOT / "README.md")
    assert len(text.splitlines()) < 150
    assert text.index("![") < text.index("```bash") < text.index("## What it is not")


def test_the_time_of_quickstart_stands_once() -> None:
    """As the header of its file has it; elsewhere there are links."""
    (said,) = re.findall(
        r"tune-qat run quickstart +\((\d+ s)", (ROOT / "search_spaces" / "quickstart.toml").read_text()
    )
    with_it = [
        page for page in pages() if re.search(rf"(?<!\d){said}\b", text_of(page)) and page.name != "CHANGELOG.md"
    ]
    assert with_it == [ROOT / "README.md"]
    assert text_of(ROOT / "README.md").count(said) == 1


def test_no_page_names_a_place_on_a_machine() -> None:
    for page in pages():
        found = re.findall(r"(?<![\w.:/])/(?:home|root|Users|var/folders)/\w+", text_of(page))
        assert found == [], page


def test_files_and_modules_that_the_text_names_exist() -> None:
    """`python -m benchmarks.X`, and paths below the repository's own folders."""
    known = set(subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split())
    if not known:
        pytest.skip("no checkout")
    folders = {str(parent) for name in known for parent in Path(name).parents}
    lost = []
    for page in pages():
        if page.name == "CHANGELOG.md":
            continue
        for module in re.findall(r"python -m (benchmarks(?:\.\w+)+)", text_of(page)):
            if f"{module.replace('.', '/')}.py" not in known:
                lost.append((page.name, module))
        for path in re.findall(r"`((?:tune_qat|analysis|benchmarks|tests|docs|search_spaces)/[\w./-]+)`", prose(page)):
            if "NAME" not in path and path not in known and path.rstrip("/") not in folders:
                lost.append((page.name, path))
    assert lost == []
