"""Oscillations in a trial, step by step: tracked, dampened and frozen."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tune_qat import quantizers
from tune_qat.config import TrialConfig
from tune_qat.quantization.model import quantized_weights
from tune_qat.quantization.oscillations import dampening, freezing
from tune_qat.quantization.oscillations.tracking import Tracker, Watched


class Oscillations:
    """Tracking of a model's quantized weights, with the dampening and freezing that the configuration asks for."""

    def __init__(self, config: TrialConfig, model: nn.Module) -> None:
        """Take a calibrated model that is not compiled yet: freezing changes its forward pass.

        Raises `UsageError` where the quantizer does not allow what the configuration asks for.
        """
        uses_freezing, uses_dampening = config.freezing is not None, config.dampening is not None
        quantizers.check_recipe(config.scheme, freezing=uses_freezing, dampening=uses_dampening)
        self._config = config
        self._layers = quantized_weights(model)
        freezing.hold(model, config.freezing)
        self.model = Watched(model)
        """The model, with a forward pass that also returns the codes that tracking needs."""
        weights = [layer.layer.weight for _, layer in self._layers]
        self._tracker = Tracker(self.model.codes(), weights) if weights else None

    def penalty(self, progress: float) -> torch.Tensor | None:
        """Return the term to add to the loss, shape (); None where there is none. `progress` is that of `annealed`."""
        if self._config.dampening is None or not self._layers:
            return None
        factor = dampening.factor(self._config.dampening, progress)
        return factor * dampening.penalty(self._layers) if factor else None

    @torch.no_grad()
    def observe(self, codes: torch.Tensor | None, progress: float) -> None:
        """Record a forward pass in training mode; called once for each optimizer step, before it.

        `codes` are those that `model` returned with its output.
        """
        if self._tracker is None or codes is None:
            return
        self._tracker.observe(codes)
        if self._config.freezing is not None:
            limit = freezing.threshold(self._config.freezing, progress)
            for quantizer, layer in self._layers:
                if quantizer.frozen is not None:
                    quantizer.frozen.observe(quantizer(layer.filters).code, self._config.freezing.momentum, limit)

    def columns(self) -> dict[int, dict[str, float]]:
        """Return columns for the rows of weights in the `layers` table, by the layer's index."""
        if self._tracker is None:
            return {}
        columns = self._tracker.columns()
        found = {layer.index: own for (_, layer), own in zip(self._layers, columns, strict=True)}
        for quantizer, layer in self._layers:
            if quantizer.frozen is not None:
                found[layer.index]["frozen_fraction"] = float(quantizer.frozen.mask.double().mean())
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the tracker's state; frozen codes are in the state of the model."""
        return {} if self._tracker is None else self._tracker.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._tracker is not None:
            self._tracker.load_state_dict(state)
