"""The words of the record for how a trial stands, why it stopped, and which stage it belongs to."""

RUNNING = "running"
COMPLETED = "completed"
STOPPED = "stopped"
DIVERGED = "diverged"
OOM = "oom"
ERROR = "error"
INTERRUPTED = "interrupted"

STATUSES = (RUNNING, COMPLETED, STOPPED, DIVERGED, OOM, ERROR, INTERRUPTED)
"""Every value of the column `status`."""
ENDED_WELL = (COMPLETED, STOPPED)
"""Statuses of a trial that has ended with a metric."""
WITH_METRIC = (*ENDED_WELL, INTERRUPTED)
"""Statuses of a trial whose last epoch has a metric to speak of."""
WITH_CURVE = (*ENDED_WELL, DIVERGED)
"""Statuses of a trial whose epochs say something of its configuration: a failure or an interruption does not."""
FAILED = (OOM, ERROR)
"""Statuses of a trial that an exception, or a lack of memory, has ended."""
FINAL = (*WITH_CURVE, *FAILED)
"""Statuses of a trial that is not run again."""

ASHA = "asha"
USER = "user"
BUDGET = "budget"
PRUNER = "pruner"
SCHEDULER = "scheduler"

STOP_REASONS = (ASHA, USER, BUDGET, PRUNER, SCHEDULER)
"""Every value of the column `stop_reason`; `pruner` and `scheduler` are those of an imported study."""

PRETRAIN = "pretrain"
DEFAULT = "default"
RANDOM = "random"
SEARCH = "search"
FINALISTS = "finalists"
RETRAIN = "retrain"
CALIBRATED = "calibrated"

STAGES = (PRETRAIN, DEFAULT, RANDOM, SEARCH, FINALISTS, RETRAIN, CALIBRATED)
"""Every value of the column `stage`, in the order in which stages run."""
SEARCHED_STAGES = (DEFAULT, RANDOM, SEARCH)
"""Stages whose completed trials an arm's best configuration is chosen from; `finalists` run the best few again."""
KEPT_STAGES = (PRETRAIN, RETRAIN)
"""Stages whose last checkpoint stays in every study that has them; `stages.keep` may add others."""
