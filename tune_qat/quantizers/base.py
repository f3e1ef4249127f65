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
    """Quantizes one tensor of one layer: its weight or its input.

    Calibrated once on a real tensor before the optimizer exists; using it before that raises. A method gives `_bounds`,
    `_calibrate` and `_codes`.
    """

    decayed: tuple[str, ...] = ()
    """Parameters that the method asks weight decay for."""
    uniform: bool = False
    """Whether a code is `round(clip((value - offset) / scale, qmin, qmax))`: an operation that every runtime has."""

    def __init__(
        self, *, bits: int, kind: str, name: str, ste: str = STE_VARIANTS[0], shape: Sequence[int] | None = None
    ) -> None:
        """What every quantizer is told of its place; a method's own options come beside it.

        Args:
            bits: as the method's line of the table allows.
            kind: `weight` or `activation`.
            name: the layer's, for messages.
            ste: of methods that round first or clip first as asked; the others clip as their paper says.
            shape: the weight's, for methods that keep a value for each channel; None for activations.
        """
        super().__init__()
        del shape
        self._round_first = ste == "round_then_clip"
        self.bits, self.kind, self.name = bits, kind, name
        self.calibrated = False
        self.step_init = 0.0
        """The scale of codes (over channels and planes the mean) after calibration."""
        self.watched = False
        """Whether each forward pass in training mode leaves its codes in `seen`, for who takes them out."""
        self.seen: list[torch.Tensor] = []
        self.frozen: FrozenCodes | None = None
        """Weights that are held at a code, where freezing is used."""
        self._set_signed(kind == "weight")

    @torch.no_grad()
    def calibrate(self, value: torch.Tensor) -> None:
        """Choose signedness and initial parameters from a real tensor: weights, or a whole batch of activations.

        Parameters change in place: the optimizer may hold them already.

        Raises:
            TuneQatError: a value that is not finite; names the layer.
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
        """Codes of `value`; for activations, dimension 0 is the batch."""
        self._check_calibrated()
        codes = self._codes(value)
        if self.frozen is not None:
            codes = self.frozen(codes, self._value_of(self.frozen.code, value))
        if self.watched and self.training:
            self.seen.append(codes.code)
        return codes

    def of_data(self, value: torch.Tensor) -> Codes:
        """The same codes for a value that needs no gradient; `slopes` may take the place of a way back through them."""
        return self(value)

    @torch.no_grad()
    def step_size(self, value: torch.Tensor) -> float:
        """The scale of codes now, over channels and planes the mean. Values of 1 bit, codes -1 and 1, are two apart."""
        return float(self(value).scale.mean())

    def clipped(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Which values lie below the lowest and above the highest; None where the method does not clip."""
        return None

    def constrain(self) -> None:
        """Bring the parameters back into their domain; called without gradients after every optimizer step."""

    def constrain_weight(self, weight: torch.Tensor) -> None:
        """Bring the latent weight into the domain that the method asks for; called as `constrain` is."""

    def get_extra_state(self) -> dict[str, Any]:
        """What calibration decided, as plain values."""
        return {"calibrated": self.calibrated, "signed": self.signed, "step_init": self.step_init}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The counterpart of `get_extra_state`."""
        self.calibrated, self.step_init = state["calibrated"], state["step_init"]
        self._set_signed(state["signed"])

    @abstractmethod
    def _bounds(self, signed: bool) -> tuple[int, int]:
        """Smallest and largest code, `qmin <= 0 <= qmax`."""

    @abstractmethod
    def _calibrate(self, value: torch.Tensor) -> None:
        """Set signedness and parameters from finite values."""

    @abstractmethod
    def _codes(self, value: torch.Tensor) -> Codes:
        """What `forward` gives once calibrated."""

    def _value_of(self, code: torch.Tensor, value: torch.Tensor) -> torch.Tensor | None:
        """Something with the gradient that the value of codes has by the method's parameters; None where it has none.

        `code` holds integers in the shape of `value`, the weight.
        """
        return None

    def _set_signed(self, signed: bool) -> None:
        self.signed = signed
        """Whether codes go below 0."""
        self.qmin, self.qmax = self._bounds(signed)

    def _check_calibrated(self) -> None:
        if not self.calibrated:
            raise TuneQatError(f"Layer {self.name!r}: its {self.kind} quantizer must be calibrated before it is used.")
