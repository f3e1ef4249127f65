"""Rerun of a trial, and comparison of its curve with the recorded one."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tune_qat.config import EAGER, EpochResult, TuneQatError
from tune_qat.config.own_parts import own_parts
from tune_qat.config.source_of_trial import check_source, ran_with
from tune_qat.config.statuses import OOM, RETRAIN
from tune_qat.rerun.recorded import Recorded
from tune_qat.results.provenance import versions
from tune_qat.training import workload
from tune_qat.training.compiler import set_precision
from tune_qat.training.device import default_device, hardware, thread_count
from tune_qat.training.workload import Workload
from tune_qat.training.worsened import trial_of

COMPARED = ("train_loss", "val_loss", "val_metric", "grad_norm", "test_metric")
"""Columns of an epoch that must be bit-identical; `test_metric` is None before the end of a retrain trial."""
CAUSES = {
    "device": "device",
    "cuda_version": "CUDA",
    "precision": "precision",
    "backend": "backend",
    "threads": "threads",
    "torch_version": "torch",
    "python_version": "Python",
    "tune_qat_version": "tune_qat",
    "git_commit": "commit",
    "sources_json": "source of own parts",
}
"""Columns of a trial that may change its numbers, each with its name in messages."""


@dataclass(kw_only=True)
class Verdict:
    """Comparison of the rerun with the record."""

    differing: dict[str, int] = field(default_factory=dict)
    """First differing epoch of each column of `COMPARED` that differs."""
    causes: list[str] = field(default_factory=list)
    """Differences that may change numbers, as `name recorded -> now`."""
    epochs: tuple[int, int] = (0, 0)
    """Numbers of recorded and of rerun epochs."""
    error: str | None = None
    """Exception that ended the rerun, as `class: message`; None where none did."""
    unlike: str | None = None
    """Difference in how the trial ended, in words; None where it ended as recorded."""

    @property
    def same(self) -> bool:
        """Whether all numbers, and how the trial ended, are the same."""
        return not self.differing and self.unlike is None

    @property
    def explained(self) -> bool:
        """Whether the curves are the same, or a cause of their difference is known."""
        return self.same or bool(self.causes)


class Rerun:
    """A rerun of a recorded trial: iterate over `epochs`, then ask for the `verdict`."""

    def __init__(
        self,
        recorded: Recorded,
        *,
        data_dir: str | Path | None = None,
        threads: int | None = None,
        accept_changed_code: bool = False,
    ) -> None:
        """Load the data; where `threads` is None, train with as many as recorded.

        Raises `TuneQatError` if data is missing, or is not what the trial was trained on, and where an own part has
        another source, unless that is accepted.
        """
        self.recorded, row = recorded, recorded.row
        config = recorded.config
        own = own_parts(config.model, config.dataset, getattr(config, "task", ""))
        ran = ran_with(config.sources, row.get("sources_json"))
        sources = check_source(own, ran, row["trial_key"], accept=accept_changed_code)
        self._work = workload.of_trial(config, data_dir=data_dir, default_data_dir=recorded.data_dir)
        _check_identity(self._work, recorded)
        self._device = default_device() if row.get("cuda_version") is not None else "cpu"
        self._backend = row.get("backend") or EAGER
        self._threads = threads or row.get("threads") or 1
        self.now = {
            **versions(),
            **hardware(self._device),
            "precision": set_precision(self._device),
            "backend": self._backend,
            "threads": self._threads,
            "sources_json": json.dumps(sources, sort_keys=True) if sources else None,
        }
        self._results: list[EpochResult] = []
        self._error: Exception | None = None

    def epochs(self) -> Iterator[tuple[Mapping[str, Any] | None, EpochResult]]:
        """Train, and yield the recorded epoch (None where there is none) and the rerun epoch after each epoch."""
        recorded = self.recorded
        known = {row["epoch"]: row for row in recorded.epochs}
        try:
            with thread_count(self._threads):
                training = trial_of(
                    recorded.config, self._work, device=self._device, init=recorded.start, backend=self._backend
                )
                for result in islice(training.epochs(test=recorded.row["stage"] == RETRAIN), recorded.wanted):
                    self.now["backend"] = training.backend
                    self._results.append(result)
                    yield known.get(result.epoch), result
        except Exception as error:
            # As inside a study: an exception of a model or dataset is how its trial ended.
            self._error = error

    @property
    def changed(self) -> list[str]:
        """Recorded values in `CAUSES` that differ from today's, as `name recorded -> now`."""
        row, now = self.recorded.row, self.now
        return [
            f"{words} {_short(name, row[name])} -> {_short(name, now[name]) or 'none'}"
            for name, words in CAUSES.items()
            if row.get(name) is not None and row[name] != now[name]
        ]

    def verdict(self) -> Verdict:
        """Compare the rerun with the record; call this after the last epoch."""
        row, found = self.recorded.row, Verdict(causes=self.changed)
        found.epochs = (len(self.recorded.epochs), len(self._results))
        for before, now in zip(self.recorded.epochs, self._results, strict=False):
            for name in COMPARED:
                if before[name] != getattr(now, name):
                    found.differing.setdefault(name, now.epoch)
        if self._error is not None:
            found.error = f"{type(self._error).__name__}: {self._error}"
        found.unlike = self._unlike()
        if found.unlike and (row["status"] == OOM or row["error_type"] == "WorkerDied"):
            found.causes.append("memory, of which other trials may have held some")
        return found

    def _unlike(self) -> str | None:
        recorded, status = self.recorded, self.recorded.row["status"]
        if self._error is not None:
            kind = type(self._error).__name__
            same = recorded.failed and kind == recorded.row["error_type"]
            at_once = len(self._results) == len(recorded.epochs)
            return None if same and at_once else f"it ended in {kind} after {len(self._results)} epochs"
        if recorded.failed:
            return f"it was recorded as {status}, and now passed epoch {len(self._results)}"
        if len(self._results) != len(recorded.epochs):
            return f"{len(recorded.epochs)} epochs are recorded, and now there were {len(self._results)}"
        if self._results and recorded.epochs[-1]["status"] != self._results[-1].status:
            return f"its last epoch was {recorded.epochs[-1]['status']}, and is now {self._results[-1].status}"
        return None


def _check_identity(work: Workload, recorded: Recorded) -> None:
    row, dataset = recorded.row, work.dataset
    for name, now in (("data", dataset.fingerprint), ("split", dataset.split_fingerprint)):
        if row[f"{name}_fingerprint"] != now:
            raise TuneQatError(
                f"The {name} of {dataset.spec.name!r} is not what trial {row['trial_key']} was trained on "
                f"(fingerprint {row[f'{name}_fingerprint']}, now {now}). Name that data: --data-dir."
            )
    if work.key(recorded.config, row["stage"], row["init_checkpoint_sha256"]) != row["trial_key"]:
        raise TuneQatError(
            f"The configuration recorded for trial {row['trial_key']} does not match its key: its row was changed, or "
            "was written by a version of tune-qat that this one cannot rerun."
        )


def _short(name: str, value: Any) -> Any:
    if name == "sources_json" and value:
        return " ".join(f"{top} {sha256[:12]}" for top, sha256 in json.loads(value).items())
    return value[:12] if name == "git_commit" and value else value
