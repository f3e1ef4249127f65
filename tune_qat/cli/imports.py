"""Commands that import studies of other tools into the record: import optuna, import ray-tune."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tune_qat.cli.application import Application, app
from tune_qat.config import UsageError
from tune_qat.storage.paths import storage_path

if TYPE_CHECKING:
    from tune_qat.importing.found import FoundStudy

imports = Application(help="Bring a study that something else ran into the record.")
app.add_typer(imports, name="import")

Target = Annotated[str, typer.Option(help="Folder or URI of the record; may hold many studies.")]
As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="What the study is called here; as there.")]
Trivial = Annotated[float | None, typer.Option(help="Metric of the best constant prediction: what failures count as.")]
_SAYS = "may be repeated, or =VALUE where all trials had the same."
Rate = Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"The learning rate; {_SAYS}")]
Batch = Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"The batch size; {_SAYS}")]
Optimizer = Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"The optimizer; {_SAYS}")]
Seed = Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"The seed; {_SAYS}")]
WeightBits = Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"Bits of weights; {_SAYS}")]
ActivationBits = Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"Bits of activations; {_SAYS}")]


@imports.command("optuna")
def optuna(
    storage: Annotated[str, typer.Argument(help="sqlite:///study.db, a journal file, or a database's URL.")],
    study: Annotated[str | None, typer.Option(help="Of a storage that holds several.")] = None,
    metric: Annotated[str | None, typer.Option(help="Of several objectives; what the only one is called.")] = None,
    results: Target = "results",
    as_: As = None,
    learning_rate: Rate = None,
    batch_size: Batch = None,
    optimizer: Optimizer = None,
    seed: Seed = None,
    weight_bits: WeightBits = None,
    activation_bits: ActivationBits = None,
    trivial: Trivial = None,
) -> None:
    """Import a study from an Optuna storage, which is only read.

    Names are parameters or user attributes. docs/importing.md explains which ones are taken.
    """
    from tune_qat.importing import optuna_storage

    given = (optimizer, learning_rate, batch_size, seed, weight_bits, activation_bits)
    _write(optuna_storage.read(storage, study, metric), results, as_, given, trivial)


@imports.command("ray-tune")
def ray_tune(
    experiment: Annotated[Path, typer.Argument(help="The experiment's folder: storage_path/name.")],
    metric: Annotated[str | None, typer.Option(help="Reported value; the one that the experiment names.")] = None,
    mode: Annotated[str | None, typer.Option(help="max or min; as the metric's name says.")] = None,
    epoch: Annotated[str | None, typer.Option(help="Reported value that counts epochs; training_iteration.")] = None,
    results: Target = "results",
    as_: As = None,
    learning_rate: Rate = None,
    batch_size: Batch = None,
    optimizer: Optimizer = None,
    seed: Seed = None,
    weight_bits: WeightBits = None,
    activation_bits: ActivationBits = None,
    trivial: Trivial = None,
) -> None:
    """Import an experiment of Ray Tune from its JSON and CSV files.

    Nothing is unpickled. Names are those of the config, nested ones as a/b. docs/importing.md explains which ones are
    taken.
    """
    from tune_qat.importing import ray_experiment

    given = (optimizer, learning_rate, batch_size, seed, weight_bits, activation_bits)
    _write(ray_experiment.read(experiment, metric, mode, epoch), results, as_, given, trivial)


def _write(
    study: "FoundStudy", results: str, name: str | None, given: Sequence[list[str] | None], trivial: float | None
) -> None:
    from tune_qat.importing import record, roles, rows, text

    if trivial is not None and not math.isfinite(trivial):
        raise UsageError(f"--trivial must be a number, but got {trivial!r}.")
    study_id = record.check_id(name or study.name)
    taken = roles.take(study, {role.name: names or () for role, names in zip(roles.ROLES, given, strict=False)})
    found = rows.rows(study, taken, study_id, trivial)
    folder = storage_path(results)
    again = record.write(folder, study_id, study, taken, found)
    print(text.summary(study, study_id, taken, found, folder, again))
