"""Ray Tune's settings for a study: our searcher and scheduler, and no copy of what the record has."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from tune_qat.tuning.cluster.leftovers import scratch
from tune_qat.tuning.cluster.secrecy import keep_credentials
from tune_qat.tuning.reports import Reports
from tune_qat.tuning.scheduler import StudyScheduler
from tune_qat.tuning.searcher import StudySearcher


@contextmanager
def tuner(
    trainable: Any, searcher: StudySearcher, scheduler: StudyScheduler, reports: Reports, limit: int | None
) -> Iterator[tune.Tuner]:
    """Yield a Tune run that is ready to start, of at most `limit` trials at once; its own files are temporary."""
    keep_credentials()
    with scratch() as folder:
        yield tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,
                # Without a limit Ray asks for one trial ahead, which its cache of processes needs: it keeps an idle
                # process only while a trial is waiting.
                max_concurrent_trials=limit,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="study",
                storage_path=str(folder),
                verbose=0,
                # A lost trial goes on under another trial id of Ray's: see `StudySearcher.lost`.
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                callbacks=[reports],
            ),
        )
