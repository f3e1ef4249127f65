"""Backends of a training step: torch's eager operations, or the same compiled by Inductor.

A study chooses one backend and records it with every trial: curves are bit-identical only on the same backend.
"""

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import nn

from tune_qat.config import AUTO, EAGER, INDUCTOR
from tune_qat.training.compile_cost import CompileEstimate, worth_compiling

VECTOR_CHANNELS = 16
"""Channels that fill a CPU's vector register of float32 (AVX-512)."""
_PROGRAMS = 1_000
"""Limit of compiled variants in a process: its trials need one for each model, scheme and batch size."""
_TALKATIVE = ("torch.utils.cpp_extension", "torch._higher_order_ops.wrap")
"""Loggers whose warnings are harmless: a CUDA build of torch on a CPU, and the checkpoints of `cpu.tanh`."""
T = TypeVar("T")


def compiled(model: nn.Module, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that computes the model; its first call compiles forward and backward.

    That call raises `TorchDynamoException` if the model cannot be compiled as a whole. Trials that differ only in
    values (weights, step sizes, learning rate, seed) share one compilation; another batch size or bit width needs its
    own. Torch keeps compiled code on disk for later processes of this machine.
    """
    _hush()
    # Above its limit torch compiles nothing more.
    torch._dynamo.config.recompile_limit = _PROGRAMS
    torch._dynamo.config.accumulated_recompile_limit = _PROGRAMS
    # Compile backward at the first call too, where `TrainingStep` handles a failure, and not at the first backward.
    torch._functorch.config.force_non_lazy_backward_lowering = True
    known = set(torch._inductor.list_options())
    options = {name: value for name, value in _options(model, device).items() if name in known}
    function: Callable[[torch.Tensor], torch.Tensor] = torch.compile(
        model, dynamic=False, fullgraph=True, options=options
    )
    return function


def compiled_anew(compute: Callable[[], T]) -> tuple[T, str] | None:
    """Return what `compute` returns if it compiles without the files of earlier processes, and a sentence about those.

    None where it cannot be compiled at all: for a damaged file and for such a model torch raises the same error.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir
    from torch._inductor.utils import fresh_cache

    damaged = cache_dir()
    with tempfile.TemporaryDirectory(prefix="tune_qat-") as folder, fresh_cache(dir=folder, delete=False):
        try:
            found = compute()
        except Exception:  # as the probe: torch raises anything
            return None
    return found, (
        f"Files that Inductor keeps in {damaged} are damaged, and were done without: remove that folder while nothing "
        "is compiled, or each process compiles all of its programs anew."
    )


def set_precision(device: torch.device | str) -> str:
    """Let this process multiply in TF32 on a GPU, and return the format of its products: `float32` or `tf32`.

    TF32 keeps 11 bits of each factor and adds in float32, which is exact for codes: they have at most 8 bits.
    """
    if torch.device(device).type != "cuda":
        return "float32"
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return "tf32"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendChoice:
    """A backend, and the reason for it."""

    backend: str
    why: str
    problem: str
    """Reason why inductor was wanted but cannot compile here; otherwise empty."""


def choose_backend(
    requested: str, device: torch.device, plan: Callable[[], CompileEstimate], *, recorded: str | None = None
) -> BackendChoice:
    """Choose the backend of a study or of a lone trial: eager wherever nothing can be compiled.

    Args:
        requested: eager, inductor, or auto: the `recorded` one, else inductor if compiling pays.
        device: device of the training steps.
        plan: function that counts the planned training; called only if the choice depends on it.
        recorded: backend of the study's recorded trials, which later ones must share to be comparable.
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
    """Return the backend to use, and the reason if it is not the requested one (else empty)."""
    problem = _compiler_problem(device.type) if requested == INDUCTOR else ""
    return (EAGER, problem) if problem else (requested, "")


def _options(model: nn.Module, device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        return {
            "triton.cudagraphs": True,  # small networks are bound by the launch of their kernels
            # Divide with eager rounding: otherwise a value next to a tie could get another code.
            "eager_numerics.division_rounding": True,
        }
    return {"layout_optimization": _fills_vectors(model)}


def _fills_vectors(model: nn.Module) -> bool:
    """Return whether channels-last pays on a CPU: 6 channels would leave most of a vector register empty."""
    inner = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)][1:]
    return all(layer.in_channels % VECTOR_CHANNELS == 0 for layer in inner)


def _hush() -> None:
    for name in _TALKATIVE:
        logging.getLogger(name).disabled = True


@cache
def _compiler_problem(device_type: str) -> str:
    """Return one line on why nothing can be compiled here; empty if a small function compiles and runs."""
    _hush()
    probe = torch.compile(lambda value: torch.round(value * 2).sum(), dynamic=False)
    compute = partial(probe, torch.ones(64, device=device_type))
    try:
        compute()
    except Exception as error:  # a missing compiler, a broken one, a read-only cache: torch raises anything
        anew = compiled_anew(compute)
        if anew is not None:
            logging.getLogger(__name__).warning(anew[1])
            return ""
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else ''}"
    return ""
