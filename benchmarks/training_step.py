"""A whole training step: forward, backward and SGD, on made-up data that lies ready.

python -m benchmarks.training_step [--device cuda] [--only NAME ...] [--cold] [--rounds N] [--save]

CPU, one thread: ESPCN, LeNet-5 and a ResNet-20, each beside the plain floating-point network in eager torch. GPU:
ResNet-18 beside the compiled floating-point network with TF32, and the small networks. 4 bits, first and last layer 8.

Ours are real trials, with their sums over the epoch (loss, metric, gradient norm); the other arms have nothing but the
step, which is what the bar asks for. The control arm of a study, the same loop at 32 bits, is beside it. Freed memory
is kept for the next tensor in all of them. `--cold` compiles into an empty cache.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from benchmarks import textbook
from benchmarks.measure import Bar, Report, Rounds, empty_compile_cache, interleaved, parser, synchronize, table
from benchmarks.nets import LEARNING_RATE, Case, MadeUp
from tune_qat.config import EAGER, INDUCTOR, TuneQatError
from tune_qat.training.compiler import set_precision
from tune_qat.training.host_memory import keep_freed

SMALL = (
    Case(model="espcn", batch_size=16, channels=1, side=17, steps=60),
    Case(model="lenet5", batch_size=32, channels=1, side=28, steps=200),
    Case(model="lenet5", batch_size=128, channels=1, side=28, steps=60),
    Case(model="resnet20", batch_size=32, channels=3, side=32, steps=12),
    Case(model="resnet20", batch_size=128, channels=3, side=32, steps=4),
)
LARGE = (
    Case(model="resnet18", batch_size=128, channels=3, side=32, steps=50),
    Case(model="resnet18", batch_size=64, channels=3, side=224, steps=30),
)
FLOAT, FLOAT_COMPILED, OURS = "floating point", "floating point compiled", "ours inductor"
FLOAT_TRIAL = "ours at 32 bits, eager"
"""The control arm of a study: the same loop around the floating-point network."""


def plain_steps(model: nn.Module, case: Case, device: str) -> Iterator[float]:
    """Seconds of a step, once for every `case.steps` of them."""
    task = MadeUp(case, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    while True:
        synchronize(device)
        began = time.perf_counter()
        for number in range(case.steps):
            inputs, target = task.made[number % len(task.made)]
            optimizer.zero_grad()
            task.loss(model(inputs), target).backward()
            optimizer.step()
        synchronize(device)
        yield (time.perf_counter() - began) / case.steps


def our_steps(case: Case, backend: str, device: str, bits: int = 4) -> Iterator[float]:
    """The same of a trial of this package: the recorded seconds of an epoch of training."""
    training, before = case.training(backend, device, bits=bits), 0.0
    for result in training.epochs():
        yield (result.wall_s - before) / case.steps
        if training.backend != backend:
            raise TuneQatError(f"{case.name} did not compile: {training.why_not_compiled}")
        before = result.wall_s


def arms(case: Case, device: str) -> dict[str, Callable[[], float]]:
    """What is timed, by name."""
    # As strong as the peer gets on a GPU: with CUDA graphs.
    mode = None if device == "cpu" else "reduce-overhead"

    def network() -> nn.Module:
        return case.build().to(device)

    def peer() -> nn.Module:
        return textbook.quantized(network(), 4, MadeUp(case, device).made[0][0])

    def compiled(model: nn.Module) -> Any:
        return torch.compile(model, dynamic=False, mode=mode)

    steps = {
        FLOAT: plain_steps(network(), case, device),
        FLOAT_COMPILED: plain_steps(compiled(network()), case, device),
        "textbook LSQ": plain_steps(peer(), case, device),
        "textbook LSQ compiled": plain_steps(compiled(peer()), case, device),
        FLOAT_TRIAL: our_steps(case, EAGER, device, bits=32),
        "ours eager": our_steps(case, EAGER, device),
        OURS: our_steps(case, INDUCTOR, device),
    }
    return {name: one.__next__ for name, one in steps.items()}


def measure(case: Case, device: str, rounds: int) -> Rounds:
    """Seconds of a step."""
    torch._dynamo.reset()
    return interleaved(arms(case, device), rounds)


def report(case: Case, found: Rounds, out: Report, device: str) -> None:
    """The table of one network, and its bar."""
    of_compiled = device != "cpu" and case in LARGE
    reference = FLOAT_COMPILED if of_compiled else FLOAT
    rows = []
    for arm in found.values:
        first = (found.warm_up[arm] - found.spread(arm).median) * case.steps
        compiling = f"{max(first, 0.0):.1f}" if "compiled" in arm or arm == OURS else ""
        ratios = [str(found.ratio(arm, one)) for one in (reference, FLOAT_TRIAL)]
        rows.append([arm, f"{found.spread(arm).median * 1e3:.3g}", *ratios, compiling])
    out.add(f"## {case.name}")
    out.add(table(["arm", "ms a step", f"/ {reference}", f"/ {FLOAT_TRIAL}", "compiling, s"], rows))
    out.check(found.values[reference])
    if device == "cpu" or of_compiled:
        bar = Bar(figure=f"{case.name}: ours / {reference}", limit=1.25 if of_compiled else 1.1)
        out.bars((bar, found.ratio(OURS, reference).median))


def chosen(only: Sequence[str], device: str) -> list[Case]:
    """The networks of the device, of which `only` names some."""
    cases = SMALL if device == "cpu" else LARGE + SMALL
    return [case for case in cases if not only or case.model in only]


def main() -> None:
    """Measure and print, a network after the other."""
    options = parser(__doc__)
    options.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--only", nargs="*", default=[], metavar="NAME", help="espcn, lenet5, resnet20, resnet18")
    options.add_argument("--cold", action="store_true", help="compile into an empty cache")
    given = options.parse_args()
    torch.set_num_threads(1)
    set_precision(given.device)
    keep_freed()
    name = "training_step" + ("" if given.device == "cpu" else "_gpu")
    out = Report(name, "A training step", rounds=given.rounds, save=given.save, device=given.device)
    cache = "empty compile cache" if given.cold else "compile cache as it was"
    out.add(f"W4A4, first and last layer 8 bits, SGD, one CPU thread, {given.rounds} rounds, {cache}")
    with empty_compile_cache() if given.cold else nullcontext():
        for case in chosen(given.only, given.device):
            report(case, measure(case, given.device, given.rounds), out, given.device)
    out.close()


if __name__ == "__main__":
    main()
