"""All figures of a GPU that need no Ray, with one command: speed, and the numerics without which it does not count.

python -m benchmarks.gpu [--rounds N] [--save]
python -m benchmarks.gpu --device cpu --quick

Under nine minutes on one data-centre GPU, without a network, with PyTorch 2.11 or newer and torchvision; ray, optuna
and duckdb need not be installed. tune-qat itself has to be: `pip install --no-deps .` The second command goes through
the same code on a CPU with small sizes, and its figures say nothing.
"""

import sys
import time
from argparse import Namespace

import torch

from benchmarks import fake_quantization, gpu_numerics, training_step, whole_trial
from benchmarks.measure import Report, parser, table
from benchmarks.nets import Case
from tune_qat.config import EAGER, INDUCTOR
from tune_qat.training.compiler import set_precision
from tune_qat.training.host_memory import keep_freed

QUICK = Case(model="lenet5", batch_size=16, channels=1, side=28, steps=4)
NUMERICS = (
    Case(model="espcn", batch_size=16, channels=1, side=17, steps=1),
    Case(model="lenet5", batch_size=128, channels=1, side=28, steps=1),
)
STEPS = (*training_step.LARGE, training_step.SMALL[0], training_step.SMALL[2], training_step.SMALL[4])
LIMIT_S = 360
"""After this no further network is begun: compiling one takes a minute or two."""
ELEMENTS, QUICK_ELEMENTS = 64 << 20, 1 << 16
IMAGES, EPOCHS = 20_000, 3


def numerics(out: Report, device: str, cases: tuple[Case, ...]) -> None:
    """Exactness of sums, and one step compiled and eager. Nothing else counts if a line says `wrong`."""
    out.add("## Numerics")
    rows = []
    for one in gpu_numerics.SUMS:
        wrong = [gpu_numerics.wrong_sums(one, device, compiled) for compiled in (False, True)]
        rows.append([one.name, *wrong, "wrong" if any(wrong) else "exact"])
    out.add(table(["sums against int64 on the CPU", "wrong eager", "wrong compiled", ""], rows))
    error = gpu_numerics.rounding_of_fractions(device)
    out.add(f"A product of fractions is off by {error:.1e}: TF32 is {'in use' if error > 1e-5 else 'not in use'}.")
    limit = gpu_numerics.STEP_TOLERANCE
    differences = [(case, gpu_numerics.step_difference(case, device)) for case in cases]
    steps = [[case.name, f"{off:.1e}", "equal" if off <= limit else "wrong"] for case, off in differences]
    out.add(table(["one step, compiled against eager", "largest relative difference", f"at most {limit:g}"], steps))


def quantization(out: Report, given: Namespace) -> None:
    """Copy bandwidth and LSQ."""
    elements, seconds = (QUICK_ELEMENTS, 0.01) if given.quick else (ELEMENTS, 0.2)
    out.add(f"## Fake quantization, forward and backward: {elements:,} float32")
    found = fake_quantization.measure(elements, given.device, given.rounds, seconds)
    fake_quantization.report(found, out, given.device)


def steps(out: Report, given: Namespace, deadline: float) -> None:
    """Whole steps, a network after the other, as far as time allows."""
    for case in (QUICK,) if given.quick else STEPS:
        if time.monotonic() > deadline:
            out.add(f"{case.name} was left out: {LIMIT_S} s had passed.")
            continue
        training_step.report(case, training_step.measure(case, given.device, given.rounds), out, given.device)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    given = options.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "No GPU: torch.cuda.is_available() is false. Run this where there is one, or with --device cpu --quick."
        )
    if given.save and given.device == "cpu":
        sys.exit("--save is for a GPU's figures, and this is --device cpu.")
    torch.set_num_threads(1)
    set_precision(given.device)
    keep_freed()
    deadline = time.monotonic() + LIMIT_S
    out = Report("gpu", "One GPU", rounds=given.rounds, save=given.save, device=given.device)
    numerics(out, given.device, (QUICK,) if given.quick else NUMERICS)
    quantization(out, given)
    images, epochs = (256, 2) if given.quick else (IMAGES, EPOCHS)
    whole_trial.report(images, epochs, (EAGER, INDUCTOR), given.rounds, out, given.device)
    steps(out, given, deadline)
    out.close()


if __name__ == "__main__":
    main()
