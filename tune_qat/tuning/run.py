"""Run of a study from the first check to the last row: checks, Ray, trials and outcome."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tune_qat.config import AUTO, StorageRefused, StudyHalted, TuneQatError, UsageError, check_backend
from tune_qat.config.statuses import ERROR, INTERRUPTED
from tune_qat.config.system import check_writes_records
from tune_qat.results.claim import claimed
from tune_qat.results.origin import refuse_imported
from tune_qat.results.reader import read_rows
from tune_qat.results.repair import repair
from tune_qat.storage.paths import StoragePath, storage_path
from tune_qat.storage.retry import Patience
from tune_qat.study import Study
from tune_qat.study.early_stopping import early_stopping_off
from tune_qat.study.used_up import used_up
from tune_qat.trackers.checks import log_folder
from tune_qat.trackers.live import LiveLog
from tune_qat.training.checkpoints import start_from
from tune_qat.training.workload import Workload
from tune_qat.tuning.backend_choice import backend_of_several, choose
from tune_qat.tuning.begun import as_begun, kept
from tune_qat.tuning.budget import NO_LIMIT, Budget, Meter, check_countable
from tune_qat.tuning.checks import (
    check_batch_sizes,
    check_batches_of_one,
    check_memory,
    check_results_folder,
    check_same_study,
    check_schemes,
    check_task,
    check_workers,
)
from tune_qat.tuning.cluster.address import check_address, check_reachable
from tune_qat.tuning.cluster.connect import Resources, cluster, resources
from tune_qat.tuning.cluster.nodes import check_code, check_data, check_results, check_versions
from tune_qat.tuning.cluster.watch import ClusterLost, needed, watched
from tune_qat.tuning.given_start import Given, given_start
from tune_qat.tuning.gpu.probe import share_of_gpu
from tune_qat.tuning.mixed import on_cluster, with_costs
from tune_qat.tuning.outcome import Outcome
from tune_qat.tuning.overlap import load_works
from tune_qat.tuning.own_code import NO_CODE, OwnCode, code_of, code_sent, key_sources
from tune_qat.tuning.plan import DataDraws
from tune_qat.tuning.session import Session
from tune_qat.tuning.signals import Stops, stops


def run(
    study: Study,
    *,
    results: str | StoragePath = "results",
    data_dir: str | Path | None = None,
    address: str = "local",
    max_concurrent: int | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float | Literal["auto"] | None = None,
    workers_per_trial: int | None = None,
    budget: Budget = NO_LIMIT,
    backend: str = AUTO,
    storage_patience: float = 600.0,
    retry_errors: bool = False,
    allow_early_rung: bool = False,
    accept_changed_code: bool = False,
    display: Callable[[Any, Resources], Any] | None = None,
    say: Callable[[str], Any] = lambda text: None,
    doing: Callable[[str], Any] = lambda text: None,
    again: str = "",
    signals: Stops | None = None,
) -> Outcome:
    """Run the missing trials of a study: a second call resumes the study, or does nothing if it is complete.

    Args:
        study: the study.
        results: folder of the record; may hold many studies.
        data_dir: folder of the data; None for that of `TUNE_QAT_DATA`, or else the study's own `data_dir`.
        address: `local` for a Ray session on this machine, `auto` or host:port for a cluster that runs.
        max_concurrent: most trials at once; None for as many as fit. On a cluster, trials up to this number wait for
            nodes to join, so that an autoscaler sees the demand.
        cpus_per_trial: CPUs, and with them CPU threads, of each trial.
        gpus_per_trial: GPUs of each trial, or a part of one; None for one if the cluster has any; `auto` measures the
            memory of the largest trials, and packs as many on a GPU as fit.
        workers_per_trial: processes that make the steps of a trial together; None for one for each of its GPUs.
        budget: limits of this run; no trial starts that would exceed one.
        backend: eager, inductor (compiled), or auto: compiled if the study is long enough to earn the compilation back.
        storage_patience: seconds for which refused reads and writes (a full disk, a lost share) are tried again.
        retry_errors: run trials again that have ended in an error.
        allow_early_rung: go on with a first rung of ASHA that the study's own random trials refute.
        accept_changed_code: count trials that another source of the study's own parts has trained. These come from the
            folders that `tune_qat.config.own_parts.allow` has been told of.
        display: called with the searcher, to which it may `listen`, and the resources; returns a context manager.
        say: called with a sentence for each decision that is made once for the whole study.
        doing: called with what takes the next seconds, before the first trial and after the last.
        again: words that say how to go on, the last ones of every error below that ends a study in its middle.
        signals: handler of a caller that handles signals already, and gave it the same words.

    Raises:
        UsageError, TuneQatError: a mistake that is found before the first trial; nothing is written then. A first rung
            of ASHA that random trials refute is found before the first trial of the search, and all of them are kept.
        TooManyFailures: more trials failed than `max_failed_trials`.
        StudyHalted: what every trial needs is gone, such as the checkpoint that they begin from.
        StorageRefused: the record could not be read or written for longer than `storage_patience`.
        ClusterLost: the cluster's head did not answer for longer than Ray waits for it. If calls to Ray do not return,
            the process ends with the error's text on standard error.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP before the first trial, or a second time; the first one while
            trials run ends the run with an `Outcome`.
    """
    check_writes_records("Running a study")
    meter = Meter()
    check_backend(backend)
    check_address(address)
    hold = partial(
        resources,
        cpus=cpus_per_trial,
        concurrent=max_concurrent,
        grows=address != "local",
        workers=workers_per_trial,
    )
    folder = storage_path(results).absolute()
    with _ending_with(again), stops(again) if signals is None else nullcontext(signals) as stop:
        check_results_folder(folder)
        logs = log_folder(study.logging.tensorboard)
        _refuse_imported(folder, study.name)
        # Before data is decoded, which may take hours.
        check_reachable(address)
        code = code_of(study, sent=address != "local")
        doing(f"Reading {study.workload.dataset}")
        works = checked(study, data_dir)
        check_workers(study, works.first, workers_per_trial or 1)
        for sentence in (*used_up(study), *early_stopping_off(study)):
            say(sentence)
        start = given_start(study, works.first, folder, say)
        patience = Patience(folder, storage_patience, say)
        options = {"allow_early_rung": allow_early_rung, "accept_changed_code": accept_changed_code}
        with _session(study, works, budget, meter, patience, retry_errors, code, given=start, **options) as session:
            if not session.complete:
                doing("Starting Ray on this machine" if address == "local" else f"Joining the Ray cluster at {address}")
                with _connected(session, address, stop):
                    given, chosen = _allot(session, hold, gpus_per_trial, budget, backend)
                    if logs is not None:
                        doing(f"Bringing the log in {logs} up to date")
                    log = LiveLog(logs, folder, study.name, say) if logs else None
                    if not session.allocates:
                        _run(session, given, chosen, display, stop, log)
                    if session.allocates:
                        doing("Allocating bits to layers")
                        session.allocate(on_cluster(given.cpus, given.gpus, given.device, code))
                        _run(session, given, chosen, display, stop, log)
                    doing("Ending Ray" if address == "local" else "Leaving the cluster")
    return session.outcome()


@contextmanager
def _ending_with(again: str) -> Iterator[None]:
    """Add a line to errors that end a study in its middle; one of storage that is not expected is such an error."""
    try:
        yield
    except (StudyHalted, ClusterLost) as error:
        raise type(error)(f"{error}\n{again}".rstrip()) from error
    except BrokenPipeError:
        raise  # whoever reads our output has left
    except OSError as error:
        text = f"The study cannot go on: {error}. Nothing recorded is lost: run the same command again."
        raise StorageRefused(f"{text}\n{again}".rstrip()) from error


def _refuse_imported(results: StoragePath, study_id: str) -> None:
    try:
        refuse_imported(results, study_id, "run")
    except UsageError:
        raise
    except TuneQatError:
        pass  # a damaged file: `repair` sets it aside later


def checked(study: Study, data_dir: str | Path | None) -> DataDraws[Workload]:
    """Load the study's workload, and check the study against it."""
    works = load_works(study, data_dir)
    work = works.first
    if study.training.init_path is not None:
        start_from(work.build_model(init_seed=0), storage_path(study.training.init_path), work.model)
    check_task(study, work)
    check_batch_sizes(study, work)
    check_batches_of_one(study, work)
    check_memory(study, work)
    check_schemes(study, work)
    return works


