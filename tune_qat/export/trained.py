"""The trained model of a trial, built again from the record and its checkpoint; the data is not needed."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tune_qat import models
from tune_qat.config import TrialConfig, TuneQatError
from tune_qat.data.spec import ModelInput
from tune_qat.export.choice import Choice
from tune_qat.quantization.model import quantize
from tune_qat.quantization.oscillations.freezing import hold
from tune_qat.results.layout import checkpoint_path, checkpoint_to_read
from tune_qat.storage.paths import StoragePath
from tune_qat.training.checkpoints import check_trained, load_checkpoint

ANY_SIZE = 32
"""Height and width of the example if a model takes any."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model as its trial's last epoch left it, in evaluation mode on the CPU."""

    trial_key: str
    config: TrialConfig
    model_input: ModelInput
    normalisation: tuple[list[float], list[float]]
    """Mean and deviation of each channel, in 8-bit levels: the input is `(level - mean) / deviation`."""
    model: nn.Module

    @property
    def example(self) -> torch.Tensor:
        """Zeros of shape (1, channels, height, width)."""
        return _example(self.model_input)


def load_trained(results: StoragePath, choice: Choice) -> Trained:
    """Load the model of a completed trial.

    Raises `TuneQatError` where the checkpoint is missing, damaged, does not hold what the trial ended with, or does not
    say what the model's input is.
    """
    study_id, trial_key = choice.study_id, choice.trial_key
    path = checkpoint_to_read(results, study_id, trial_key)
    if not path.exists():
        raise TuneQatError(
            f"Trial {trial_key!r} is in the record, but its checkpoint is missing: "
            f"{checkpoint_path(results, study_id, trial_key)}. To get it back, train the trial again with another "
            "results folder (--results)."
        )
    state = load_checkpoint(path)
    if not {"model_input", "normalisation"} <= state.keys():
        raise TuneQatError(
            f"Checkpoint {path} does not say what its model takes as input: an earlier version of tune-qat wrote it. "
            "Run the study again with another results folder (--results)."
        )
    check_trained(state, path, stage=choice.stage, sha256=choice.checkpoint_sha256, epochs=choice.epochs)
    config = TrialConfig.of_record(trial_key, choice.params_json)
    return built(trial_key, config, state)


def built(trial_key: str, config: TrialConfig, state: dict[str, Any]) -> Trained:
    """Build the model of a checkpoint's state from torch's own modules, without those that are faster in training.

    Raises `TuneQatError` where the state does not fit.
    """
    model_input = ModelInput(**state["model_input"])
    model = models.build(config.model, model_input, config.init_seed)
    model = quantize(model, config.scheme, _example(model_input))
    hold(model, config.freezing)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise TuneQatError(
            f"The checkpoint of trial {trial_key!r} does not fit model {config.model!r}, which another version of "
            f"tune-qat may have built otherwise: {error}"
        ) from error
    mean, deviation = state["normalisation"]
    return Trained(
        trial_key=trial_key,
        config=config,
        model_input=model_input,
        normalisation=(mean, deviation),
        model=model.eval(),
    )


def _example(model_input: ModelInput) -> torch.Tensor:
    return torch.zeros(1, model_input.channels, model_input.height or ANY_SIZE, model_input.width or ANY_SIZE)
