"""Texts of a record that may be published: nothing of this machine, its user and its network is left in them."""

import json
import socket
import sys
import traceback
from pathlib import Path

import pytest

from tests.helpers.rows import filled, write
from tune_qat.results.publishable import publishable, publishable_command, publishable_definition, with_tilde
from tune_qat.results.reader import read_rows


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", "/home/alice")
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-cluster-07")
    return "/home/alice"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see /home/alice/runs/a.txt.", "see ~/runs/a.txt."),
        ("/home/alice", "~"),
        ("/home/alicia/x /home/bob", ".../x ..."),
        ("/data/home/alice/x", ".../x"),
        ("--results=/scratch/alice/results", "--results=.../results"),
        ("no space in /mnt/share: /tmp/ray/session_1/logs is full", "no space in .../share: .../logs is full"),
        ('File "/usr/lib/python3.11/threading.py", line 1', 'File "threading.py", line 1'),
        ('File "/opt/my venv/lib/python3.11/site-packages/ray/a.py", line', 'File "ray/a.py", line'),
        ('File "/home/alice/.venv/lib/python3.12/site-packages/ray/tune/a.py"', 'File "ray/tune/a.py"'),
        ('File "/srv/alice/checkout/tune_qat/tuning/trainable.py"', 'File "tune_qat/tuning/trainable.py"'),
        ('File "/srv/my work/model.py", line 3', 'File ".../model.py", line 3'),
        ("sqlite:////srv/alice/sweep.db", "sqlite:///.../sweep.db"),
        ("sqlite:////home/alice/sweep.db", "sqlite:///~/sweep.db"),
        ("file:///srv/alice/x", "file://.../x"),
        ("died on gpu-cluster-07 (ip=10.1.2.3), pid=7", "died on HOST (ip=...), pid=7"),
        ("postgresql://alice:pw@db/x is away", "postgresql://...@db/x is away"),
        ("https://docs.example/en/latest/a.html", "https://docs.example/en/latest/a.html"),
        ("s3://bucket/results/a", "s3://bucket/results/a"),
        ("and/or 1/2/3 val/test ratio n/a, a / b", "and/or 1/2/3 val/test ratio n/a, a / b"),
        ("127.0.0.1 and 2.13.0.1", "127.0.0.1 and ..."),
    ],
)
def test_a_text_names_no_place_user_or_host(text: str, shown: str) -> None:
    assert publishable(text) == shown
    assert publishable(shown) == shown, "once is enough"


def test_what_is_below_home_can_still_be_opened() -> None:
    text = json.dumps({"data_dir": "/home/alice/data", "other": "/scratch/x/home/alice/y", "whole": "/home/alice"})
    expected = {"data_dir": "~/data", "other": "/scratch/x/home/alice/y", "whole": "~"}
    assert json.loads(with_tilde(text)) == expected


def test_a_traceback_shows_files_within_their_library() -> None:
    try:
        json.loads("{")
    except ValueError:
        shown = publishable(traceback.format_exc())
    assert 'File "json/__init__.py"' in shown and 'File "tests/results/test_publishable.py"' in shown
    assert sys.prefix not in shown and str(Path(__file__).parents[2]) not in shown


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["tune-qat", "run", "/home/alice/my study.toml"], "tune-qat run '~/my study.toml'"),
        (["run", "--results", "/srv/alice smith/results"], "run --results .../results"),
        (["run", "--set", "data_dir=/srv/alice smith/d"], "run --set data_dir=.../d"),
        (["run", "--address", "head-of-alice:6379"], "run --address ..."),
        (["run", "--address=10.0.0.1:6379"], "run --address=..."),
        (["run", "--address", "auto", "--time-budget", "8h"], "run --address auto --time-budget 8h"),
        (["run", "x", "--results", "s3://bucket/a?region=b"], "run x --results 's3://bucket/a?...'"),
    ],
)
def test_a_command_is_shown_word_by_word(words: list[str], shown: str) -> None:
    assert publishable_command(words) == shown


def test_the_record_is_written_so_whoever_writes_it(tmp_path: Path) -> None:
    said = 'File "/home/alice/.venv/lib/python3.11/site-packages/a.py"\nOSError: /srv/alice/x'
    write(tmp_path, "s", "trials", "a", filled("trials", error_text=said))
    definition = filled("studies", definition_json='{"data_dir":"/home/alice/data"}', command="run /srv/alice/x.toml")
    write(tmp_path, "s", "studies", "study", definition)
    assert read_rows(tmp_path, "trials")[0]["error_text"] == 'File "a.py"\nOSError: .../x'
    (study,) = read_rows(tmp_path, "studies")
    assert (study["definition_json"], study["command"]) == ('{"data_dir":"~/data"}', "run .../x.toml")


def test_a_definition_names_places_by_their_last_parts() -> None:
    written = {
        "note": "cut short on gpu-cluster-07, see /srv/alice/log.txt",
        "data_dir": "/srv/alice smith/imagenet",
        "training": {"init": "path", "init_path": "/mnt/alice/start.pt"},
        "logging": {"tensorboard": "/srv/alice smith/log"},
        "quantization": {"bits": [[4, 4]]},
    }
    shown = {
        "note": "cut short on HOST, see .../log.txt",
        "data_dir": ".../imagenet",
        "training": {"init": "path", "init_path": ".../start.pt"},
        "logging": {"tensorboard": ".../log"},
        "quantization": {"bits": [[4, 4]]},
    }
    assert json.loads(publishable_definition(json.dumps(written))) == shown
    versions = json.loads(publishable_definition(json.dumps([{"file_hash": "a", "definition": written}])))
    assert versions == [{"file_hash": "a", "definition": shown}]
    for place in ("data", "../data", "~/data", "s3://bucket/start.pt"):
        assert json.loads(publishable_definition(json.dumps({"data_dir": place}))) == {"data_dir": place}
    for unchanged in ("{", "[1]", "1", '{"a": 1e-5, "note":"\\ud800"}', "[" * 10**5):
        assert publishable_definition(unchanged) == unchanged
    odd = publishable_definition('{"note": "\\ud800", "data_dir": "/srv/alice/x"}')
    assert odd.encode() and json.loads(odd)["data_dir"] == ".../x", "a text that Arrow takes"
