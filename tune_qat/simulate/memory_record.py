"""Record of a simulated study in memory: the parts of a record on disk that a resumed study reads."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_qat.config.statuses import PRETRAIN, RUNNING, WITH_METRIC
from tune_qat.tuning.asha import Decision
from tune_qat.tuning.plan import PlannedTrial


@dataclass
class Memory:
    """`TrialRecord` in memory; a later row of a trial replaces an earlier one, as on disk."""

    start_sha256: Callable[[int], str | None]
    """Hash of the weights of a completed `pretrain` trial, by its number."""
    plans: dict[str, PlannedTrial] = field(default_factory=dict)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    epochs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    decisions: dict[tuple[str, int], Decision] = field(default_factory=dict)
    """Decisions by trial key and rung."""

    def started(self, plan: PlannedTrial) -> None:
        self.plans[plan.trial_key] = plan
        self.outcomes[plan.trial_key] = {"status": RUNNING, "val_metric": None}

    def epoch(self, plan: PlannedTrial, report: dict[str, Any]) -> None:
        """Write an epoch, as a worker does before it reports."""
        self.epochs.setdefault(plan.trial_key, []).append(report)

    def ended(
        self, plan: PlannedTrial, report: Mapping[str, Any], status: str, stop_reason: str | None
    ) -> dict[str, Any]:
        epochs = self.epochs_of(plan.trial_key)
        row = {
            "trial_key": plan.trial_key,
            "status": status,
            "stop_reason": stop_reason,
            "val_metric": epochs[-1]["val_metric"] if epochs and status in WITH_METRIC else None,
            "epochs_run": len(epochs),
            "checkpoint_sha256": report.get("checkpoint_sha256"),
        }
        self.plans[plan.trial_key] = plan
        self.outcomes[plan.trial_key] = row
        return row

    def weights_hash(self, plan: PlannedTrial, epochs: int) -> str | None:
        # A simulated trial has no weights but those of a start; another kept one is named by its key.
        return self.start_sha256(plan.number) if plan.stage == PRETRAIN else plan.trial_key

    def decided(self, decision: Decision) -> None:
        self.decisions[decision.trial_key, decision.rung] = decision

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of `trials`, with the columns that a queue reads."""
        return [
            {
                "trial_key": plan.trial_key,
                "arm_id": plan.arm_id,
                "stage": plan.stage,
                "trial_number": plan.number,
                "source": plan.source,
                "params_json": json.dumps(plan.config.to_dict()),
                **self.outcomes[key],
            }
            for key, plan in self.plans.items()
        ]

    def searched_epochs(self) -> Iterator[tuple[str, int, float | None]]:
        return ((key, row["epoch"], row["val_metric"]) for key, epochs in self.epochs.items() for row in epochs)

    def epochs_of(self, trial_key: str) -> list[dict[str, Any]]:
        return self.epochs.get(trial_key, [])

    def decisions_of(self, trial_key: str) -> dict[int, str]:
        return {rung: one.action for (key, rung), one in self.decisions.items() if key == trial_key}
