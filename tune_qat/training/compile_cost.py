"""Estimate of whether compiling pays, from counts alone, so that equal plans always get the same answer.

Compiling saves the passes over memory that eager fake quantization makes and, on a GPU, its kernel launches. It takes
seconds for each program, and a share of that again in each process.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Times in seconds, of one CPU core or of a GPU."""

    saved_per_element: float
    """Time saved for each quantized activation of each training sample."""
    saved_per_launch: float
    """Time saved for each quantized layer in each step."""
    per_program: float
    """Time to compile a program for the first time on a machine, apart from its layers."""
    per_layer: float
    """Time that each quantized layer adds to that."""


COSTS = {
    # Measured (docs/performance/training_step.md): ESPCN, LeNet-5 and a ResNet-20 save 5 to 7 ns an element.
    "cpu": Cost(saved_per_element=5e-9, saved_per_launch=0.0, per_program=2.0, per_layer=0.9),
    # Expected, not measured: 20 kernels of 5 us less in each layer.
    "cuda": Cost(saved_per_element=0.0, saved_per_launch=1e-4, per_program=5.0, per_layer=3.0),
}
FROM_DISK = 0.3
"""Time to load a compiled program in a further process, as a share of the first compilation."""
MARGIN = 2.0
"""Required ratio of saved to spent time: early stopping may leave half of the plan untrained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CompileEstimate:
    """Counts of the quantized training that is planned."""

    samples: int
    """Training samples; each counts once an epoch."""
    steps: int
    features: int
    """Quantized activations of one sample, over all layers."""
    layers: int
    programs: int
    """Different combinations of model, scheme and batch size, floating-point ones included."""
    processes: int


def of_one_trial(steps: int, batch_size: int, *, features: int, layers: int) -> CompileEstimate:
    """Count one trial alone, whose quantized layers have so many `features` in one sample."""
    return CompileEstimate(
        samples=steps * batch_size,
        steps=steps,
        features=features,
        layers=layers,
        programs=1,
        processes=1,
    )


def worth_compiling(plan: CompileEstimate, device_type: str) -> bool:
    """Return whether compiling saves at least `MARGIN` times the seconds that it takes."""
    cost = COSTS.get(device_type)
    if cost is None:
        return False
    saved = plan.samples * plan.features * cost.saved_per_element + plan.steps * plan.layers * cost.saved_per_launch
    first = cost.per_program + plan.layers * cost.per_layer
    return saved > MARGIN * plan.programs * first * (1 + FROM_DISK * plan.processes)
