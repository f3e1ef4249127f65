"""Optimizers as their papers write them, one tensor at a time, in numpy and double precision."""

import math
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Rule(ABC):
    """One tensor's optimizer: from the parameter and its gradient to the next parameter."""

    def __init__(self, shape: tuple[int, ...], *, weight_decay: float) -> None:
        self.weight_decay = weight_decay
        self.m, self.v = np.zeros(shape), np.zeros(shape)
        self.t = 0

    @abstractmethod
    def step(self, p: Array, g: Array, lr: float) -> Array:
        """The next parameter."""

    def adam(self, g: Array, beta1: float, beta2: float, eps: float) -> Array:
        """Adam's direction (Kingma & Ba, algorithm 1) for the t-th update."""
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * g**2
        return (self.m / (1 - beta1**self.t)) / (np.sqrt(self.v / (1 - beta2**self.t)) + eps)


class Lamb(Rule):
    """You et al., arXiv 1904.00962, algorithm 2 with phi(z) = z; the ratio is 1 where a norm is 0."""

    def step(self, p: Array, g: Array, lr: float) -> Array:
        self.t += 1
        update = self.adam(g, 0.9, 0.999, 1e-6) + self.weight_decay * p
        size, length = math.sqrt(float(np.sum(p**2))), math.sqrt(float(np.sum(update**2)))
        return p - lr * (size / length if size and length else 1.0) * update


class RAdam(Rule):
    """Liu et al., arXiv 1908.03265, algorithm 2; the decay is added to the gradient."""

    def step(self, p: Array, g: Array, lr: float) -> Array:
        beta1, beta2, eps = 0.9, 0.999, 1e-8
        self.t += 1
        g = g + self.weight_decay * p
        self.m = beta1 * self.m + (1 - beta1) * g
        self.v = beta2 * self.v + (1 - beta2) * g**2
        m_hat = self.m / (1 - beta1**self.t)
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * self.t * beta2**self.t / (1 - beta2**self.t)
        if rho <= 5:  # the paper's threshold is 4; its authors' code, and torch, take 5
            return p - lr * m_hat
        r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        adaptive = math.sqrt(1 - beta2**self.t) / (np.sqrt(self.v) + eps)
        return p - lr * m_hat * r * adaptive


class AdEMAMix(Rule):
    """Pagliardini et al., arXiv 2409.03137, algorithm 1 without its schedules."""

    def __init__(self, shape: tuple[int, ...], *, weight_decay: float) -> None:
        super().__init__(shape, weight_decay=weight_decay)
        self.slow = np.zeros(shape)

    def step(self, p: Array, g: Array, lr: float) -> Array:
        beta1, beta2, beta3, alpha, eps = 0.9, 0.999, 0.9999, 5.0, 1e-8
        self.t += 1
        self.m = beta1 * self.m + (1 - beta1) * g
        self.slow = beta3 * self.slow + (1 - beta3) * g
        self.v = beta2 * self.v + (1 - beta2) * g**2
        denominator = np.sqrt(self.v / (1 - beta2**self.t)) + eps
        update = (self.m / (1 - beta1**self.t) + alpha * self.slow) / denominator
        return p - lr * (update + self.weight_decay * p)


class Mars(Rule):
    """Yuan et al., arXiv 2411.10438, algorithm 2 (MARS-AdamW, approximate); vectors and scalars by AdamW."""

    def __init__(self, shape: tuple[int, ...], *, weight_decay: float) -> None:
        super().__init__(shape, weight_decay=weight_decay)
        self.last = np.zeros(shape)

    def step(self, p: Array, g: Array, lr: float) -> Array:
        self.t += 1
        p = p * (1 - lr * self.weight_decay)
        if p.ndim < 2:
            return p - lr * self.adam(g, 0.9, 0.95, 1e-8)
        beta1, beta2, gamma = 0.95, 0.99, 0.025
        corrected = g + gamma * beta1 / (1 - beta1) * (g - self.last)
        corrected = corrected / max(1.0, float(np.linalg.norm(corrected)))
        self.last = g
        return p - lr * self.adam(corrected, beta1, beta2, 1e-8)


class Soap(Rule):
    """Vyas et al., arXiv 2409.11321, algorithm 3 with one matrix for each side; vectors and scalars by Adam."""

    EVERY = 10

    def __init__(self, shape: tuple[int, ...], *, weight_decay: float) -> None:
        super().__init__(shape, weight_decay=weight_decay)
        self.sides = range(len(shape)) if len(shape) > 1 else range(0)
        self.statistics = [np.zeros((shape[side], shape[side])) for side in self.sides]
        self.bases: list[Array] = []

    def step(self, p: Array, g: Array, lr: float) -> Array:
        beta, eps = 0.95, 1e-8
        if self.t == 0 and not self.bases:
            self._observe(g, beta)
            # The largest first.
            self.bases = [np.linalg.eigh(statistic)[1][:, ::-1] for statistic in self.statistics] or [np.eye(1)]
            return p
        self.t += 1
        self.m = beta * self.m + (1 - beta) * g
        self.v = beta * self.v + (1 - beta) * self._turn(g) ** 2
        update = self._turn(self._turn(self.m) / (np.sqrt(self.v) + eps), back=True)
        p = p - lr * math.sqrt(1 - beta**self.t) / (1 - beta**self.t) * update
        p = p * (1 - lr * self.weight_decay)
        self._observe(g, beta)
        if self.t % self.EVERY == 0:
            self._refresh()
        return p

    def _observe(self, g: Array, beta: float) -> None:
        for side in self.sides:
            flat = np.moveaxis(g, side, 0).reshape(g.shape[side], -1)
            self.statistics[side] = beta * self.statistics[side] + (1 - beta) * flat @ flat.T

    def _turn(self, value: Array, *, back: bool = False) -> Array:
        for side in self.sides:
            basis = self.bases[side] if back else self.bases[side].T
            value = np.moveaxis(np.tensordot(basis, value, axes=(1, side)), 0, side)
        return value

    def _refresh(self) -> None:
        """One step of power iteration, the directions in the order of their eigenvalues."""
        for side in self.sides:
            product = self.statistics[side] @ self.bases[side]
            order = np.argsort(-np.sum(self.bases[side] * product, axis=0), kind="stable")
            self.v = np.take(self.v, order, axis=side)
            self.bases[side] = np.linalg.qr(product[:, order])[0]
