"""Builders of optimizers from parameter groups. Every group brings its own `weight_decay` and `lr`.

`fused` and `foreach` update all parameters in one call where torch can: a small network has dozens of tiny ones, and
hundreds of calls would take longer than the arithmetic.
"""

from typing import Any

import torch

Groups = list[dict[str, Any]]


def adam(groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=learning_rate, betas=(beta1, beta2), eps=eps, fused=True)


def adamw(groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(beta1, beta2), eps=eps, fused=True)


def rmsprop(groups: Groups, learning_rate: float, *, alpha: float, eps: float) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, lr=learning_rate, alpha=alpha, eps=eps, foreach=True)


def adagrad(groups: Groups, learning_rate: float, *, eps: float) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(groups, lr=learning_rate, eps=eps, fused=True)


def adadelta(groups: Groups, learning_rate: float, *, rho: float, eps: float) -> torch.optim.Optimizer:
    return torch.optim.Adadelta(groups, lr=learning_rate, rho=rho, eps=eps, foreach=True)


def sgd(groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=learning_rate, fused=True)


def sgd_momentum(groups: Groups, learning_rate: float, *, momentum: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, fused=True)


def nesterov(groups: Groups, learning_rate: float, *, momentum: float) -> torch.optim.Optimizer:
    # Nesterov momentum is undefined at 0, where it is plain SGD.
    return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True)


def lion(groups: Groups, learning_rate: float, *, beta1: float, beta2: float) -> torch.optim.Optimizer:
    from timm.optim.lion import Lion

    return Lion(groups, lr=learning_rate, betas=(beta1, beta2), foreach=True)


def nadam(
    groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float, momentum_decay: float
) -> torch.optim.Optimizer:
    return torch.optim.NAdam(
        groups, lr=learning_rate, betas=(beta1, beta2), eps=eps, momentum_decay=momentum_decay, foreach=True
    )


def radam(groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float) -> torch.optim.Optimizer:
    return torch.optim.RAdam(groups, lr=learning_rate, betas=(beta1, beta2), eps=eps, foreach=True)
