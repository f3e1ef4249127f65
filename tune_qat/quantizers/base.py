"""The contract of a quantizer: integer codes and a scale."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tune_qat.config import STE_VARIANTS, TuneQatError
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.frozen import FrozenCodes


class Quantizer(nn.Module, ABC):
    """Base class of all quantizers; each quantizes one tensor of one layer, its weight or its input.

    A quantizer is calibrated once, on a real tensor and before the optimizer is built; a forward pass before that
    raises `TuneQatError`. A method implements `_bounds`, `_codes` and, if it has parameters, `_calibrate`.
    """

    decayed: tuple[str, ...] = ()
    """Names of the parameters that the method asks weight decay for."""
    uniform: bool = False
    """Whether a code is `round(clip((value - offset) / scale, qmin, qmax))`, which inference runtimes have built in."""

    def __init__(
        self, *, bits: int, kind: str, name: str, ste: str = STE_VARIANTS[0], shape: Sequence[int] | None = None
    ) -> None:
        """Store what every quantizer knows of its place in the model; a method adds its own options.

        Args:
            bits: a bit width that the method's line of the table allows.
            kind: `weight` or `activation`.
            name: name of the layer, for error messages.
            ste: order of clipping and rounding in the straight-through estimator, one of `STE_VARIANTS`. Read by LSQ
                and LSQ+; every other method does as its paper says.
            shape: shape of the weight, for methods that keep a value for each channel; None for activations.
        """
        super().__init__()
        del shape
        self._round_first = ste == "round_then_clip"
        self.bits, self.kind, self.name = bits, kind, name
        self.calibrated = False
        self.step_init = 0.0
        """Scale of the codes right after calibration, averaged over channels and planes."""
        self.watched = False
        """Whether each forward pass in training mode appends its codes to `seen`, for a reader that clears the list."""
        self.seen: list[torch.Tensor] = []
        self.frozen: FrozenCodes | None = None
        """Weights that are held at a code; None where freezing is not used."""
        self._set_signed(kind == "weight")

    @torch.no_grad()
    def calibrate(self, value: torch.Tensor) -> None:
        """Choose signedness and initial parameters from a real tensor: weights, or a whole batch of activations.

        Parameters change in place, so that whatever holds them already stays valid.

        Raises `TuneQatError` if a value is not finite; the message names the layer.
        """
        if not torch.isfinite(value).all():
            raise TuneQatError(
                f"Layer {self.name!r}: its {self.kind} holds values that are not finite, so it cannot be calibrated. "
                "Check the starting checkpoint and the data."
            )
        self._calibrate(value)
        self.calibrated = True
        self.step_init = self.step_size(value)

    def forward(self, value: torch.Tensor) -> Codes:
        """Return the codes of `value`, whose dimension 0 is the batch for activations.

        Raises `TuneQatError` before calibration.
        """
        self._check_calibrated()
        codes = self._codes(value)
        if self.frozen is not None:
            codes = self.frozen(codes, self._value_of(self.frozen.code, value))
        if self.watched and self.training:
            self.seen.append(codes.code)
        return codes

    def codes_of_constant(self, value: torch.Tensor) -> Codes:
        """Return the codes of a value that needs no gradient.

        They are those of `forward`. A method may return them as constants, with `slopes` in place of a backward pass
        through the codes to its parameter.
        """
        return self(value)

    @torch.no_grad()
    def step_size(self, value: torch.Tensor) -> float:
        """Return the present scale of the codes, averaged over channels and planes.

        Where codes are signs, -1 and 1, neighbouring values are twice that apart.
        """
        return float(self(value).scale.mean())

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return masks of the values below and of those above the range; None where the method does not clip."""
        return None

    def constrain(self) -> None:
        """Bring the parameters back into their domain; called under `no_grad` after every optimizer step."""

    def constrain_weight(self, weight: torch.Tensor) -> None:
        """Bring the latent weight back into the domain that the method asks for; called when `constrain` is."""

    def get_extra_state(self) -> dict[str, Any]:
        """Return what calibration decided, as plain values."""
        return {"calibrated": self.calibrated, "signed": self.signed, "step_init": self.step_init}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.calibrated, self.step_init = state["calibrated"], state["step_init"]
        self._set_signed(state["signed"])

    @abstractmethod
    def _bounds(self, signed: bool) -> tuple[int, int]:
        """Return the smallest and the largest code, `qmin <= 0 <= qmax`."""

    def _calibrate(self, value: torch.Tensor) -> None:
        """Set signedness and parameters from finite values; nothing for a method without parameters."""

    @abstractmethod
    def _codes(self, value: torch.Tensor) -> Codes:
        """Return the codes of `value`, with gradients to it and to the parameters; called only after calibration."""

    def _value_of(self, code: torch.Tensor, value: torch.Tensor) -> torch.Tensor | None:
        """Return a tensor that passes the gradient of codes' dequantized values to the method's parameters.

        Only its gradient is used, not its value; None where the values depend on no parameter.

        Args:
            code: constant integers in the shape of the weight.
            value: the latent weight.
        """
        return None

    def _set_signed(self, signed: bool) -> None:
        self.signed = signed
        """Whether codes go below 0."""
        self.qmin, self.qmax = self._bounds(signed)

    def _check_calibrated(self) -> None:
        if not self.calibrated:
            raise TuneQatError(f"Layer {self.name!r}: its {self.kind} quantizer must be calibrated before it is used.")
