"""Commands about one trial: train, export, rerun."""

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.cli.old_options import OldOptions, TrainCommand, read_trial
from tune_qat.cli.options import BACKEND_HELP, AcceptChangedCode, Code, DataDir, Results, check_own_parts
from tune_qat.config import EpochResult, UsageError
from tune_qat.config.own_parts import allow, own_parts
from tune_qat.config.statuses import DIVERGED
from tune_qat.storage.paths import storage_path

_KEYS = """--set takes every field of a trial by its key, with a value as in `tune-qat run --set`. Beside those of the
options above, as examples:

\b
  optimizer_options.momentum=0.9      dataset_options.train_limit=1000
  model_options.depth=4               model_options.drop_rate=0.1
  schedule=step                       milestones=[30,60]
  decay=0.1                           warmup_epochs=0.5
  scheme.first_last_bits=8            scheme.activation_quantizer=pact
  scheme.options.per_channel=true     scheme.layer_bits.conv1=[8,8]
  scheme.ste=round_then_clip          weight_decay_factor=0.25
  quantizer_optimizer.name=sgd        quantizer_optimizer.learning_rate=0.01
  quantizer_lr_multiplier=0.1         quantizer_optimizer.options.momentum=0.9
  freezing.threshold_start=0.1        freezing.threshold_end=0.02
  dampening.weight=0.1                bn_reestimation_batches=50
  distillation.weight=0.5             distillation.temperature=2
  scheme.float_layers=["fc3"]         scheme.attention=true
  init_seed=1                         calibration_batches=8
  task=regression                     label_smoothing=0.1
  micro_batch=32                      micro_batch_norm=true
  autocast=bfloat16                   channels_last=true
"""


