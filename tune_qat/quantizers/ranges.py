"""Common rules for the range that a quantizer begins with, for methods whose papers leave it open."""

import torch

SAMPLES = 100_000
"""Largest number of values that candidates are tried on, evenly spaced over the tensor, as for LSQ+."""
FACTORS = tuple(number / 100 for number in range(100, 4, -1))
"""Candidates of the rule `mse`, as factors of the whole range; of equal errors the larger range is taken."""


def initial_range(
    value: torch.Tensor, rule: str, *, percentile: float, intervals: int, from_zero: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose the ends of a uniform grid from a calibration tensor.

    Args:
        value: finite tensor of any shape.
        rule: `min_max`, the smallest and the largest value; `percentile`, with `100 - percentile` percent of the values
            outside at each end, rounded down; `mse`, the factor of `min_max`, in hundredths, whose grid has the
            smallest mean squared error.
        percentile: above 50 and at most 100; 100 is `min_max`.
        intervals: number of the grid's intervals, one less than its values.
        from_zero: whether the grid begins at 0, and only the upper end is chosen.

    Returns:
        The lower and the upper end, each of shape (); with `from_zero` the upper end is at least 0.
    """
    flat = value.detach().flatten()
    # Rounded first: a tenth of a percent of 1000 values is one value, and not none by a rounding error.
    outside = int(round((100 - percentile) / 100 * flat.numel(), 6)) if rule == "percentile" else 0
    low = flat.new_zeros(()) if from_zero else _smallest(flat, outside)
    high = -_smallest(-flat, outside)
    high = high.clamp(min=0) if from_zero else high
    if rule != "mse":
        return low, high
    some = flat[:: max(1, -(-flat.numel() // SAMPLES))].double()
    errors = [_error(some, low.double() * factor, high.double() * factor, intervals) for factor in FACTORS]
    best = FACTORS[int(torch.stack(errors).argmin())]
    return low * best, high * best


def _smallest(flat: torch.Tensor, after: int) -> torch.Tensor:
    """Take the value that has this many below it."""
    return flat.kthvalue(after + 1).values if after else flat.min()


def _error(value: torch.Tensor, low: torch.Tensor, high: torch.Tensor, intervals: int) -> torch.Tensor:
    """Return the mean squared error of values on the grid; a range without width has one value, its lower end."""
    step = (high - low) / intervals
    code = torch.where(step > 0, (value - low) / step, 0.0).round().clamp(0, intervals)
    return (code * step + low - value).square().mean()