@contextmanager
def _session(
    study: Study,
    works: DataDraws[Workload],
    budget: Budget,
    meter: Meter,
    patience: Patience,
    retry_errors: bool,
    code: OwnCode = NO_CODE,
    *,
    allow_early_rung: bool = False,
    accept_changed_code: bool = False,
    given: Given | None = None,
) -> Iterator[Session]:
    """Claim the study, repair its record and start from there; write the study's last row at the end."""
    results, sessions = patience.results, list[Session]()

    def lost(why: str) -> None:
        for one in sessions:
            one.lost(why)

    with claimed(results, study.name, "run", say=patience.say, lost=lost):
        for found in repair(results, study.name, patience.read):
            patience.say(found)
        patience.read(partial(check_same_study, study, works, results))
        recorded = patience.read(partial(read_rows, results, "trials", study.name))
        if retry_errors:
            recorded = [{**row, "status": INTERRUPTED} if row["status"] == ERROR else row for row in recorded]
        study = with_costs(patience.read(partial(as_begun, study, results)), works)
        study = study.of_source(key_sources(code.sources, recorded, accept=accept_changed_code))
        more: dict[str, Any] = {"code": code, "allow_early_rung": allow_early_rung, "given": given}
        session = Session(study, works, recorded, budget, meter, patience, **more)
        for sentence in () if session.complete else kept(study):
            patience.say(sentence)
        sessions.append(session)
        session.begin()
        yield session
        session.close()


