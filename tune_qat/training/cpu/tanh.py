"""A hyperbolic tangent that a compiler does not compute a second time.

In the backward pass a compiler computes cheap functions of saved tensors again instead of keeping their values. It
counts tanh as cheap, but it takes 2 ns an element on one core, as long as the rest of the pass.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts


class Tanh(nn.Module):
    """`nn.Tanh` whose value is kept for the backward pass of compiled code."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return tanh of each entry, in the shape of `value`."""
        if not torch.compiler.is_compiling():
            return value.tanh()
        contexts = partial(create_selective_checkpoint_contexts, _keep)
        kept: torch.Tensor = checkpoint(torch.tanh, value, use_reentrant=False, context_fn=contexts)
        return kept


def _keep(context: Any, operation: Any, *args: Any, **options: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE
