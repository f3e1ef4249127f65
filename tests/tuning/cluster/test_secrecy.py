"""What Ray would write down or let others read: no credentials, and nothing in a folder that others can enter."""

import os
import stat
from pathlib import Path

import pytest
from ray.tune.execution import class_cache

from tests.project.planted import SECRETS
from tune_qat.config import TuneQatError
from tune_qat.tuning.cluster.secrecy import keep_credentials, private_folder


class Trainable:
    pass


def test_trials_are_passed_settings_and_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", class_cache.ENV_VARS_TO_PROPAGATE)
    for name, value in {**SECRETS, "RAY_CHDIR_TO_TRIAL_DIR": "0"}.items():
        monkeypatch.setenv(name, value)
    keep_credentials()
    made = class_cache._ActorClassCache().get(Trainable)
    passed = made._default_options["runtime_env"]["env_vars"]
    assert passed == {"PL_DISABLE_FORK": "1", "RAY_CHDIR_TO_TRIAL_DIR": "0"}


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_that_others_can_enter_gets_one_that_they_cannot(tmp_path: Path, variable: str) -> None:
    tmp_path.chmod(0o755)
    for _ in range(2):
        found = private_folder({variable: str(tmp_path)})
        assert found.parent == tmp_path and stat.S_IMODE(found.stat().st_mode) == 0o700
        found.chmod(0o777)  # it is closed again
    tmp_path.chmod(0o700)
    assert private_folder({variable: str(tmp_path)}) == tmp_path


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / f"tq_{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(TuneQatError, match="belongs to another user. Set RAY_TMPDIR"):
        private_folder({"TMPDIR": str(tmp_path)})
