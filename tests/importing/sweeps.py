"""Real Optuna studies for tests, and the command line that imports them."""

import math
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from typer.testing import CliRunner, Result

from tune_qat.cli import app

EPOCHS = 6


def sqlite(folder: Path) -> tuple[BaseStorage, str]:
    """A storage and what a user types to name it."""
    url = f"sqlite:///{folder / 'sweep.db'}"
    storage = RDBStorage(url)
    # Waiting for the disk after every report would take most of a test's time.
    sqlalchemy.event.listen(storage.engine, "connect", lambda one, _: one.execute("PRAGMA synchronous = OFF"))
    storage.engine.dispose()
    return storage, url


def journal(folder: Path) -> tuple[BaseStorage, str]:
    path = str(folder / "sweep.log")
    return JournalStorage(JournalFileBackend(path)), path


def sweep(storage: BaseStorage, name: str = "sweep", *, minimize: bool = False, trials: int = 24) -> optuna.Study:
    """A joint search over two optimizers, each with a rate of its own name; some trials are pruned, fail or diverge."""
    sign = -1 if minimize else 1

    def objective(trial: optuna.Trial) -> float:
        optimizer = trial.suggest_categorical("optimizer", ["Adam", "SGD"])
        low, high, best = (1e-5, 1e-1, 1e-3) if optimizer == "Adam" else (1e-3, 1.0, 1.0)
        rate = trial.suggest_float(f"{optimizer.lower()}_lr", low, high, log=True)
        size = trial.suggest_categorical("batch_size", [16, 32, 64])
        trial.suggest_float("dropout", 0.0, 0.5)
        trial.set_user_attr("seed", trial.number)
        value = math.nan
        for epoch in range(EPOCHS):
            value = sign * (1 - 0.5 ** (epoch + 1) - 0.05 * math.log10(rate / best) ** 2 - size / 1000)
            if trial.number == 5 and epoch == 2:
                value = math.nan
            if trial.number == 6 and epoch == 1:
                raise RuntimeError("the disk is gone")
            trial.report(value, epoch)
            if math.isnan(value):
                return value
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = optuna.create_study(
        study_name=name,
        storage=storage,
        direction="minimize" if minimize else "maximize",
        sampler=optuna.samplers.RandomSampler(seed=1),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
    )
    study.optimize(objective, n_trials=trials, catch=RuntimeError)
    return study


def typed(*arguments: str | Path) -> Result:
    """What a command did: its output, and its error unless it is one that the command line turns into a message."""
    return CliRunner().invoke(app, [str(one) for one in arguments])
