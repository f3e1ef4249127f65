"""The trained model of a trial, built again from the record and its checkpoint; the data is not needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tune_qat import models
from tune_qat.config import TrialConfig, TuneQatError
from tune_qat.config.own_parts import own_parts
from tune_qat.config.source_of_trial import check_source, ran_with
from tune_qat.data.spec import ModelInput
from tune_qat.export.choice import Choice
from tune_qat.quantization.model import quantize
from tune_qat.quantization.oscillations.freezing import hold
from tune_qat.results.layout import checkpoint_path, checkpoint_to_read
from tune_qat.storage.paths import StoragePath
from tune_qat.training.checkpoints import check_trained, load_checkpoint
from tune_qat.training.fitting import TYPES

ANY_SIZE = 32
"""Height and width of the example if a model takes any."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model as its trial's last epoch left it, in evaluation mode on the CPU."""

    trial_key: str
    config: TrialConfig
    model_input: ModelInput
    normalisation: tuple[list[float], list[float]]
    """Mean and deviation of each channel: the input is `(number - mean) / deviation`, of images of 8-bit levels."""
    model: nn.Module
    sources: Mapping[str, str] = field(default_factory=dict)
    """Hash of the source that an own model was trained with, by its top-level package."""
    built_from: Mapping[str, str] = field(default_factory=dict)
    """Hash of the source that it is exported with."""

    @property
    def about_source(self) -> dict[str, Any]:
        """Entries of an exported file about the source of an own model, both where they differ; none for others."""
        if not self.sources and not self.built_from:
            return {}
        other = {"exported_with_sources": dict(self.built_from)} if self.built_from != self.sources else {}
        return {"sources": dict(self.sources), **other}

    @property
    def example(self) -> torch.Tensor:
        """Zeros of the shape of one sample, (1, ...), in the input's type."""
        return _example(self.model_input)


def load_trained(results: StoragePath, choice: Choice, *, accept_changed_code: bool = False) -> Trained:
    """Load the model of a completed trial.

    Raises `TuneQatError` where the checkpoint is missing, damaged, does not hold what the trial ended with, or does not
    say what the model's input is, and where an own model has another source, unless that is accepted.
    """
    study_id, trial_key = choice.study_id, choice.trial_key
    path = checkpoint_to_read(results, study_id, trial_key)
    if not path.exists():
        raise TuneQatError(
            f"Trial {trial_key!r} is in the record, but its checkpoint is missing: "
            f'{checkpoint_path(results, study_id, trial_key)}. With stages.keep = "best" that is so of a trial that a '
            "better one of its arm has replaced. To get it back, train the trial again with another "
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
    ran = ran_with(config.sources, choice.sources_json)
    sources = check_source(own_parts(config.model, ""), ran, trial_key, accept=accept_changed_code)
    trained = built(trial_key, config, state)
    return replace(trained, sources={top: ran[top] for top in sources if top in ran}, built_from=sources)


def load_saved(saved: Path) -> Trained:
    """Load the model of a file that `tune-qat train --save` wrote; the key in what is made of it is empty.

    Raises `TuneQatError` where the file is damaged or another, or does not fit.
    """
    state = load_checkpoint(saved)
    if not isinstance(state.get("trial"), str) or not {"model", "model_input", "normalisation"} <= state.keys():
        raise TuneQatError(
            f"{saved} is no file of `tune-qat train --save`: it does not say which model it is of. Give that, or a "
            "results folder and the key of a trial."
        )
    return built("", TrialConfig.of_record(str(saved), state["trial"]), state)


def built(trial_key: str, config: TrialConfig, state: dict[str, Any]) -> Trained:
    """Build the model of a checkpoint's state from torch's own modules, without those that are faster in training.

    Raises `TuneQatError` where the state does not fit.
    """
    model_input = ModelInput(**state["model_input"])
    model = models.build(config.model, model_input, config.init_seed, config.model_options)
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
    return torch.zeros(1, *(length or ANY_SIZE for length in model_input.shape), dtype=TYPES[model_input.dtype])
