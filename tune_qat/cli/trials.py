"""Commands about one trial: train, export, rerun."""

import json
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import BACKEND_HELP, DataDir, Results, read_pairs
from tune_qat.config import Dampening, Distillation, EpochResult, Freezing, QuantizerOptimizer, TrialConfig, UsageError
from tune_qat.config.statuses import DIVERGED
from tune_qat.storage.paths import storage_path


@app.command()
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
    first_last_bits: Annotated[
        int | None, typer.Option(help="Of the first and the last layer; as in the method's paper, if left out.")
    ] = None,
    activation_quantizer: Annotated[str | None, typer.Option(help="Another method for activations.")] = None,
    layer_bits: Annotated[
        list[str] | None, typer.Option(metavar="LAYER=[W,A]", help="Bits of a layer by name, as conv1=[8,8].")
    ] = None,
    quantizer_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the quantizer, as per_channel=true.")
    ] = None,
    ste: Annotated[str, typer.Option(help="clip_then_round or round_then_clip.")] = "clip_then_round",
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the optimizer, as momentum=0.9.")
    ] = None,
    data_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the dataset, as scale=2.")
    ] = None,
    quantizer_lr_multiplier: Annotated[
        float, typer.Option(help="Learning rate of the quantizers' parameters, as a multiple.")
    ] = 1.0,
    quantizer_optimizer: Annotated[
        str | None, typer.Option(help="Of the quantizers' parameters; the same, if left out.")
    ] = None,
    quantizer_learning_rate: Annotated[
        float | None, typer.Option(help="Of --quantizer-optimizer; its documented default, if left out.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="cosine, step or constant; cosine, or the optimizer's own, if left out.")
    ] = None,
    warmup_epochs: Annotated[float, typer.Option(help="Epochs of linear warm-up, in parts too.")] = 0.0,
    bn_reestimation_batches: Annotated[
        int, typer.Option(min=0, help="Batch norm estimated anew from so many training batches before each evaluation.")
    ] = 0,
    freezing: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Weight freezing: threshold_start, threshold_end, momentum."),
    ] = None,
    dampening: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Dampening loss: weight, as weight=0.1.")
    ] = None,
    milestone: Annotated[
        list[float] | None, typer.Option(metavar="EPOCH", help="At which step lowers the rate; may be repeated.")
    ] = None,
    decay: Annotated[float, typer.Option(help="What step multiplies the rate by.")] = 0.1,
    distillation: Annotated[
        float | None, typer.Option(metavar="WEIGHT", help="Of the start as a teacher, 0 to 1, beside the labels.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of the teacher.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Data order and calibration; initial weights too.")] = 0,
    init: Annotated[str, typer.Option(help="scratch, or a checkpoint.")] = "scratch",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    data_dir: DataDir = None,
    test: Annotated[bool, typer.Option("--test", help="Evaluate the test split after the last epoch.")] = False,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object an epoch.")] = False,
) -> None:
    """Train one configuration, without Ray.

    The same code and the same numbers as inside a study; a line an epoch.
    """
    from tune_qat import data, optimizers, quantizers

    data_options = read_pairs(data_option, "--data-option", "scale=2")
    rate = optimizers.get_spec(optimizer).default_learning_rate if learning_rate is None else learning_rate
    scheme = quantizers.scheme_of(
        quantizer=quantizer,
        activation_quantizer=activation_quantizer,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        first_last_bits=first_last_bits,
        ste=ste,
        options=read_pairs(quantizer_option, "--quantizer-option", "per_channel=true"),
        layer_bits=read_pairs(layer_bits, "--layer-bits", "conv1=[8,8]"),
    )
    config = TrialConfig(
        model=model,
        dataset=dataset,
        dataset_options=data.resolve_options(data.get_spec(dataset), data_options),
        scheme=scheme,
        optimizer=optimizer,
        learning_rate=rate,
        optimizer_options=optimizers.resolve_options(optimizer, read_pairs(option, "--option", "momentum=0.9")),
        quantizer_lr_multiplier=quantizer_lr_multiplier,
        batch_size=batch_size,
        epochs=epochs,
        schedule=schedule or optimizers.schedule_of(optimizer, "cosine"),
        warmup_epochs=warmup_epochs,
        milestones=tuple(milestone or ()),
        decay=decay,
        distillation=None if distillation is None else Distillation(weight=distillation, temperature=temperature),
        seed=seed,
        init_seed=seed,
        bn_reestimation_batches=bn_reestimation_batches,
        freezing=_part(Freezing, freezing, "--freezing", "threshold_start=0.1"),
        dampening=_part(Dampening, dampening, "--dampening", "weight=0.1"),
        quantizer_optimizer=_quantizer_optimizer(quantizer_optimizer, quantizer_learning_rate),
    )
    optimizers.check(config)
    start = None if init == "scratch" else init
    from tune_qat.training.loop import train as train_one

    results = train_one(config, data_dir=data_dir, init=start, threads=threads, test=test, backend=backend)
    for result in results:
        print(_json_line(result) if json_lines else _text_line(result, config.epochs), flush=True)


