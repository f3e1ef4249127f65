"""A GPU without a GPU: tensors of torch's `FakeTensorMode` say that they are on cuda:0, and hold no numbers.

Torch computes shapes, types and devices of every operation, and refuses tensors of several devices. `FakeGpu` adds what
a fake tensor does not say: where the host would wait for the device (a number read, a copy that is not asynchronous),
with the function of tune_qat that asked. Numbers that are read are made up: True, 1, 0.5.

Three things are not torch's own. Its engine for backward passes asks the driver for contexts, which a machine without
one has not, so `walk` calls the nodes of the graph itself, with the engine's checks of shape and device. Modules are
moved by `_apply`: torch swaps tensors, which fake ones refuse. And fake tensors count as tensors for the `foreach`
kernels, as the optimizers of a GPU use them. What is left to a machine with a GPU: numbers, kernels, streams, pinned
memory, random number generators, compiled steps, CUDA graphs.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensor, FakeTensorMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import tune_qat
from tune_qat.data import array_batches, residency, super_resolution
from tune_qat.quantizers import squared_error

GPU = torch.device("cuda:0")
_PACKAGE = Path(tune_qat.__file__).parent
_aten = torch.ops.aten
_ANSWERS = (_aten.equal.default, _aten.allclose.default, _aten.is_nonzero.default)
"""Operations that answer with a truth value of Python."""
_COPIES = (_aten._to_copy.default, _aten.copy_.default)
_SCALAR_ARGUMENTS = (_aten.fill_.Tensor,)
"""Operations that take a number of the host as a tensor of it."""


class WaitsForDevice(AssertionError):
    """A step that reads a number, or copies, while the device computes."""


class LeftOnHost(AssertionError):
    """A tensor of the host among those of the device."""


class FakeGpu(TorchDispatchMode):
    """A device that notes who waits for it; with `never`, waiting is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: set[str] = set()
        """Functions that waited, as `package.module:function`."""
        self._never = False
        self._may: Collection[str] = ()

    @contextmanager
    def never(self, *, but: Collection[str] = ()) -> Iterator[None]:
        """Let nothing wait for the device while the block runs, `but` these functions."""
        self._never, self._may = True, but
        try:
            yield
        finally:
            self._never = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        reads = func is _aten._local_scalar_dense.default or func in _ANSWERS
        if any(tensor.device.type == "cuda" for tensor in tensors) or self._is_copy(func, kwargs):
            self._check(func, tensors, args, kwargs, reads)
        if reads:
            return True if func in _ANSWERS else _made_up(args[0].dtype)
        if func.name().startswith("aten::_fused_"):  # changes its arguments in place, and has no fake form
            return None
        try:
            return func(*args, **kwargs)
        except DynamicOutputShapeException:
            self._wait(func)
            if func is _aten.bincount.default:
                return args[0].new_ones(args[2], dtype=torch.int64)
            raise

    def _check(self, func: Any, tensors: list[torch.Tensor], args: Any, kwargs: Any, reads: bool) -> None:
        if reads:
            self._wait(func)
        elif func in _COPIES:
            ends = {args[0].device.type, torch.device(kwargs.get("device") or tensors[-1].device).type}
            asynchronous = kwargs.get("non_blocking") or (func is _aten.copy_.default and args[2:3] == (True,))
            if len(ends) > 1 and not asynchronous:
                self._wait(func)
        elif func not in _SCALAR_ARGUMENTS and len({tensor.device.type for tensor in tensors}) > 1:
            raise LeftOnHost(f"{func} in {_caller()} is given tensors of the host and of the device")

    def _is_copy(self, func: Any, kwargs: Any) -> bool:
        return func is _aten._to_copy.default and torch.device(kwargs.get("device") or "cpu").type == "cuda"

    def _wait(self, func: Any) -> None:
        caller = _caller()
        if self._never and caller not in self._may:
            raise WaitsForDevice(f"{func} in {caller} waits for the device")
        self.waits.add(caller)


@contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """Run the block with fake tensors, and with what of torch and tune_qat asks a driver replaced."""
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=False), FakeGpu() as gpu:
        patch.setattr(torch.Tensor, "backward", walk)
        patch.setattr(nn.Module, "_apply", _apply)
        patch.setattr(FakeTensor, "__deepcopy__", _deepcopied, raising=False)
        for module in (_foreach_utils, sys.modules["torch.optim.optimizer"]):
            patch.setattr(module, "_foreach_supported_types", [torch.Tensor, nn.Parameter, FakeTensor], raising=False)
        properties = SimpleNamespace(total_memory=1 << 40, L2_cache_size=1 << 26)
        patch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
        patch.setattr(squared_error, "STEPS", 2)  # of a search on the calibration batch, each as the others
        patch.setattr(residency, "free_memory", lambda device: 1 << 40)
        for module in (array_batches, super_resolution):
            patch.setattr(module, "moved", lambda tensor, device: tensor.to(device, non_blocking=True))
        yield gpu


