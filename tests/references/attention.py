"""Attention on dequantized operands, one head of one sample at a time, by autograd."""

from collections.abc import Callable

import torch

Operand = Callable[[torch.Tensor], torch.Tensor]
"""Gives back an operand of all samples and heads, (b, heads, n, d), with the values of its codes."""


def attended(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    added: torch.Tensor,
    *,
    scale: float,
    operands: dict[str, Operand],
) -> torch.Tensor:
    """softmax(scale q k' + added) v, operands (b, heads, n, d) and `added` (b, heads, n, m)."""
    q, k, v = operands["query"](query * scale), operands["key"](key), operands["value"](value)
    logits = torch.stack([torch.stack([a @ b.T for a, b in zip(x, y, strict=True)]) for x, y in zip(q, k, strict=True)])
    exponentials = (logits + added - (logits + added).amax(-1, keepdim=True).detach()).exp()
    p = operands["probabilities"](exponentials / exponentials.sum(-1, keepdim=True))
    return torch.stack([torch.stack([a @ b for a, b in zip(x, y, strict=True)]) for x, y in zip(p, v, strict=True)])
