"""The command `tune-qat export`: writing the file, and describing it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.absent import installed
from tune_qat.export.choice import choose
from tune_qat.results.places import with_places
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath, naming

if TYPE_CHECKING:
    from tune_qat.export.speed_file import SpeedFile
    from tune_qat.export.trained import Trained

SUFFIXES = (".onnx", ".pt")
EXACT, SPEED = PURPOSES = ("exact", "speed")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The file that is asked for."""

    purpose: str = EXACT
    """`exact`, what was trained, or `speed`, an approximation that onnxruntime runs on integers."""
    benchmark: bool = False
    """Whether both are timed beside the network in floating point."""
    data_dir: Path | None = None
    """Folder of the data, which `speed` is calibrated and measured on."""

    @property
    def needs_data(self) -> bool:
        return self.purpose == SPEED or self.benchmark


def check_output(output: Path, wish: Wish = Wish()) -> None:  # noqa: B008  # frozen
    """Check what is asked for before anything is loaded.

    Raises:
        UsageError: an output whose suffix names no format, or not one of the wish, or that is a folder.
        TuneQatError: what the wish needs is not installed.
    """
    if wish.purpose not in PURPOSES:
        raise UsageError(f"--for takes {' or '.join(PURPOSES)}, but got {wish.purpose!r}.")
    if wish.needs_data and output.suffix == ".pt":
        option = f"--for {SPEED}" if wish.purpose == SPEED else "--benchmark"
        raise UsageError(f"{option} is about ONNX files: -o must end in .onnx, but got {str(output)!r}.")
    if output.suffix not in SUFFIXES:
        raise UsageError(
            f"-o must end in .onnx (ONNX, integer weights) or .pt (a state of integer codes), but got {str(output)!r}."
        )
    if output.is_dir():
        raise UsageError(f"-o must name a file, but {output} is a folder.")
    if wish.needs_data and not installed("onnxruntime"):
        option = f"--for {SPEED}" if wish.purpose == SPEED else "--benchmark"
        raise TuneQatError(f"{option} needs onnxruntime: pip install 'tune-qat[speed]'")


def export(
    results: StoragePath,
    trial_key: str | None,
    output: Path,
    *,
    of_search: bool = False,
    accept_changed_code: bool = False,
    wish: Wish = Wish(),  # noqa: B008  # frozen
) -> str:
    """Write the model of a trial, or of the best one, and describe what was written.

    Raises:
        UsageError: see `choose` and `check_output`; an own model whose source has changed, unless that is accepted.
        TuneQatError: the checkpoint cannot be read, or the file cannot be written.
    """
    check_output(output, wish)
    choice = choose(results, trial_key, of_search=of_search)
    from tune_qat.export.trained import load_trained

    trained = load_trained(results, choice, accept_changed_code=accept_changed_code)
    description = _written(trained, output, wish, _data_dir(results, choice.study_id) if wish.needs_data else None)
    unknown = (
        "" if choice.checkpoint_sha256 else "\nThe record has no hash of these weights: only their epoch was checked."
    )
    return f"{choice.words}{unknown}\n\n{description}"


def export_saved(saved: Path, output: Path, wish: Wish = Wish()) -> str:  # noqa: B008  # frozen
    """Write the model of a file of `tune-qat train --save`, and describe what was written.

    Raises:
        UsageError: see `check_output`; or the output is the file itself.
        TuneQatError: the file cannot be read or is another, or the output cannot be written.
    """
    check_output(output, wish)
    if output.resolve() == saved.resolve():
        raise UsageError(f"-o must name another file than {saved}, which it would replace.")
    from tune_qat.export.trained import load_saved

    trained = load_saved(saved)
    config = trained.config
    bits = f"{config.scheme.weight_bits}/{config.scheme.activation_bits} bits"
    return f"{saved}: {config.optimizer}, {bits}, seed {config.seed}\n\n{_written(trained, output, wish, None)}"


def _written(trained: "Trained", output: Path, wish: Wish, default_data_dir: str | None) -> str:
    from tune_qat.export.onnx_file import exact_content
    from tune_qat.export.state_file import save_state
    from tune_qat.export.summary import described
    from tune_qat.storage.paths import write_whole

    fast = _for_speed(trained, wish, default_data_dir) if wish.needs_data else None
    exact = exact_content(trained) if output.suffix == ".onnx" and (wish.purpose == EXACT or wish.benchmark) else b""
    with naming(output):
        if output.suffix == ".pt":
            save_state(trained, output)
        else:
            write_whole(output, fast.content if fast is not None and wish.purpose == SPEED else exact)
    said = [described(trained, output, wish.purpose)]
    if fast is not None and wish.purpose == SPEED:
        said.append(fast.words)
    if fast is not None and wish.benchmark:
        from tune_qat.export.benchmark import FLOATING, benchmarked

        said.append(benchmarked(trained, {FLOATING: fast.floating, EXACT: exact, SPEED: fast.content}))
    return "\n\n".join(said)


def _for_speed(trained: "Trained", wish: Wish, default_data_dir: str | None) -> "SpeedFile":
    """Make the export for speed; raise `UsageError` where there is no data to calibrate on."""
    from tune_qat.export.speed_file import check_possible, speed_file
    from tune_qat.training import workload

    check_possible(trained)
    try:
        work = workload.of_trial(trained.config, data_dir=wish.data_dir, default_data_dir=default_data_dir)
    except TuneQatError as error:
        raise UsageError(
            f"--for {SPEED} calibrates on the training data and measures on the validation data of "
            f"{trained.config.dataset!r}, which was not found: {error} `--for {EXACT}` needs no data."
        ) from error
    return speed_file(trained, work.task())


def _data_dir(results: StoragePath, study_id: str) -> str | None:
    """Return the folder of the data that a study's file names."""
    for row in read_rows(results, "studies", study_id, columns=["definition_json"]):
        definition = json.loads(with_places(results, study_id, row["definition_json"]))
        found: str | None = definition.get("data_dir")
        return found
    return None
