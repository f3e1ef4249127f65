"""What the page says of whole, partial and hostile records."""

import json
import re
from pathlib import Path

import pytest

from analysis.report.blocks import BLOCKS
from analysis.report.of_scores import UNPUBLISHED
from analysis.report.page import page, safe_json
from tests.analysis.report.synthetic_study import SyntheticStudy
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write

pytestmark = pytest.mark.slow  # pages of whole records, which take seconds to make


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    results = tmp_path_factory.mktemp("whole")
    SyntheticStudy(results)
    return page(results)


def own(html: str) -> str:
    """The page without plotly's script."""
    return html[: html.index("plotly.js v")]


def said(html: str) -> str:
    """The words of the page as people read them."""
    return " ".join(re.sub(r"<script.*?</script>|<style.*?</style>|<[^>]+>", " ", own(html), flags=re.S).split())


def test_the_page_is_one_file_that_loads_nothing(whole: str) -> None:
    assert not re.findall(r'(?:src|href)="(?!#|data:)', own(whole))
    assert "connect-src 'none'" in whole and len(whole) < 8_000_000


def test_blocks_stand_in_order_with_their_sql(whole: str) -> None:
    found = re.findall(r'<section id="(\w+)"', whole)
    assert found == [block.key for block in BLOCKS]
    assert "WITH scored AS (" in whole and "-- Which optimizer is best per workload" in whole


def test_a_section_without_evidence_is_one_sentence(whole: str) -> None:
    section = whole.partition('<section id="published" class="nothing">')[2].partition("</section>")[0]
    assert re.sub("<[^>]+>|\\s+", " ", section).split() == f"13 Published numbers {UNPUBLISHED}".split()
    assert '<section id="learning_rate">' in whole


def test_names_and_numbers_are_as_people_write_them(whole: str) -> None:
    text = said(re.sub("<pre.*?</pre>", "", whole, flags=re.S))
    assert "Adam \u2019s configuration" in text and "SGD with AGC" in text
    assert not re.search(r"\badam (and|is|or|cannot|are)\b|sgd_agc (and|is|or|cannot|are)\b|fraction", text)


def test_synthetic_data_is_called_so(whole: str) -> None:
    assert "Study made_up is synthetic: its data is made up." in said(whole)


def test_leaderboard_rows_are_those_of_the_record(whole: str) -> None:
    text = said(whole)
    # 11 % is the trivial test score; four seeds of sgd_agc and one that diverged count together.
    assert re.search(r"best constant prediction 11\.0+ ", text)
    assert re.search(r"SGD with AGC [\d.e-]+ \d+ [\d.]+ none: some runs failed or collapsed, others did not 5 1 ", text)


def test_a_study_that_is_not_finished_is_labelled(tmp_path: Path) -> None:
    SyntheticStudy(tmp_path, complete=False, seeds=2, optimizers=("adam", "sgd"))
    assert "Study made_up is not finished: 108 of 108 planned trials have ended." in said(page(tmp_path))


def test_joint_mode_is_never_ranked(tmp_path: Path) -> None:
    SyntheticStudy(tmp_path, mode="joint", bits=(4,))
    text = said(page(tmp_path))
    assert "Study made_up is a joint search" in text and "does not rank optimizers" in text
    assert "P(best) failed runs" not in text
    assert "A joint search gives optimizers unequal budgets" in text


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    SyntheticStudy(tmp_path, seeds=1, optimizers=("adam", "sgd"))
    text = said(page(tmp_path))
    assert "none: fewer than two values" in text
    assert not re.search(r"95 % interval n .*? \d \.\. \d", text)


def test_without_a_control_nothing_is_said_of_quantization(tmp_path: Path) -> None:
    SyntheticStudy(tmp_path, bits=(4,), optimizers=("adam",))
    assert "Without a 32/32 arm, the effect of quantization cannot be computed." in said(page(tmp_path))


@pytest.mark.parametrize("sign", [1, -1])
def test_records_in_which_something_is_missing(tmp_path: Path, sign: int) -> None:
    study = SmallStudy(tmp_path, "nothing_yet", sign=sign)
    study.arm("adam")
    only = SmallStudy(tmp_path, "only_diverged", sign=sign)
    arm = only.arm("sgd", best_config_id=None)
    for stage in ("default", "random", "search"):
        only.trial(arm, stage, "diverged")
    untrained = SmallStudy(tmp_path, "no_retrain", sign=sign)
    for optimizer in ("adam", "sgd"):
        untrained.trial(untrained.arm(optimizer), "search", val_metric=0.7)
    lost = SmallStudy(tmp_path, "all_retrain_diverged", sign=sign)
    lost.retrain(lost.arm("adam"), None, None)
    for name in ("nothing_yet", "only_diverged", "no_retrain", "all_retrain_diverged"):
        write(tmp_path, name, "studies", "study", filled("studies", complete=False, mode="comparison"))
    text = said(page(tmp_path))
    assert "No default, random or search trial has ended." in text
    assert "all were stopped, diverged or failed" in text
    assert "No retrain trial has ended, and test data is used in no other stage." in text


def test_a_record_with_a_study_and_no_arm(tmp_path: Path) -> None:
    write(tmp_path, "s", "studies", "study", filled("studies", complete=False, definition_json="not JSON"))
    assert "The record holds no arm of a study." in said(page(tmp_path))


HOSTILE = "</script><img src=x onerror=alert(1)>&\u2028"


def test_text_of_the_record_is_data_everywhere(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    space = json.dumps({HOSTILE: {"learning_rate": {"low": 1e-5, "high": 0.1}, "batch_size": {"low": 8, "high": 64}}})
    arms = [study.arm(HOSTILE, bits, arm_id=f"x-{bits}", workload=HOSTILE, space_json=space) for bits in (32, 4)]
    for arm in arms:
        for rate in (1e-4, 1e-3, 1e-2):
            study.trial(arm, "random", val_metric=0.7 + rate, learning_rate=rate)
        study.retrain(arm, 0.8, 0.9, val_metric=0.7)
    for key in ("t004", "t009"):
        study.last_epoch(key, [{"layer": HOSTILE, "layer_index": 0, "oscillating_fraction": 0.1}], val_metric=0.7)
    write(tmp_path, "s", "studies", "study", filled("studies", definition_json=json.dumps({"x": HOSTILE})))
    html = own(page(tmp_path))
    assert "<img" not in html and "onerror=alert" in html  # it is shown, and is no tag


def test_json_in_scripts_cannot_end_them() -> None:
    text = safe_json({"name": HOSTILE})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["name"] == HOSTILE
