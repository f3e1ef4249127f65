"""What a notebook shows of a study and of the outcome of a run: tables, whose content is text."""

import re
from html import unescape
from pathlib import Path

from tests.helpers.studies import tiny_study
from tune_qat.study import Study
from tune_qat.text.html import html_table
from tune_qat.tuning.outcome import Outcome


def words(table: str) -> str:
    return " ".join(unescape(re.sub("<[^>]+>", " ", table)).split())


def test_a_study_shows_what_it_trains_searches_and_plans() -> None:
    said = words(Study.load("lenet5_mnist_small")._repr_html_())
    assert said.startswith("Study lenet5_mnist_small task lenet5 on mnist judged by accuracy mode comparison")
    assert "bits of weights/activations 32/32, 4/4, 2/2 quantizers LSQ" in said
    assert "Searched optimizer learning rate batch size" in said
    assert re.search(r"RMSProp 1e-6 to 0\.01 \d+ to \d+", said)
    assert "Planned, at most stage trials epochs each default 30 3 random 240 3 search 360 3 retrain 300 3" in said


def test_an_option_that_one_optimizer_has_is_a_column() -> None:
    said = words(
        tiny_study(space={"optimizers": ["adam", "nesterov"], "batch_size": {"low": 16, "high": 64}})._repr_html_()
    )
    assert "optimizer learning rate batch size momentum" in said and re.search(r"Nesterov .* 0\.5 to 0\.99", said)


def test_an_outcome_shows_how_it_ended_and_where_the_record_is() -> None:
    outcome = Outcome(
        study_id="s", results=Path("a & b"), complete=False, stopped_by="budget", seconds=90, budget="trials", left=7
    )
    said = words(outcome._repr_html_())
    assert said == (
        "Study s state the budget of trials is spent time 1.5 min trials left 7 record a & b "
        'leaderboard analysis.frame("a & b", "leaderboard")'
    )
    assert "a &amp; b" in outcome._repr_html_()


def test_what_is_in_a_table_is_text() -> None:
    made = html_table("<b>x", [["<script>1</script>", "&", 2]], ["<i>", "a", "b"])
    assert not re.search("<(b|script|i)>", made)
    assert words(made) == "<b>x <i> a b <script>1</script> & 2"
