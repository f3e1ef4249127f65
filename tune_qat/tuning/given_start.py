"""Start that a study gives: a checkpoint of this package, or weights from elsewhere, kept with the results."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from tune_qat.config import NotRead, StorageRefused, TuneQatError, UsageError, stable_hash
from tune_qat.results.layout import GIVEN, given_start_path, table_folder
from tune_qat.storage.paths import StoragePath, storage_path
from tune_qat.storage.retry import Patience
from tune_qat.study import Study
from tune_qat.training.checkpoints import load_checkpoint, load_weights, save_checkpoint, weights_sha256
from tune_qat.training.weights.start import assemble
from tune_qat.training.workload import Workload


@dataclass(frozen=True, kw_only=True)
class Given:
    """Checkpoint that trials without another start begin from."""

    path: StoragePath | None = None
    """None where they begin from scratch, or from a start that the study makes itself."""
    sha256: str | None = None
    """Hash of its weights."""
    text: str | None = None
    """Account of what loaded of weights from elsewhere."""
    checkpoint: Mapping[str, Any] | None = None
    """Content of the file, of weights that are to be kept with the results."""

    def keep(self, patience: Patience) -> None:
        """Write the checkpoint where it is to be kept, unless it is there already, and whole."""
        path = self.path
        if path is None or self.checkpoint is None:
            return
        found = None
        try:
            found = weights_sha256(patience.read(lambda: load_weights(path)))
        except StorageRefused:
            raise
        except TuneQatError:
            pass  # it is not there, or damaged
        if found != self.sha256:
            save_checkpoint(self.checkpoint, path, patience.write_whole)


def given_start(study: Study, work: Workload, results: StoragePath, say: Callable[[str], Any]) -> Given:
    """Return the start that a study gives; weights from elsewhere are fitted to its model, and nothing is written.

    Where weights are not to be had any more, what an earlier run has kept of them with the results will do.

    Raises:
        UsageError, TuneQatError: there are none, or they do not fit the model.
    """
    training = study.training
    if training.init_path is not None:
        path = storage_path(training.init_path)
        return Given(path=path, sha256=weights_sha256(load_weights(path)))
    if training.weights is None:
        return Given()
    said = _said(study, work)
    try:
        start = assemble(training.weights, work, study.seed)
    except (UsageError, NotRead):
        raise
    except TuneQatError as error:
        kept = _kept(study, said, results)
        if kept is None:
            raise
        say(f"{error} The study goes on from what it has kept of them.")
        return kept
    say(f"weights {training.weights}: {start.text}")
    sha256, about = start.sha256, {"text": start.text, "of": said}
    return Given(
        path=given_start_path(results, study.name, sha256),
        sha256=sha256,
        text=start.text,
        checkpoint={"model": start.state, "given": about},
    )


def _said(study: Study, work: Workload) -> str:
    """Hash what the study file says of the weights, and what they are fitted to."""
    model = [work.model, dict(work.model_options), asdict(work.dataset.model_input)]
    return stable_hash([study.training.weights, study.seed, *model])


def _kept(study: Study, said: str, results: StoragePath) -> Given | None:
    """Find the start that an earlier run has assembled from the same weights; None if there is not exactly one."""
    folder, found = table_folder(results, "checkpoints", study.name), list[Given]()
    for place in folder.glob(f"{GIVEN}*"):
        path = place / "last.pt"
        with suppress(TuneQatError):  # one that is damaged is none
            state = load_checkpoint(path)
            if state.get("given", {}).get("of") == said:
                found.append(Given(path=path, sha256=weights_sha256(state["model"]), text=state["given"]["text"]))
    return found[0] if len(found) == 1 else None
