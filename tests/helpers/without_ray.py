"""A study run in this process, one trial after the other, by all its own parts but Ray: real training, real files."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from tests.helpers.trials import loaded
from tune_qat.storage.paths import StoragePath
from tune_qat.storage.retry import Patience
from tune_qat.study import Study
from tune_qat.tuning.budget import NO_LIMIT, Budget, Meter
from tune_qat.tuning.cluster.connect import Resources
from tune_qat.tuning.mixed import measure
from tune_qat.tuning.own_code import code_of
from tune_qat.tuning.plan import DataDraws, PlannedTrial
from tune_qat.tuning.ray_report import unpack
from tune_qat.tuning.run import _session
from tune_qat.tuning.session import Session
from tune_qat.tuning.trainable import StudyTrial

HERE = Resources(cpus=1.0, gpus=0.0, room=1)
NO_CONTROLLER: Any = None
Watch = Callable[[PlannedTrial, dict[str, Any]], None]


class Killed(BaseException):
    """The end of the driver's process, which nothing of the program handles."""


def run_here(
    study: Study,
    results: StoragePath,
    *,
    patience: Patience | None = None,
    budget: Budget = NO_LIMIT,
    watch: Watch = lambda plan, report: None,
    retry_errors: bool = False,
    said: list[str] | None = None,
    accept_changed_code: bool = False,
) -> tuple[list[str], list[str]]:
    """Run a study to its end; the keys of the trials that were trained, in order, and what was said.

    `watch` sees every report of a trial before the study does, and may raise; `said` is filled in any case.
    """
    said = [] if said is None else said
    wanted = study.workload
    of_model = tuple(wanted.model_options.items())
    works = DataDraws.of_study(
        study, lambda options: loaded(wanted.model, wanted.dataset, tuple(options.items()), of_model, wanted.task)
    )
    patience = patience or Patience(results, 0.0)
    patience.say = said.append
    if isinstance(results, Path):
        results.mkdir(parents=True, exist_ok=True)
    code = code_of(study, sent=False)
    options: dict[str, Any] = {"accept_changed_code": accept_changed_code}
    with _session(study, works, budget, Meter(), patience, retry_errors, code, **options) as session:
        trained = [] if session.complete or session.allocates else _work_off(session, watch)
        if session.allocates:
            session.allocate(measure)
            trained += _work_off(session, watch)
    return trained, said


def _work_off(session: Session, watch: Watch) -> list[str]:
    """Hand the searcher's trials to one process of trials and its reports to the scheduler, as Ray Tune does."""
    scheduler, trained = session.scheduler(), list[str]()
    session._write_study(complete=False)
    context = session.context(HERE, "eager")
    process = StudyTrial.__new__(StudyTrial)  # without Ray's own part, which would make a folder for logs
    try:
        for number in map(str, itertools.count()):
            config = session.searcher.suggest(number)
            if config == Searcher.FINISHED:
                break
            if config is None:
                continue
            trial: Any = SimpleNamespace(trial_id=number, config=config)
            scheduler.on_trial_add(NO_CONTROLLER, trial)
            session.searcher.started(number, number)
            plan = PlannedTrial.from_json(config["plan"])
            if trained:
                process.reset_config(config)
            else:
                process.setup(config, works=session.works, context=context)
            trained.append(plan.trial_key)
            running = True
            while running:
                packed = process.step()
                watch(plan, unpack(packed))
                running = not packed["done"]
                if running:
                    running = scheduler.on_trial_result(NO_CONTROLLER, trial, packed) != TrialScheduler.STOP
            scheduler.on_trial_complete(NO_CONTROLLER, trial, packed)
            session.searcher.on_trial_complete(number, packed)
    finally:
        if trained:
            process.cleanup()  # a trial that is cut off holds settings of torch for as long as it is there
    return trained
