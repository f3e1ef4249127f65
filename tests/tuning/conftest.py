"""A small study that has run to its end, for tests of what is done with its record afterwards."""

from pathlib import Path

import pytest

from tests.tuning.studies import tiny
from tune_qat.study import Study
from tune_qat.tuning.run import run


@pytest.fixture(scope="session")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """Two arms of every stage, one trial at a time and so always the same; ASHA has stopped some.

    Nothing in the folder may be changed: copy it.
    """
    study = tiny(quantization={"bits": [[4, 4]]}, stages={"default": True, "random": 1, "search": 4, "retrain": 2})
    results = tmp_path_factory.mktemp("ended") / "results"
    run(study, results=results, max_concurrent=1)
    return study, results
