"""Settings that all trials of a study share, as they travel to the processes of trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_qat.results.layout import checkpoint_path
from tune_qat.storage.paths import StoragePath
from tune_qat.tuning.cluster.connect import Resources
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.own_code import OwnCode
from tune_qat.tuning.plan import PlannedTrial


@dataclass(frozen=True, kw_only=True)
class TrialContext:
    """Settings that all trials of a study share."""

    results: StoragePath
    study_id: str
    init_path: StoragePath | None
    """Checkpoint of a study that names one, or gives weights: of all trials without another start."""
    starts: Mapping[str, StoragePath]
    """Checkpoints of pretrained starts by the key of their trial, there or to come."""
    advice: str
    """Advice for the user if that checkpoint is gone."""
    given: Resources
    backend: str
    versions: Mapping[str, str | None]
    """Versions of the libraries that must be the same on every node."""
    code: OwnCode
    """Own parts of the study, which must be the same on every node, too."""
    patience_s: float
    """Seconds for which refused reads and writes are tried again."""
    objective: Objective
    attempts: Mapping[str, int]
    """Number of the last recorded attempt at each trial that goes on."""
    kept_stages: tuple[str, ...]
    """Stages whose trials write a checkpoint behind their last epoch, too."""
    anew: frozenset[str]
    """Keys of completed starts whose checkpoint was refused: they begin at their first epoch."""

    works: Any = None
    """Ray's reference to the data, for the further workers of trials that have any."""

    def start(self, plan: PlannedTrial) -> StoragePath | None:
        """Return the checkpoint that a trial begins from; None from scratch."""
        if not plan.start_key:
            return self.init_path
        # One that is not among these is made in this run, of another that was not known when it began.
        own = checkpoint_path(self.results, self.study_id, plan.start_key)
        return self.starts.get(plan.start_key, own)