@app.command()
def export(
    results: Results,
    output: Annotated[Path, typer.Option("-o", "--output", help="model.onnx or state.pt; an old file is replaced.")],
    trial_key: Annotated[
        str | None, typer.Argument(help="A completed retrain or pretrain trial; the best one, if left out.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best trial, also where none is named.")] = False,
) -> None:
    """Write a trained model as integers, to ONNX or for torch.

    The best trial is that of the configuration with the best mean of the final validation metric over its retrain
    seeds, and among these the best one; of several bit widths the best quantized one. Test data has no say. `tune-qat
    query RESULTS best_trial` shows it for every bit width. The data is not needed.
    """
    if best and trial_key is not None:
        raise UsageError(f"export takes a trial's key or --best, but got --best and {trial_key!r}.")
    from tune_qat.export.command import export as export_one

    print(export_one(storage_path(results), trial_key, output))


@app.command()
def rerun(
    results: Results,
    trial_key: Annotated[str, typer.Argument(help="Of any trial in the record; its first 6 digits may do.")],
    data_dir: DataDir = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; those of the record, if left out.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object an epoch, and one at the end.")] = False,
) -> None:
    """One recorded trial again, without Ray: is it the same curve?

    Trains from what the record says alone, as many epochs as are recorded, and writes nothing to the record. On a CPU,
    with the same backend, threads and versions, the curve is the same bit for bit.

    Exit code 0: the same, or different with a likely cause (another device, backend, number of threads or version).
    Exit code 1: different, and nothing in the record says why.
    """
    from tune_qat.rerun import text
    from tune_qat.rerun.again import COMPARED, Rerun
    from tune_qat.rerun.recorded import find

    recorded = find(storage_path(results), trial_key)
    again = Rerun(recorded, data_dir=data_dir, threads=threads)
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


def _part(kind: Any, texts: list[str] | None, option: str, example: str) -> Any:
    """A part of the configuration from KEY=VALUE, None where nothing is given; `UsageError` names the keys it takes."""
    if not texts:
        return None
    values, known = read_pairs(texts, option, example), {one.name: one.default is MISSING for one in fields(kind)}
    if not values.keys() <= known.keys() or any(needed and name not in values for name, needed in known.items()):
        takes = ", ".join(name if needed else f"{name} (may be left out)" for name, needed in known.items())
        raise UsageError(f"{option} takes {takes}, but got {', '.join(values)}.")
    return kind(**values)


def _quantizer_optimizer(name: str | None, learning_rate: float | None) -> QuantizerOptimizer | None:
    from tune_qat import optimizers

    if name is None:
        if learning_rate is not None:
            raise UsageError("--quantizer-learning-rate is that of --quantizer-optimizer, which is missing.")
        return None
    rate = optimizers.get_spec(name).default_learning_rate if learning_rate is None else learning_rate
    return QuantizerOptimizer(name=name, learning_rate=rate, options=optimizers.resolve_options(name, {}))


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
