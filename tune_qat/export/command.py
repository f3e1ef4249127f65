"""The command `tune-qat export`: writing the file, and describing it."""

from pathlib import Path

from tune_qat.config import UsageError
from tune_qat.export.choice import choose
from tune_qat.storage.paths import StoragePath, naming

SUFFIXES = (".onnx", ".pt")


def check_output(output: Path) -> None:
    """Raise `UsageError` for an output whose suffix names no format, or that is a folder."""
    if output.suffix not in SUFFIXES:
        raise UsageError(
            f"-o must end in .onnx (ONNX, integer weights) or .pt (a state of integer codes), but got {str(output)!r}."
        )
    if output.is_dir():
        raise UsageError(f"-o must name a file, but {output} is a folder.")


def export(results: StoragePath, trial_key: str | None, output: Path) -> str:
    """Write the model of a trial, or of the best one, and describe what was written.

    Raises:
        UsageError: see `choose` and `check_output`.
        TuneQatError: the checkpoint cannot be read, or the file cannot be written.
    """
    check_output(output)
    choice = choose(results, trial_key)
    from tune_qat.export.onnx_file import save_onnx
    from tune_qat.export.state_file import save_state
    from tune_qat.export.summary import described
    from tune_qat.export.trained import load_trained

    trained = load_trained(results, choice)
    save = save_onnx if output.suffix == ".onnx" else save_state
    with naming(output):
        save(trained, output)
    unknown = (
        "" if choice.checkpoint_sha256 else "\nThe record has no hash of these weights: only their epoch was checked."
    )
    return f"{choice.words}{unknown}\n\n{described(trained, output)}"
