"""The command line: thin, each command imports what it needs."""

import json
import os
import shlex
import sys
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tune_qat.config import (
    Dampening,
    Distillation,
    EpochResult,
    Freezing,
    Interrupted,
    QuantizerOptimizer,
    TrialConfig,
    TuneQatError,
    UsageError,
)


class Commands(TyperGroup):
    """Ends Ctrl-C and a closed pipe our way, before typer gives them exit codes of its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except KeyboardInterrupt:
            raise Interrupted("stopped by Ctrl-C") from None
        except BrokenPipeError:
            # The reader of a pipe has seen enough: what is left goes nowhere, also when Python flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    name="tune-qat",
    cls=Commands,
    help="Which optimizer, learning rate and batch size does quantization-aware training need?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Space = Annotated[str, typer.Argument(help="A bundled study (see `tune-qat list`) or a TOML file.")]
Results = Annotated[Path, typer.Argument(help="A results folder.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the data; if left out, TUNE_QAT_DATA, or the study's data_dir.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as space.learning_rate.low=1e-6."),
]
BACKEND_HELP = "What runs training steps: eager, inductor (compiled), or auto: compiled where that pays."
Trials = Annotated[int | None, typer.Option(min=0, help="Search trials per arm; overrides stages.search.")]


def main() -> None:
    """Run the command line; an error for people ends in its message and its exit code, never in a traceback."""
    try:
        app(prog_name="tune-qat")
    except TuneQatError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


@app.command("list")
def list_() -> None:
    """Studies, models, datasets, quantizers and optimizers, a line each."""
    from tune_qat.data import DATASETS
    from tune_qat.models import MODELS
    from tune_qat.optimizers import OPTIMIZERS
    from tune_qat.quantizers import QUANTIZERS
    from tune_qat.study_file import bundled, summary

    tables = {
        "search spaces": {name: summary(path) for name, path in bundled().items()},
        "models": {name: spec.summary for name, spec in MODELS.items()},
        "datasets": {name: spec.summary for name, spec in DATASETS.items()},
        "quantizers": {name: spec.line for name, spec in QUANTIZERS.items()},
        "optimizers": {name: spec.summary for name, spec in OPTIMIZERS.items()},
    }
    width = max(len(name) for lines in tables.values() for name in lines)
    for title, lines in tables.items():
        print(title)
        for name, line in lines.items():
            print(f"  {name:{width}}  {line}")


@app.command()
def plan(
    space: Space,
    results: Annotated[Path, typer.Option(help="Record to estimate minutes from.")] = Path("results"),
    overrides: Overrides = None,
    trials: Trials = None,
) -> None:
    """What a study would do and cost; runs nothing.

    Arms, ranges, stages, trials and epochs, and minutes once trials of the workload are in the record.
    """
    from tune_qat.planning import describe

    print(describe(_study(space, overrides, trials), results))


@app.command()
def run(
    space: Space,
    results: Annotated[Path, typer.Option(help="Folder of the record; may hold many studies.")] = Path("results"),
    data_dir: DataDir = None,
    address: Annotated[str, typer.Option(help="local, auto or host:port of a Ray cluster.")] = "local",
    overrides: Overrides = None,
    trials: Trials = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="Most trials at once.")] = None,
    cpus_per_trial: Annotated[float, typer.Option(min=0.01, help="CPUs, and CPU threads, of each trial.")] = 1.0,
    gpus_per_trial: Annotated[float | None, typer.Option(min=0, help="One where there are GPUs, if left out.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Such as 90s, 30m or 8h: no new trials in time to end.")
    ] = None,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="A line a stage instead of a live display.")
    ] = False,
) -> None:
    """Run a study, or go on with it.

    The same command again does what is missing: after Ctrl-C or a crash, and with more trials, seeds or optimizers.
    """
    # A mistake is found before the seconds that importing ray takes.
    study = _study(space, overrides, trials)
    seconds = None if time_budget is None else _seconds(time_budget)
    from tune_qat.ending import ending
    from tune_qat.progress import display
    from tune_qat.tuning.run import run as run_study

    again = f"tune-qat {shlex.join(sys.argv[1:])}"
    outcome = run_study(
        study,
        results=results,
        data_dir=data_dir,
        address=address,
        max_concurrent=max_concurrent,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        time_budget=seconds,
        backend=backend,
        say=lambda text: print(text, file=sys.stderr),
        display=display(live=not no_progress),
    )
    print(ending(study, outcome, space=space, results=results, again=again))
    if not outcome.complete:
        raise typer.Exit(Interrupted.exit_code)


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

    rate = optimizers.get_spec(optimizer).default_learning_rate if learning_rate is None else learning_rate
    scheme = quantizers.scheme_of(
        quantizer=quantizer,
        activation_quantizer=activation_quantizer,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        first_last_bits=first_last_bits,
        ste=ste,
        options=_pairs(quantizer_option, "--quantizer-option", "per_channel=true"),
        layer_bits=_pairs(layer_bits, "--layer-bits", "conv1=[8,8]"),
    )
    config = TrialConfig(
        model=model,
        dataset=dataset,
        dataset_options=data.resolve_options(data.get_spec(dataset), _pairs(data_option, "--data-option", "scale=2")),
        scheme=scheme,
        optimizer=optimizer,
        learning_rate=rate,
        optimizer_options=optimizers.resolve_options(optimizer, _pairs(option, "--option", "momentum=0.9")),
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
    from tune_qat.training import train as train_one

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

    print(export_one(results, trial_key, output))


@app.command()
def status(results: Results) -> None:
    """What is done, running and left, per arm. Reads files only."""
    from tune_qat.status import describe

    print(describe(results))


@app.command()
def query(
    results: Annotated[Path | None, typer.Argument(help="A results folder.")] = None,
    question: Annotated[str | None, typer.Argument(help="SQL, or the name of a bundled question.")] = None,
    format_: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write instead of the screen.")] = None,
    list_questions: Annotated[bool, typer.Option("--list", help="The bundled questions.")] = False,
) -> None:
    """Ask the record in SQL, or by the name of a bundled question."""
    import analysis
    from tune_qat.tables import check_format, write_frame

    if list_questions:
        for name, text in analysis.queries().items():
            print(f"{name:24} {text}")
        return
    if results is None or question is None:
        known = ", ".join(analysis.queries())
        raise UsageError(f"query takes a results folder and a question: SQL, or one of {known} (see --list).")
    check_format(format_, output)
    write_frame(analysis.frame(results, question), format_, output)


def _study(space: str, overrides: list[str] | None, trials: int | None) -> Any:
    from tune_qat.study import Study
    from tune_qat.study_file import parse_override

    values = dict(parse_override(text) for text in overrides or [])
    if trials is not None:
        values["stages.search"] = trials
    return Study.load(space, values)


def _pairs(texts: list[str] | None, option: str, example: str) -> dict[str, Any]:
    from tune_qat.study_file import parse_override

    return dict(parse_override(text, option, example) for text in texts or [])


def _part(kind: Any, texts: list[str] | None, option: str, example: str) -> Any:
    """A part of the configuration from KEY=VALUE, None where nothing is given; `UsageError` names the keys it takes."""
    if not texts:
        return None
    values, known = _pairs(texts, option, example), {one.name: one.default is MISSING for one in fields(kind)}
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


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        value = float(text[:-1]) * units[text[-1]]
    except (KeyError, ValueError, IndexError):
        value = -1.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--time-budget takes a number with a unit, such as 90s, 30m or 8h, but got {text!r}.")
    return value


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
    return line + ("  DIVERGED" if result.status == "diverged" else "")
