"""A hyperbolic tangent that a compiler does not work out twice.

On the way back a compiler would rather compute a cheap function of a saved tensor again than keep its value. A tangent
is not cheap: 2 ns an element on one core, as much as all else that its pass does.
"""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts


class Tanh(nn.Module):
    """`nn.Tanh`."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        if not torch.compiler.is_compiling():
            return value.tanh()
        contexts = partial(create_selective_checkpoint_contexts, _keep)
        kept: torch.Tensor = checkpoint(torch.tanh, value, use_reentrant=False, context_fn=contexts)
        return kept


def _keep(context: Any, operation: Any, *args: Any, **options: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE
