"""SOAP that also takes gradients that are not finite."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_optimizer import SOAP


class Soap(SOAP):
    """The library's SOAP, except that parameters become NaN where a preconditioner is not finite.

    That is what they become with other optimizers. The library raises `LinAlgError`, so that a diverged trial would
    count as failed.
    """

    _lost = False

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if self._lost:
            return None
        try:
            return super().step(closure)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            if self._is_finite():
                raise
        self._lost = True
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.fill_(torch.nan)
        return None

    def _is_finite(self) -> bool:
        sides = (side for state in self.state.values() for side in state.get("GG", ()))
        return all(bool(torch.isfinite(side).all()) for side in sides if len(side))
