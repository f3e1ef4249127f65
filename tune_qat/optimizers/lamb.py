"""LAMB by the paper's definition.

Libraries depart from it: pytorch_optimizer 4 corrects neither moment and takes no norm of a parameter as above 10,
which 19 of the 21 weights of a new ResNet-18 are; timm 1 leaves out the ratio where nothing is decayed and clips
gradients, unless it is told not to.
"""

from typing import Any

import torch

from tune_qat.optimizers.adam_based import AdamBased, Tensors
from tune_qat.optimizers.builders import Groups


class Lamb(AdamBased):
    """LAMB (You et al., ICLR 2020, arXiv 1904.00962, algorithm 2) with phi(z) = z.

    With r Adam's direction, both moments corrected: x <- x - lr |x| / |r + wd x| (r + wd x). Norms are those of a whole
    tensor, whatever its shape: every parameter has one ratio, a bias, a norm and a quantizer's steps too. Where a norm
    is 0 the ratio is 1, as in the authors' code: by the formula alone, what begins at 0 would stay there.
    """

    def __init__(self, groups: Groups, *, lr: float, betas: tuple[float, float], eps: float) -> None:
        """Take groups that bring `params` and `weight_decay`, and may bring an `lr` of their own."""
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})

    def _move(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors) -> None:
        updates = self._directions(parameters, gradients, group["betas"], group["eps"])
        if group["weight_decay"]:
            torch._foreach_add_(updates, parameters, alpha=group["weight_decay"])
        sizes, lengths = (torch.stack(list(torch._foreach_norm(tensors))) for tensors in (parameters, updates))
        ratios = torch.where((sizes == 0) | (lengths == 0), 1.0, sizes / lengths)
        torch._foreach_mul_(updates, ratios.unbind())
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])


def lamb(groups: Groups, learning_rate: float, *, beta1: float, beta2: float, eps: float) -> torch.optim.Optimizer:
    return Lamb(groups, lr=learning_rate, betas=(beta1, beta2), eps=eps)
