"""Goes on with a study until every arm has started a trial, and notes how long that took.

python -m benchmarks.resumed STUDY.toml RESULTS OUT.json SEARCH

SEARCH is what the study has for stages.search now.

OUT.json gets the seconds since the process was started, at the first trial and when every arm has had one, and the
largest resident memory (MB) until then.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tune_qat.cli.progress import display
from tune_qat.study import Study
from tune_qat.tuning.run import run


class Clock:
    """What is noted."""

    def __init__(self, arms: int) -> None:
        self._began, self._arms = psutil.Process().create_time(), arms
        self._seen: set[str] = set()
        self.noted: dict[str, float] = {}

    def started(self, arm_id: str) -> bool:
        """A trial of this arm has started; whether all arms have one."""
        self._seen.add(arm_id)
        everyone = len(self._seen) == self._arms
        seconds = time.time() - self._began
        self.noted.setdefault("first_s", seconds)
        if everyone:
            self.noted.setdefault("every_arm_s", seconds)
            self.noted.setdefault("peak_mb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
        return everyone


def main() -> None:
    """Run, and write what was noted."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("study")
    options.add_argument("results", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("search", type=int)
    given = options.parse_args()
    study = Study.load(given.study, {"stages.search": given.search})
    clock, shown = Clock(len(study.arms())), display(live=False)

    @contextmanager
    def watched(searcher: Any, resources: Any) -> Iterator[None]:
        with shown(searcher, resources):

            def told(event: str, plan: Any, values: Mapping[str, Any]) -> None:
                if event == "started" and clock.started(plan.arm_id):
                    searcher.queue.closed = True

            searcher.listen(told)
            yield

    run(study, results=given.results, display=watched)
    given.out.write_text(json.dumps(clock.noted))


if __name__ == "__main__":
    main()