def walk(loss: torch.Tensor, gradient: torch.Tensor | None = None) -> None:
    """Fill the gradients of the leaves behind `loss`, as its `backward` does, node by node."""
    waiting: defaultdict[Any, list[Any]] = defaultdict(list)
    with torch.no_grad():
        waiting[loss.grad_fn] = [torch.ones_like(loss) if gradient is None else gradient]
        for node in _later_first(loss.grad_fn):
            inputs = [
                _zeros(meta) if gradient is None else gradient
                for gradient, meta in zip(waiting.pop(node), node._input_metadata, strict=True)
            ]
            for (following, place), gradient in _called(node, inputs):
                if following is not None and gradient is not None:
                    _arrive(waiting, following, place, gradient)


def _called(node: Any, gradients: list[torch.Tensor]) -> list[tuple[tuple[Any, int], torch.Tensor | None]]:
    """Return where a node's gradients go, with each of them; nothing for a leaf, which keeps its own."""
    if not isinstance(node, torch.autograd.function.BackwardCFunction):
        found = node(*gradients)
        return list(zip(node.next_functions, _as_tuple(found), strict=True)) if node.next_functions else []
    of_arguments = zip(_as_tuple(node.apply(*gradients)), node.needs_input_grad, strict=True)
    edges = [edge for edge in node.next_functions if edge[0] is not None]
    return list(zip(edges, [gradient for gradient, needed in of_arguments if needed], strict=True))


def _arrive(waiting: dict[Any, list[Any]], node: Any, place: int, gradient: torch.Tensor) -> None:
    """Add a gradient to those of a node's outputs, in the form that the engine asks for."""
    metadata = node._input_metadata[place]
    if gradient.device != metadata.device:
        raise LeftOnHost(f"the gradient of {node.name()} is on {gradient.device}, its value on {metadata.device}")
    gradient = gradient.sum_to_size(metadata.shape).to(metadata.dtype)
    gradients = waiting.setdefault(node, [])
    gradients += [None] * (len(node._input_metadata) - len(gradients))
    gradients[place] = gradient if gradients[place] is None else gradients[place] + gradient


def _zeros(metadata: Any) -> torch.Tensor:
    return torch.zeros(tuple(metadata.shape), dtype=metadata.dtype, device=metadata.device)


def _later_first(root: Any) -> list[Any]:
    """Return the nodes behind `root`, each ahead of those that its gradient goes to."""
    order: list[Any] = []
    seen, stack = set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(following, False) for following, _ in node.next_functions if following is not None]
    return order[::-1]


def _as_tuple(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)


def _apply(module: nn.Module, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> nn.Module:
    """Put the results of `function` in the places of a module's tensors; a tensor in two places stays one."""
    made: dict[int, Any] = {}
    for part in module.modules() if recurse else [module]:
        for own in (part._parameters, part._buffers):
            for name, tensor in own.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    with torch.no_grad():
                        new = function(tensor)
                    is_parameter = own is part._parameters
                    made[id(tensor)] = nn.Parameter(new, requires_grad=tensor.requires_grad) if is_parameter else new
                own[name] = made[id(tensor)]
    return module


def _deepcopied(tensor: torch.Tensor, memo: dict[int, Any]) -> torch.Tensor:
    """Return a copy, as torch makes one of a tensor with numbers: of a fake one it reads the memory."""
    if id(tensor) not in memo:
        with torch.no_grad():
            new = tensor.detach().clone()
        memo[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else new
    found: torch.Tensor = memo[id(tensor)]
    return found


def _made_up(dtype: torch.dtype) -> bool | int | float:
    if dtype == torch.bool:
        return True
    return 0.5 if dtype.is_floating_point else 1


def _caller() -> str:
    """Return the innermost function of tune_qat that runs, as `package.module:function`."""
    frame = sys._getframe(1)
    while frame is not None:
        path, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        if path.is_relative_to(_PACKAGE) and not name.startswith("<"):  # a comprehension belongs to a function
            module = ".".join(path.relative_to(_PACKAGE).with_suffix("").parts)
            return f"{module}:{name}"
        frame = frame.f_back  # type: ignore[assignment]  # None ends it
    return "a test"
