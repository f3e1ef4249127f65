"""What the bridge to Ray Tune does with trials that Ray gives up."""

from types import SimpleNamespace
from typing import Any

import pytest

from tune_qat.tuning import engine
from tune_qat.tuning.engine import Reports


class Searcher:
    """Remembers which trials were given up."""

    def __init__(self) -> None:
        self.plans: dict[str, Any] = {}
        self.gone: list[tuple[str, str]] = []

    def died(self, trial_id: str, reason: str) -> None:
        self.gone.append((trial_id, reason))


def trial(status: str, error: str | None = None) -> Any:
    return SimpleNamespace(trial_id="t", status=status, get_error=lambda: error)


def test_a_trial_that_ray_gives_up_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOOK_FOR_LOST_S", 0.0)
    searcher: Any = Searcher()
    Reports(searcher).on_step_end(1, [trial("RUNNING"), trial("TERMINATED"), trial("ERROR")])
    assert searcher.gone == [("t", "Ray ended the trial without giving a reason.")]


def test_the_reason_that_ray_gives_is_kept() -> None:
    searcher: Any = Searcher()
    Reports(searcher).on_trial_error(1, [], trial("ERROR", "x" * 5_000 + "segmentation fault"))
    assert searcher.gone[0][1].endswith("segmentation fault") and len(searcher.gone[0][1]) == 4_000
