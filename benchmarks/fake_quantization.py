"""LSQ forward and backward of one large tensor, beside what people use today and the floor that memory sets.

python -m benchmarks.fake_quantization [--device cuda] [--elements N] [--rounds N] [--save]

4 Mi float32, 4 bits, on one thread. A copy moves 8 bytes an element; LSQ has to move 20 (forward: read the input,
write the output; backward: read the input and the gradient, write the gradient), so that 20/8 of the copy's time is
the floor. A copy of the same tensor stays in part in a cache that LSQ's four tensors do not fit into, so that the floor
from a copy of twice the elements, which is as much memory, is beside it. In all arms freed memory is kept for the next
tensor, as in this package's training: those that make more temporaries would be slower still without.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks import textbook
from benchmarks.measure import Bar, Report, Rounds, Spread, interleaved, parser, seconds_per_call, table
from tune_qat.quantizers import uniform
from tune_qat.quantizers.lsq import bounds, gradient_scale
from tune_qat.training.host_memory import keep_freed

ELEMENTS, BITS, STEP = 4 << 20, 4, 0.3
SAMPLES = 16
"""In the batch: the gradient scale counts the features of one."""
COPY_BYTES, LSQ_BYTES = 8, 20
PER_COPY = LSQ_BYTES / COPY_BYTES
COPY, LARGE_COPY, OURS = "copy", "copy of twice the elements", "ours compiled, codes"
TIME_BAR = Bar(figure="ours compiled, ns an element", limit=1.0)
FLOOR_BAR = Bar(figure="ours compiled, times the floor", limit=2.5)
BANDWIDTH_BAR = Bar(
    figure="ours compiled, share of the copy's bandwidth at 20 bytes an element", limit=0.8, at_least=True
)


def both_ways(function: Callable[[Any], Any], value: torch.Tensor, parameters: list[Any]) -> Callable[[], Any]:
    """A call that makes one forward and one backward pass."""
    upstream = torch.randn(value.shape, device=value.device)
    inputs = [value, *parameters]
    return lambda: torch.autograd.grad(function(value), inputs, upstream)


def arms(elements: int, device: str) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    torch.manual_seed(0)
    value = torch.randn(elements, device=device, requires_grad=True)
    step = torch.tensor(STEP, device=device, requires_grad=True)
    native_step = torch.full((1,), STEP, device=device, requires_grad=True)
    qmin, qmax = bounds(BITS, signed=True)
    scale = gradient_scale(elements // SAMPLES, qmax)
    source, target = value.detach(), torch.empty(elements, device=device)
    # As much memory as the four tensors of LSQ: half of it might stay in a cache.
    large_source, large_target = torch.randn(2 * elements, device=device), torch.empty(2 * elements, device=device)

    def textbook_form(x: torch.Tensor) -> torch.Tensor:
        return textbook.fake_quantize(x, step, qmin, qmax, scale)

    def codes(x: torch.Tensor) -> torch.Tensor:
        return uniform.codes(x, step, qmin, qmax, gradient_scale=scale, round_first=False)

    def dequantized(x: torch.Tensor) -> torch.Tensor:
        return codes(x) * step.detach()

    found = {
        COPY: lambda: target.copy_(source),
        LARGE_COPY: lambda: large_target.copy_(large_source),
        "textbook": both_ways(textbook_form, value, [step]),
        "textbook compiled": both_ways(torch.compile(textbook_form, dynamic=False), value, [step]),
        "torch native": both_ways(textbook.torch_native(native_step, qmin, qmax, scale), value, [native_step]),
        "ours eager, codes": both_ways(codes, value, [step]),
        OURS: both_ways(torch.compile(codes, dynamic=False), value, [step]),
        "ours compiled, dequantized": both_ways(torch.compile(dequantized, dynamic=False), value, [step]),
    }
    if not textbook.brevitas_problem():
        module = textbook.brevitas(STEP, BITS).to(device)
        found["brevitas"] = both_ways(module, value, list(module.parameters()))
    return found


def measure(elements: int, device: str, rounds: int, least_s: float) -> Rounds:
    """Nanoseconds an element."""

    def timed(call: Callable[[], Any], n: int) -> Callable[[], float]:
        return lambda: seconds_per_call(call, least_s=least_s, device=device) * 1e9 / n

    calls = arms(elements, device)
    sizes = {name: 2 * elements if name == LARGE_COPY else elements for name in calls}
    return interleaved({name: timed(call, sizes[name]) for name, call in calls.items()}, rounds)


def report(found: Rounds, out: Report, device: str) -> None:
    """The table and the bars."""
    rows = []
    for arm in found.values:
        copied = arm in (COPY, LARGE_COPY)
        to_floors = ["", ""] if copied else [_to_floor(found, arm, COPY), _to_floor(found, arm, LARGE_COPY)]
        rows.append([arm, found.spread(arm), *to_floors])
    out.add(table(["arm", "ns an element", "x floor", "x floor of the larger copy"], rows))
    if textbook.brevitas_problem():
        out.add(f"brevitas was left out: {textbook.brevitas_problem()}.")
    out.check(found.values[COPY])
    copy = found.spread(COPY).median
    out.add(f"Copy: {COPY_BYTES / copy:.1f} GB/s. Floor: {copy * PER_COPY:.3g} ns an element.")
    to_floor = _to_floor(found, OURS, COPY).median
    if device == "cpu":
        out.bars((TIME_BAR, found.spread(OURS).median), (FLOOR_BAR, to_floor))
    else:
        out.bars((BANDWIDTH_BAR, 1 / to_floor))


def _to_floor(found: Rounds, arm: str, copy: str) -> Spread:
    ratio = found.ratio(arm, copy)
    return Spread(median=ratio.median / PER_COPY, low=ratio.low / PER_COPY, high=ratio.high / PER_COPY)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--elements", type=int, help="4 Mi on a CPU, 64 Mi on a GPU")
    options.add_argument("--seconds", type=float, default=0.5, help="of each arm in each round (default 0.5)")
    given = options.parse_args()
    torch.set_num_threads(1)
    keep_freed()
    # A GPU's cache would hold 4 Mi elements: a copy of them is no measure of memory.
    elements = given.elements or (ELEMENTS if given.device == "cpu" else 16 * ELEMENTS)
    name = "fake_quantization" + ("" if given.device == "cpu" else "_gpu")
    title = "Fake quantization, forward and backward"
    out = Report(name, title, rounds=given.rounds, save=given.save, device=given.device)
    out.add(f"{elements:,} float32, {BITS} bits signed, one CPU thread, {given.rounds} rounds")
    report(measure(elements, given.device, given.rounds, given.seconds), out, given.device)
    out.close()


if __name__ == "__main__":
    main()
