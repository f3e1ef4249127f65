"""The command that writes a study file: init."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import Code, DataDir, read_pairs
from tune_qat.config import UsageError
from tune_qat.config.own_parts import allow
from tune_qat.storage.paths import naming, storage_path

if TYPE_CHECKING:
    from tune_qat.study.proposal import Wanted

ASKED = {
    "model": ("Model (a name of `tune-qat list`, timm:NAME, torchvision:NAME or package.module:name)", "lenet5"),
    "dataset": ("Data (a name of `tune-qat list`, or package.module:name)", "mnist"),
    "bits": ("Bits of weights/activations, separated by commas", "4/4"),
    "hours": ("Hours that the study may take on this machine", "2"),
}
"""Questions to a user who has not said these by options, each with an example."""


@app.command()
def init(
    output: Annotated[Path, typer.Argument(help="Study file to write, as my_study.toml.")],
    model: Annotated[str | None, typer.Option(help="A model, as `tune-qat list` names them, or your own.")] = None,
    dataset: Annotated[str | None, typer.Option(help="A dataset, as `tune-qat list` names them, or your own.")] = None,
    bits: Annotated[str | None, typer.Option(help="Weights/activations, as 8/8,4/4; the control is added.")] = None,
    hours: Annotated[float | None, typer.Option(help="Hours that the study may take.")] = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Trials side by side: cores, or GPUs; those of this machine.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of a trial.")] = 10,
    scratch: Annotated[bool, typer.Option("--scratch", help="From random weights, and no trained model.")] = False,
    optimizers: Annotated[str, typer.Option(help="Separated by commas.")] = "adam,adamw,nesterov,lion",
    options: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the dataset; may be repeated.")
    ] = None,
    results: Annotated[str, typer.Option(help="Record whose trials of this workload tell the time.")] = "results",
    data_dir: DataDir = None,
    code: Code = None,
) -> None:
    """Write a study file whose budget fits the hours.

    Asks for what is not said by options. The time of an epoch is that of recorded trials of the workload, or of a few
    steps that are trained here. Changes no file that is there.
    """
    if output.suffix != ".toml" or output.exists():
        rule = "is there already" if output.exists() else "is no TOML file"
        raise UsageError(f"{output} {rule}. Name a new file that ends in .toml.")
    said = _asked({"model": model, "dataset": dataset, "bits": bits, "hours": hours})
    allow(code or ())
    from tune_qat.study.proposal import Wanted, header, proposed
    from tune_qat.text.numbers import duration

    wanted = Wanted(
        name=output.stem,
        model=said["model"],
        dataset=said["dataset"],
        options=read_pairs(options, "--option", "train_limit=10000"),
        bits=_pairs(said["bits"]),
        optimizers=[name.strip() for name in optimizers.split(",")],
        epochs=epochs,
        scratch=scratch,
    )
    wanted, epoch_s, source, usual = _measured(wanted, results, data_dir)
    at_once = at_once or usual
    text, study, takes = proposed(wanted, epoch_s=epoch_s, hours=_hours(said["hours"]), at_once=at_once)
    pace = f"{epoch_s:.3g} s an epoch, {source}"
    folders = [("data-dir", data_dir), *(("code", one) for one in code or ())]
    typed = shlex.join([str(output), *(word for name, one in folders if one for word in (f"--{name}", str(one)))])
    with naming(output):
        # The file names no folder of this machine.
        begun = header(study, f"tune-qat run {output.name}", takes, at_once, pace)
        output.write_text(begun + text, encoding="utf-8")
    print(
        f"{output}: {len(study.arms())} arms, about {duration(3600 * takes)} with {at_once} trials at once, at {pace}"
    )
    if study.repeats > 1:
        print(f"the search is repeated {study.repeats} times: the study can speak of optimizers")
    else:
        print("one search: it finds good configurations; to speak of optimizers takes 3 repeats and more --hours")
    print(f"\ntune-qat check {typed}\ntune-qat run {typed}")


def _asked(said: dict[str, Any]) -> dict[str, Any]:
    """Ask for what was left out; raises `UsageError` where nobody is there to answer."""
    missing = [name for name, value in said.items() if value is None]
    if missing and not sys.stdin.isatty():
        examples = " ".join(f"--{name} {ASKED[name][1]}" for name in missing)
        raise UsageError(
            f"init needs {', '.join(f'--{name}' for name in missing)}, as in: tune-qat init FILE {examples}"
        )
    return {**said, **{name: typer.prompt(ASKED[name][0], default=ASKED[name][1]) for name in missing}}


def _pairs(text: str) -> list[tuple[int, int]]:
    pairs = [part.strip().split("/") for part in text.split(",")]
    if not all(len(pair) == 2 and all(one.isdecimal() for one in pair) for pair in pairs):
        raise UsageError(f"--bits takes pairs of weights/activations, as 8/8,4/4, but got {text!r}.")
    return [(int(weights), int(activations)) for weights, activations in pairs]


def _hours(text: str | float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--hours takes a number above 0, but got {text!r}.")
    return value


def _measured(wanted: "Wanted", results: str, data_dir: Path | None) -> tuple["Wanted", float, str, int]:
    """Return what is wanted with the size of the data, seconds of an epoch, where they are from, and trials at once."""
    from tune_qat.results.pace import seconds_per_epoch
    from tune_qat.study.proposal import smallest
    from tune_qat.training.device import default_device
    from tune_qat.tuning.cluster.machine import usable_cpus
    from tune_qat.tuning.first_look import timed
    from tune_qat.tuning.run import checked

    study = smallest(wanted)
    work, device = checked(study, data_dir).first, default_device()
    wanted = replace(wanted, train_size=work.dataset.sizes["train"])
    at_once = usable_cpus() if device == "cpu" else 1
    recorded = seconds_per_epoch(storage_path(results), study.workload.model, study.workload.dataset)
    if recorded is not None:
        return wanted, recorded, f"as the trials of {results} took", at_once
    return wanted, timed(smallest(wanted), work, device).epoch_s, "timed here", at_once
