import sys

import pytest

from analysis.libraries import library
from tune_qat.config import TuneQatError


def test_what_is_there_is_imported() -> None:
    assert library("math").pi > 3


def test_what_is_not_there_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opda", None)
    with pytest.raises(TuneQatError, match=r"needs opda, which is not installed: pip install 'tune-qat\[analysis\]'"):
        library("opda.nothing_of_it")
