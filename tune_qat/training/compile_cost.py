"""Whether compiling pays: what it takes against what it saves, from counts alone: asked twice, it says the same.

Compiling saves the passes over memory that eager fake quantization makes, and on a GPU the launches of its kernels. It
takes seconds for every program, and again in part for every process.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Seconds of one core, or of a GPU."""

    saved_per_element: float
    """For each quantized activation of each training sample."""
    saved_per_launch: float
    """For each quantized layer of each step."""
    per_program: float
    """To compile one for the first time on a machine."""
    per_layer: float
    """The same, for each quantized layer."""


COSTS = {
    # Measured (docs/performance/training_step.md): ESPCN, LeNet-5 and a ResNet-20 save 5 to 7 ns an element.
    "cpu": Cost(saved_per_element=5e-9, saved_per_launch=0.0, per_program=2.0, per_layer=0.9),
    # Expected, not measured: 20 kernels of 5 us less in each layer.
    "cuda": Cost(saved_per_element=0.0, saved_per_launch=1e-4, per_program=5.0, per_layer=3.0),
}
FROM_DISK = 0.3
"""Share of the first time that a program takes a process which finds it compiled."""
MARGIN = 2.0
"""Saved over spent that is asked for: early stopping may leave half of the plan untrained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is going to be trained in quantized form."""

    samples: int
    """Training samples, repeats counted."""
    steps: int
    features: int
    """Quantized activations of one sample, over all layers."""
    layers: int
    programs: int
    """Different models, schemes and batch sizes, floating-point ones too."""
    processes: int


def worth_compiling(plan: Plan, device_type: str) -> bool:
    """Whether compiled training of the plan saves at least `MARGIN` times what compiling takes."""
    cost = COSTS.get(device_type)
    if cost is None:
        return False
    saved = plan.samples * plan.features * cost.saved_per_element + plan.steps * plan.layers * cost.saved_per_launch
    first = cost.per_program + plan.layers * cost.per_layer
    return saved > MARGIN * plan.programs * first * (1 + FROM_DISK * plan.processes)
