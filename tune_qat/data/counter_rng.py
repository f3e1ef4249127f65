"""Random numbers as a pure function of counters: no generator, no state, no order of drawing.

A draw depends on its counters (seed, epoch, purpose) and its index alone, so a sample's augmentation is the same
in whatever batch, on whatever device and after whatever resume it is drawn. The mixer is that of splitmix64
(Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), written in int64 because
torch has no shifts of unsigned integers on every device.
"""

import torch

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31


def bits(index: torch.Tensor, *counters: int) -> torch.Tensor:
    """Return 64 random bits for each index, as int64 of the shape of `index`.

    Args:
        index: positions in the stream, int64 of any shape.
        counters: integers that name the stream, such as seed, epoch and purpose; their order matters.
    """
    value = index * _signed(_GOLDEN) + _signed(_stream_key(counters))
    for shift, multiplier in _ROUNDS:
        value = (value ^ _shift_right(value, shift)) * _signed(multiplier)
    return value ^ _shift_right(value, _LAST_SHIFT)


def integers(index: torch.Tensor, high: int | torch.Tensor, *counters: int) -> torch.Tensor:
    """Return a random integer of [0, high) for each index, int64 of the broadcast shape; `high` is at most 2**31.

    Multiply-and-shift on the upper 32 bits (Lemire, 2019): the bias is below high / 2**32.
    """
    return (_shift_right(bits(index, *counters), 32) * high) >> 32


def uniform(index: torch.Tensor, *counters: int) -> torch.Tensor:
    """Return a random number of [0, 1) for each index, float64 of the shape of `index`: the upper 53 bits."""
    return _shift_right(bits(index, *counters), 11) * 2.0**-53


def permutation(n: int, *counters: int) -> torch.Tensor:
    """Return a random order of range(n), int64 of shape (n,), on the CPU."""
    return torch.argsort(bits(torch.arange(n), *counters), stable=True)


def _stream_key(counters: tuple[int, ...]) -> int:
    key = 0
    for counter in counters:
        key = _mix((key ^ (counter & _MASK)) + _GOLDEN & _MASK)
    return key


def _mix(value: int) -> int:
    for shift, multiplier in _ROUNDS:
        value = ((value ^ (value >> shift)) * multiplier) & _MASK
    return value ^ (value >> _LAST_SHIFT)


def _signed(value: int) -> int:
    """Return the int64 with the same 64 bits as an unsigned integer."""
    return value - (1 << 64) if value >> 63 else value


def _shift_right(value: torch.Tensor, n: int) -> torch.Tensor:
    """Return the value shifted to the right with zeros brought in; torch's own shift brings in copies of the sign."""
    return (value >> n) & ((1 << (64 - n)) - 1)
