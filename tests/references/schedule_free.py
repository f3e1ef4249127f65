"""Schedule-Free with all three points kept, and the iterate clamped from below after each step."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ScheduleFree:
    """Defazio et al., arXiv 2405.15682, equations 2 to 4, at a constant rate; AdamW's second moment where `adam`."""

    def __init__(self, start: Array, *, lr: float, low: float, adam: bool) -> None:
        self.x, self.y, self.z = start, start, start
        self.v = np.zeros_like(start)
        self.lr, self.low, self.adam = lr, low, adam
        self.t = 0

    def step(self, g: Array) -> None:
        """On the gradient at `y`."""
        beta, beta2, eps = 0.9, 0.999, 1e-8
        self.t += 1
        if self.adam:
            self.v = beta2 * self.v + (1 - beta2) * g**2
            g = g / (np.sqrt(self.v / (1 - beta2**self.t)) + eps)
        self.z = np.maximum(self.z - self.lr * g, self.low)
        self.x = (1 - 1 / self.t) * self.x + self.z / self.t
        self.y = (1 - beta) * self.z + beta * self.x