@contextmanager
def _connected(session: Session, address: str, signals: Stops) -> Iterator[None]:
    """Start or join a cluster, and check that all its nodes have what the study's trials need."""

    def end(error: ClusterLost) -> None:
        signals.end(f"error: {error}", error.exit_code)

    with (
        code_sent(session.code, address) as modules,
        cluster(address, modules),
        watched(needed(address), say=session.say, lost=lambda error: session.searcher.give_up(error), end=end),
    ):
        signals.install()
        if address != "local":
            check_versions()
            check_code(session.code)
            check_results(session.results)
            check_data(session.study, session.works.by_options.values())
        yield


def _run(
    session: Session,
    given: Resources,
    backend: str,
    display: Callable[[Any, Resources], Any] | None,
    stop: Stops,
    log: LiveLog | None,
) -> None:
    """Run what can start now: all of a study, or the starts of one whose mixed schemes wait for them."""
    with nullcontext() if log is None else log.used(session.searcher.listen):
        session.run(given, backend, display, stop)


def _allot(
    session: Session, hold: Callable[..., Resources], gpus: float | str | None, budget: Budget, backend: str
) -> tuple[Resources, str]:
    """Choose the resources of each trial on the connected cluster and the backend of all trials, and say why."""
    study, work, say = session.study, session.works.first, session.say
    given = hold(gpus=None if isinstance(gpus, str) else gpus)
    check_countable(budget, given.gpus)
    if given.workers > 1:
        check_workers(study, work, given.workers)
        backend = backend_of_several(backend)
    chosen, why = choose(study, work, backend, recorded=session.known, device=given.device, processes=given.concurrent)
    say(why)
    if gpus == AUTO:
        share, why = share_of_gpu(study, work, backend=chosen, cpus=given.cpus, code=session.code)
        given = hold(gpus=share)
        say(why)
    if not given.room:
        say(f"no node has room for a trial yet: up to {given.concurrent} wait for nodes to join")
    return given, chosen
