"""Oscillations of one weight, step by step in plain Python (Nagel et al., ICML 2022, algorithm 1)."""

import math
from dataclasses import dataclass, field


@dataclass
class Weight:
    """One weight: what it is frozen at, if it is, and what decides about it."""

    start: int
    """The integer before the first step."""
    momentum: float
    direction: int = 0
    frequency: float = 0.0
    frozen_at: int | None = None
    previous: int = field(init=False)
    average: float = field(init=False)

    def __post_init__(self) -> None:
        self.previous, self.average = self.start, float(self.start)

    def step(self, integer: int, threshold: float) -> int:
        """Take in the integer of the latent weight; the one that the forward pass uses."""
        used = integer if self.frozen_at is None else self.frozen_at
        direction = (used > self.previous) - (used < self.previous)
        oscillates = direction * self.direction == -1
        self.frequency = self.momentum * oscillates + (1 - self.momentum) * self.frequency
        self.direction = direction or self.direction
        self.previous = used
        if self.frozen_at is None and self.frequency > threshold:
            self.frozen_at = round(self.average)
        self.average = self.momentum * used + (1 - self.momentum) * self.average
        return used


def annealed(start: float, end: float, step: int, steps: int) -> float:
    """`start` for the first quarter of all steps, then a cosine to `end`."""
    first = steps / 4
    if step < first:
        return start
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * (step - first) / (steps - first)))


def dampening(weight: list[list[float]], step: float, qmin: int, qmax: int) -> tuple[float, list[list[float]]]:
    """Loss and its gradient by each weight: rows are output channels, which are summed; the mean over columns."""
    columns, loss = len(weight[0]), 0.0
    gradient = []
    for row in weight:
        gradient.append([0.0] * columns)
        for column, value in enumerate(row):
            quantized = step * min(max(round(value / step), qmin), qmax)
            clipped = min(max(value, qmin * step), qmax * step)
            loss += (quantized - clipped) ** 2 / columns
            if qmin * step <= value <= qmax * step:
                gradient[-1][column] = 2 * (value - quantized) / columns
    return loss, gradient
