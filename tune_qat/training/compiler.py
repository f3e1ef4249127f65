"""Which code runs a training step: torch's eager operations, or the same compiled by Inductor.

The choice is made once for a study, said once, and recorded with every trial: curves are the same bit for bit only for
the same backend.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from tune_qat.config import AUTO, EAGER, INDUCTOR
from tune_qat.training.compile_cost import Plan, worth_compiling

VECTOR_CHANNELS = 16
"""Channels that fill a CPU's vector register of float32 (AVX-512)."""
_PROGRAMS = 1_000
"""Most compiled variants of a process: one for each model, scheme and batch size that its trials have."""


_TALKATIVE = ("torch.utils.cpp_extension", "torch._higher_order_ops.wrap")
"""Loggers that warn of what is well: no CUDA where a CUDA build of torch runs on a CPU; see `cpu.tanh`."""


def compiled(model: nn.Module, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model as a function whose forward and backward are compiled when it is first called.

    All of it or nothing: a model that cannot be compiled as a whole raises `TorchDynamoException` at that first call.
    Trials that differ in values alone (weights, step sizes, learning rate, seed) share one compilation; another batch
    size or bit width is another one. Compiled code is kept on disk by torch, for later processes of this machine.
    """
    _hush()
    # Above its limit torch would run eagerly without a word.
    torch._dynamo.config.recompile_limit = _PROGRAMS
    torch._dynamo.config.accumulated_recompile_limit = _PROGRAMS
    # The way back at the first call too, where a failure can be answered; torch would wait for the first backward.
    torch._functorch.config.force_non_lazy_backward_lowering = True
    known = set(torch._inductor.list_options())
    options = {name: value for name, value in _options(model, device).items() if name in known}
    function: Callable[[torch.Tensor], torch.Tensor] = torch.compile(
        model, dynamic=False, fullgraph=True, options=options
    )
    return function


def set_precision(device: torch.device | str) -> str:
    """Let this process multiply in TF32 on a GPU, and say what float32 is multiplied in: `float32` or `tf32`.

    TF32 keeps 11 bits of each factor and adds in float32: exact for codes, which have 8 at most.
    """
    if torch.device(device).type != "cuda":
        return "float32"
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return "tf32"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendChoice:
    """A backend, and why it was chosen."""

    backend: str
    why: str
    problem: str
    """Why nothing can be compiled where that was wanted; otherwise empty."""


def choose_backend(
    requested: str, device: torch.device, plan: Callable[[], Plan], *, recorded: str | None = None
) -> BackendChoice:
    """Choose what runs training steps, of a study or of a lone trial; eager where nothing can be compiled.

    Args:
        requested: eager, inductor, or auto: as `recorded`, else compiled if that pays.
        device: where the steps run.
        plan: counts what is to be trained; asked only where it matters.
        recorded: the backend of what was trained before, which all that is compared with it keeps.
    """
    wanted, why = requested, "as asked for"
    if requested == AUTO and recorded:
        wanted, why = recorded, "as the recorded trials"
    elif requested == AUTO and worth_compiling(plan(), device.type):
        wanted, why = INDUCTOR, "which pays"
    elif requested == AUTO:
        wanted, why = EAGER, "compiling would cost more than it saves"
    backend, problem = usable(wanted, device)
    return BackendChoice(
        backend=backend, why=f"no compiler works here ({problem})" if problem else why, problem=problem
    )


def usable(requested: str, device: torch.device) -> tuple[str, str]:
    """The backend to use, and why it is not the requested one (empty where it is)."""
    problem = _compiler_problem(device.type) if requested == INDUCTOR else ""
    return (EAGER, problem) if problem else (requested, "")


def _options(model: nn.Module, device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        return {
            "triton.cudagraphs": True,  # small networks are bound by the launch of their kernels
            # Division as eager rounds it: a code next to a tie would be another one.
            "eager_numerics.division_rounding": True,
        }
    return {"layout_optimization": _fills_vectors(model)}


def _fills_vectors(model: nn.Module) -> bool:
    """Whether channels-last pays on a CPU: with 6 channels it would leave most of a vector register empty."""
    inner = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)][1:]
    return all(layer.in_channels % VECTOR_CHANNELS == 0 for layer in inner)


def _hush() -> None:
    for name in _TALKATIVE:
        logging.getLogger(name).disabled = True


@cache
def _compiler_problem(device_type: str) -> str:
    """Why nothing can be compiled here, as one line; empty where a small function is compiled and runs."""
    _hush()
    try:
        probe = torch.compile(lambda value: torch.round(value * 2).sum(), dynamic=False)
        probe(torch.ones(64, device=device_type))
    except Exception as error:  # a missing compiler, a broken one, a read-only cache: torch raises anything
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else ''}"
    return ""