@app.command(cls=TrainCommand, epilog=_KEYS)
def train(
    model: Annotated[str, typer.Option(help="See `tune-qat list`.")],
    dataset: Annotated[str, typer.Option(help="See `tune-qat list`.")],
    optimizer: Annotated[str, typer.Option(help="See `tune-qat list`.")] = "adam",
    learning_rate: Annotated[
        float | None, typer.Option(help="The optimizer's documented default, if left out.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = 128,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training split.")] = 3,
    quantizer: Annotated[str, typer.Option(help="See `tune-qat list`.")] = "lsq",
    weight_bits: Annotated[int, typer.Option(help="32: not quantized.")] = 4,
    activation_bits: Annotated[int, typer.Option(help="32: not quantized.")] = 4,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any field of a trial, as decay=0.5; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Data order and calibration; initial weights too.")] = 0,
    init: Annotated[str, typer.Option(help="scratch, or a checkpoint.")] = "scratch",
    weights: Annotated[
        str | None, typer.Option(help="Weights of another program to start from: a file, or timm or torchvision.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    data_dir: DataDir = None,
    code: Code = None,
    test: Annotated[bool, typer.Option("--test", help="Evaluate the test split after the last epoch.")] = False,
    save: Annotated[
        Path | None, typer.Option(help="File for the trained model, as model.pt; an old file is replaced.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object an epoch.")] = False,
    old: OldOptions = None,
) -> None:
    """Train one configuration, without Ray.

    The same code and the same numbers as inside a study; a line an epoch.

    What --save writes is data and no code. A later --init takes that of a 32/32 model, and `tune-qat export model.pt
    -o model.onnx` that of any.

    --set goes over the other options, and what neither says is as documented for the optimizer, the quantizer and the
    dataset.
    """
    given = {
        "model": model,
        "dataset": dataset,
        "scheme.quantizer": quantizer,
        "scheme.weight_bits": weight_bits,
        "scheme.activation_bits": activation_bits,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
    }
    allow(code or ())
    config = read_trial(settings, given, old)
    if save is not None:
        _check_file(save)
    check_own_parts(own_parts(config.model, config.dataset, getattr(config, "task", "")))
    from tune_qat.training.alone import train as train_one

    start = None if init == "scratch" else init
    results = train_one(
        config,
        data_dir=data_dir,
        init=start,
        weights=weights,
        threads=threads,
        test=test,
        backend=backend,
        save=save,
        say=partial(typer.echo, err=True),
    )
    for result in results:
        print(_json_line(result) if json_lines else _text_line(result, config.epochs), flush=True)
        if save is not None and result.status == DIVERGED:
            print(f"{save} is not written: the trial diverged.", file=sys.stderr)


@app.command()
def export(
    results: Annotated[str, typer.Argument(help="A results folder, or its URI; or a model that `train --save` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="model.onnx or state.pt; an old file is replaced.")],
    trial_key: Annotated[
        str | None, typer.Argument(help="A completed retrain or pretrain trial; the best one, if left out.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best trial, be it of the search alone.")] = False,
    purpose: Annotated[
        str, typer.Option("--for", help="exact: what was trained; speed: an approximation that onnxruntime runs fast.")
    ] = "exact",
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Time both in onnxruntime, beside floating point.")
    ] = False,
    data_dir: DataDir = None,
    code: Code = None,
    accept_changed_code: AcceptChangedCode = False,
) -> None:
    """Write a trained model as integers, to ONNX or for torch.

    The best trial is that of the configuration with the best mean of the final validation metric over its retrain
    seeds, and among these the best one; of several bit widths the best quantized one. Test data has no say. `tune-qat
    query RESULTS best_trial` shows it for every bit width. The data is needed for --for speed and --benchmark alone.

    --for speed puts the scales where onnxruntime makes integer kernels of them. That rounds what training did not: its
    agreement with the trained model is measured on validation data, and below 99 % equal classes, or above 0.05 dB of
    PSNR, nothing is written.

    Of a study that trains nothing again, --best takes the best trial of its search, whose score is optimistic.
    """
    if best and trial_key is not None:
        raise UsageError(f"export takes a trial's key or --best, but got --best and {trial_key!r}.")
    from tune_qat.export.command import Wish, export_saved
    from tune_qat.export.command import export as export_one
    from tune_qat.results.views import naming_damage

    allow(code or ())
    wish = Wish(purpose=purpose, benchmark=benchmark, data_dir=data_dir)
    if Path(results).is_file():
        if best or trial_key is not None:
            raise UsageError(f"{results} is a file, and holds one model: leave out the trial's key and --best.")
        print(export_saved(Path(results), output, wish))
        return
    folder = storage_path(results)
    with naming_damage(folder):
        text = export_one(folder, trial_key, output, of_search=best, accept_changed_code=accept_changed_code, wish=wish)
    print(text)


@app.command()
def rerun(
    results: Results,
    trial_key: Annotated[str, typer.Argument(help="Of any trial in the record; its first 6 digits may do.")],
    data_dir: DataDir = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; those of the record, if left out.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object an epoch, and one at the end.")] = False,
    code: Code = None,
    accept_changed_code: AcceptChangedCode = False,
) -> None:
    """Run a recorded trial again: is it the same curve?

    Trains from what the record says alone, as many epochs as are recorded, and writes nothing to the record. On a CPU,
    with the same backend, threads and versions, the curve is the same bit for bit.

    Exit code 0: the same, or different with a likely cause (another device, backend, number of threads or version).
    Exit code 1: different, and nothing in the record says why.
    """
    from tune_qat.rerun import text
    from tune_qat.rerun.again import COMPARED, Rerun
    from tune_qat.rerun.recorded import find
    from tune_qat.results.views import naming_damage

    allow(code or ())
    folder = storage_path(results)
    with naming_damage(folder):
        recorded = find(folder, trial_key)
    again = Rerun(recorded, data_dir=data_dir, threads=threads, accept_changed_code=accept_changed_code)
    if not json_lines:
        print(text.heading(again), "", text.HEADER, sep="\n", flush=True)
    for before, now in again.epochs():
        line = text.epoch_json(before, now, COMPARED) if json_lines else text.line(before, now)
        print(line, flush=True)
    verdict = again.verdict()
    say = text.verdict_json if json_lines else text.conclusion
    print(say(recorded, verdict) if json_lines else f"\n{say(recorded, verdict)}")
    if not verdict.explained:
        raise typer.Exit(1)


def _check_file(save: Path) -> None:
    """Raise `UsageError` for a file that could not be written once the trial has been trained."""
    if save.is_dir():
        raise UsageError(f"--save must name a file, but {save} is a folder.")
    if not save.resolve().parent.is_dir():
        raise UsageError(f"--save {save}: its folder {save.parent} does not exist.")


def _json_line(result: EpochResult) -> str:
    values = asdict(result)
    values.pop("layers")
    return json.dumps(values)


def _text_line(result: EpochResult, epochs: int) -> str:
    def show(value: float | None, digits: int = 4) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    line = (
        f"epoch {result.epoch}/{epochs}  train loss {show(result.train_loss, 5)}  val loss {show(result.val_loss, 5)}  "
        f"val {show(result.val_metric)}  {result.wall_s:.1f} s"
    )
    if result.test_metric is not None:
        line += f"  test {show(result.test_metric)}"
    return line + ("  DIVERGED" if result.status == DIVERGED else "")
