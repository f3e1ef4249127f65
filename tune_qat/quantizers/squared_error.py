"""The step and offset that minimise the squared error of a quantized tensor (LSQ+)."""

import torch

from tune_qat.quantizers import uniform

STEPS = 150
SAMPLES = 100_000
"""Largest number of values used: more would move the optimum by less than its noise from batch to batch."""
PART = 0.02
"""Learning rate of Adam as a share of the first step size, which can halve or double within `STEPS` updates."""
SMALLEST = 1e-6
"""Smallest step size, as for LSQ."""


def smallest_error(
    value: torch.Tensor, step: torch.Tensor, offset: torch.Tensor, qmin: int, qmax: int, *, move_offset: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the step and offset of smallest squared error among the given ones and those that Adam visits from them.

    Args:
        value: tensor to be quantized, any shape.
        step: shape (), above 0.
        offset: shape (), the value of code 0.
        qmin: smallest code.
        qmax: largest code.
        move_offset: whether the offset may change.
    """
    flat = value.detach().flatten()
    flat = flat[:: max(1, -(-flat.numel() // SAMPLES))]
    with torch.enable_grad():
        found = [step.detach().clone().requires_grad_(), offset.detach().clone().requires_grad_(move_offset)]
        adam = torch.optim.Adam([one for one in found if one.requires_grad], lr=float(step) * PART)
        best, best_error = [one.detach().clone() for one in found], torch.inf
        for number in range(STEPS + 1):
            code = uniform.codes(flat, found[0], qmin, qmax, offset=found[1])
            error = code.detach() * found[0].detach() + found[1].detach() - flat
            size = float(error.square().mean())
            if size < best_error:
                best, best_error = [one.detach().clone() for one in found], size
            if number == STEPS:
                break
            adam.zero_grad()
            # Gradient of the dequantized values times the step, as the codes expect it.
            code.backward(2 * error / len(flat) * found[0].detach())
            adam.step()
            with torch.no_grad():
                found[0].clamp_(min=SMALLEST)
    return best[0], best[1]
