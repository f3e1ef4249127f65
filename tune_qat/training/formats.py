"""Formats of a step: bfloat16 for products of what is not quantized, and images with their channels last in memory."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from tune_qat.config import TrialConfig, UsageError
from tune_qat.config.memory import BFLOAT16
from tune_qat.quantization.layer import full

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
"""Layers that take statistics, which stay in float32."""


class InBfloat16(nn.Module):
    """A watched model under autocast: layers and products that are not quantized multiply in bfloat16.

    Quantized layers, norms, and the output that a loss gets are in float32, and so are parameters and gradients.
    """

    def __init__(self, watched: nn.Module) -> None:
        super().__init__()
        self.watched = watched
        for module in watched.modules():
            if isinstance(module, NORMS):
                module.register_forward_pre_hook(_in_full)

    def forward(self, inputs: torch.Tensor) -> Any:
        """Return the output in float32, and the codes of weights."""
        with torch.autocast(device_type=inputs.device.type, dtype=torch.bfloat16):
            output, codes = self.watched(inputs)
        return full(output), codes


def in_format(watched: nn.Module, config: TrialConfig) -> nn.Module:
    """Return the watched model in the trial's formats: itself, where it has none of its own."""
    if config.channels_last:
        watched.to(memory_format=torch.channels_last)
        watched.register_forward_pre_hook(_channels_last)
    return InBfloat16(watched) if config.autocast == BFLOAT16 else watched


def check_format(autocast: str, device: torch.device) -> None:
    """Raise `UsageError` for bfloat16 on a device without it."""
    if autocast == BFLOAT16 and not has_bfloat16(device):
        raise UsageError(
            f'autocast = "{BFLOAT16}" needs a device that multiplies in it, and {device.type} of this machine does '
            'not. Leave it out (training.autocast = "off"), or take another device.'
        )


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies in bfloat16 itself, or as fast as its own libraries do."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _in_full(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(full(value) if isinstance(value, torch.Tensor) else value for value in inputs)


def _channels_last(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(one.contiguous(memory_format=torch.channels_last) if one.dim() == 4 else one for one in inputs)
