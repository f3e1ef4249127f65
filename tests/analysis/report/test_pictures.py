"""Pictures of the report: widths, titles, and the page that holds its figures as SVG."""

import pytest

from analysis import figures
from analysis.answers import Answers
from analysis.report.described import describe
from analysis.report.pictures import pixels, titled
from tests.analysis.report.synthetic_study import SyntheticStudy
from tune_qat.config import UsageError


@pytest.mark.parametrize(
    ("width", "size"), [("3.3in", 317), ("84mm", 317), ("8.4cm", 317), ("240pt", 320), ("1100px", 1100), (" 7 in", 672)]
)
def test_widths_as_people_write_them(width: str, size: int) -> None:
    assert pixels(width) == size


@pytest.mark.parametrize(("width", "said"), [("3.3", "a number and a unit"), ("wide", "3.3in"), ("1in", "96 pixels")])
def test_other_widths_are_refused_with_what_was_written(width: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"--width {width}.*{said}"):
        pixels(width)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("pictures")
    SyntheticStudy(folder, optimizers=("adam", "sgd"), random=2, search=1, seeds=2)
    return Answers(folder)


def test_a_picture_has_its_title_and_study_above_the_panels_in_its_width(made: Answers) -> None:
    figure = figures.divergence(made)
    drawn = titled(figure, 317, "How often does training diverge?", "study <b> · 32/32, 4/4 bits")
    texts = [note.text for note in drawn.layout.annotations]
    assert "<b>How often does training diverge?</b>" in texts and "study &lt;b&gt; · 32/32, 4/4 bits" in texts
    added = drawn.layout.margin.t - figure.layout.margin.t
    # Both panels stand in one column, and what is added in height is the title's.
    assert drawn.layout.xaxis.domain == drawn.layout.xaxis2.domain == (0, 1)
    assert 14 + 17 + 15 == added and drawn.layout.height > figure.layout.height + added
    assert "How often" not in str(figure.layout.annotations)


def test_buttons_and_the_key_of_colours_make_room_for_a_title(made: Answers) -> None:
    assert titled(figures.learning_curves(made), 600, "Curves", "study s").layout.updatemenus == ()
    drawn = titled(figures.oscillation(made), 600, "Oscillation", "study s")
    assert drawn.layout.coloraxis.colorbar.y == 1 - (14 + 17 + 15) / drawn.layout.height


def test_a_figure_is_described_by_its_title_and_the_verdict() -> None:
    exhibit, other = {"title": "Divergence"}, {"title": "Ranks"}
    blocks = [{"scopes": [{"title": "s: w", "exhibits": [exhibit]}, {"title": "", "exhibits": [other]}]}]
    lines = {"4/4": ["Adam is `better`.", "More."], "2/2": []}
    describe(blocks, [{"title": "s: w", "lines": lines}, {"title": "t", "lines": {"4/4": ["Else."]}}])
    assert exhibit["described"] == "Divergence. 4/4: Adam is better." and other["described"] == "Ranks."
