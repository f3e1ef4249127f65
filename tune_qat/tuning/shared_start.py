"""Pretrained starts of a study's arms: the checkpoint of each, which opens arms if it holds the recorded weights."""

from functools import partial

from tune_qat.config import StorageRefused, TuneQatError
from tune_qat.config.statuses import PRETRAIN
from tune_qat.results.layout import checkpoint_path, checkpoint_to_read
from tune_qat.results.repair import set_aside
from tune_qat.storage.paths import StoragePath
from tune_qat.storage.retry import Patience
from tune_qat.training.checkpoints import check_trained, load_checkpoint
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.start_state import StartState


def open_arms(queue: StudyQueue, patience: Patience) -> dict[str, StoragePath]:
    """Open the arms whose pretrained start is recorded and whole.

    Returns the path of each start's checkpoint, there or to come, by the key of its trial. A damaged checkpoint of this
    study is set aside, and said. Raises `StorageRefused` if one cannot be read.
    """
    paths = {}
    for start in queue.starts:  # in their order: a worsened one has a plan once what it is made of is known
        if start.plan is not None:
            paths[start.plan.trial_key] = _open(queue, start, start.plan, patience)
    return paths


def _open(queue: StudyQueue, start: StartState, plan: PlannedTrial, patience: Patience) -> StoragePath:
    study_id, results = queue.study.name, patience.results
    own = checkpoint_path(results, study_id, plan.trial_key)
    row = queue.recorded_start(start)
    if row is None:
        return own
    path = patience.read(partial(checkpoint_to_read, results, study_id, plan.trial_key))
    sha256 = row["checkpoint_sha256"]
    try:
        state = patience.read(partial(load_checkpoint, path))
        check_trained(state, path, stage=PRETRAIN, sha256=sha256, epochs=plan.config.epochs)
    except StorageRefused:
        raise
    except TuneQatError as error:
        aside = ""
        if path == own and patience.read(path.exists):
            aside = f" It is set aside in {patience.read(partial(set_aside, results, path))}."
        patience.say(f"{error}{aside} The start of the study is made again.")
        return own
    queue.start_known(start, sha256, row)
    return path
