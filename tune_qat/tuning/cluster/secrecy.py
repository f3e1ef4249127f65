"""Protection from Ray, which logs the environment that it passes on, and lets everybody into its folders."""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tune_qat.config import TuneQatError
from tune_qat.config.system import user_number

PASSED_ON = {"RAY_CHDIR_TO_TRIAL_DIR"}
"""Variables that trials get from the driver, of those that Ray Tune passes on."""


def keep_credentials() -> None:
    """Stop Ray Tune from passing the driver's AWS credentials on to trials.

    They would stand in plain text in the log of Ray's runtime environments. On this machine trials have them from the
    session that the driver has started; the nodes of a cluster have their own.
    """
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = class_cache.ENV_VARS_TO_PROPAGATE & PASSED_ON


def private_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the path of a temporary folder that only this user can enter, or that `private_folder` makes."""
    place = Path(environment.get("RAY_TMPDIR") or environment.get("TMPDIR") or "/tmp").absolute()
    if place.is_dir() and _ours(place) and not place.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return place
    # Short: the sockets in it have paths of at most 107 characters.
    return place / f"tq_{user_number()}"


def private_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return a temporary folder that only this user can enter, and make it if need be.

    Each of Ray's processes makes the folders of its session readable and writable for everybody, but not those above.

    Raises `TuneQatError` if somebody else's folder has its name.
    """
    folder = private_path(environment)
    with suppress(FileExistsError):
        folder.mkdir(mode=stat.S_IRWXU, parents=True)
    if folder.is_symlink() or not _ours(folder):
        raise TuneQatError(f"{folder} belongs to another user. Set RAY_TMPDIR to a folder of your own.")
    folder.chmod(stat.S_IRWXU)
    return folder


def _ours(folder: Path) -> bool:
    return folder.stat().st_uid == user_number()
