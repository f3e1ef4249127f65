"""Builders of optimizers from libraries that take a while to import, and are therefore imported when used.

Where a library offers a choice, these follow the paper; the table says what kind of weight decay it is.
"""

from typing import Any

import torch

from tune_qat.optimizers.builders import Groups


def adan(
    groups: Groups, learning_rate: float, *, beta1: float, beta2: float, beta3: float, eps: float
) -> torch.optim.Optimizer:
    from pytorch_optimizer import Adan

    return Adan(groups, lr=learning_rate, betas=(beta1, beta2, beta3), eps=eps, foreach=True)


def ademamix(
    groups: Groups, learning_rate: float, *, beta1: float, beta2: float, beta3: float, alpha: float, eps: float
) -> torch.optim.Optimizer:
    from pytorch_optimizer import AdEMAMix

    betas = (beta1, beta2, beta3)
    return AdEMAMix(groups, lr=learning_rate, betas=betas, alpha=alpha, eps=eps, weight_decouple=True, foreach=True)


def adopt(groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float) -> torch.optim.Optimizer:
    from pytorch_optimizer import ADOPT

    # Clipped at t ** 0.25 for the t-th update, as in the paper. The library also counts the step before the first.
    return ADOPT(
        groups,
        lr=learning_rate,
        betas=(beta1, beta2),
        eps=eps,
        clip_lambda=lambda step: (step - 1) ** 0.25,
        foreach=True,
    )


def soap(groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float) -> torch.optim.Optimizer:
    from tune_qat.optimizers.soap import Soap

    # The library preconditions no side longer than the limit: with 0, none at all, not even of a quantizer's steps for
    # each channel, (out, 1, 1, 1).
    groups = [{**group} if group["matrices"] else {**group, "max_precondition_dim": 0} for group in groups]
    return Soap(groups, lr=learning_rate, betas=(beta1, beta2), eps=eps)


def muon(
    groups: Groups, learning_rate: float, *, momentum: float, beta1: float, beta2: float, adamw_lr_ratio: float
) -> torch.optim.Optimizer:
    from timm.optim.muon import Muon

    # timm's Muon reshapes filters to (out, rest) and has AdamW in the same object; torch's takes 2-D parameters alone.
    # Coefficients, Nesterov momentum and the scale of the rate are those of torch and of the author.
    def part(group: dict[str, Any]) -> dict[str, Any]:
        if group["matrices"]:
            return {**group, "use_muon": True}
        # With Nesterov momentum timm's AdamW would be NAdamW.
        return {**group, "use_muon": False, "nesterov": False, "lr": group["lr"] * adamw_lr_ratio}

    return Muon(
        [part(group) for group in groups],
        lr=learning_rate,
        momentum=momentum,
        nesterov=True,
        betas=(beta1, beta2),
        ns_coefficients="original",
        adjust_lr_fn="original",
    )


def prodigy(
    groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float, d_coef: float
) -> torch.optim.Optimizer:
    from prodigyopt import Prodigy

    return Prodigy(groups, lr=learning_rate, betas=(beta1, beta2), eps=eps, d_coef=d_coef)


def schedule_free_sgd(groups: Groups, learning_rate: float, *, momentum: float) -> torch.optim.Optimizer:
    from schedulefree import SGDScheduleFree

    return SGDScheduleFree(groups, lr=learning_rate, momentum=momentum, foreach=True)


def schedule_free_adamw(
    groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float
) -> torch.optim.Optimizer:
    from schedulefree import AdamWScheduleFree

    return AdamWScheduleFree(groups, lr=learning_rate, betas=(beta1, beta2), eps=eps, foreach=True)
