"""Results that a trial gives back."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerResult:
    """State of one quantizer after an epoch: a row of the `layers` table."""

    layer: str
    layer_index: int
    """Position in execution order, from 0."""
    kind: str
    """`weight` or `activation`."""
    bits: int
    signed: bool
    exact: bool
    """Whether the layer's forward sums of integer codes are exact in float32."""
    numel: int
    """Weights of the layer, or features per sample of its input."""
    step_size: float
    step_size_init: float
    clip_fraction_low: float | None = None
    clip_fraction_high: float | None = None
    quantization_mse: float | None = None
    oscillation_frequency: float | None = None
    """Oscillations of weights per step, a moving average over steps (momentum 0.01, 0 at the start) and the mean over
    at most 512 weights of the layer. A code that turns around oscillates: it moves against its last move."""
    oscillating_fraction: float | None = None
    """Share of weights whose frequency is above 0.005, which is what the paper reports."""
    frozen_fraction: float | None = None
    """Share of all weights of the layer that are frozen; None where freezing is not used on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochResult:
    """Report of a trial after an epoch: a row of the `epochs` table. Unknown or not finite is None."""

    epoch: int
    """From 1."""
    status: str
    """Status of the trial after this epoch: running, completed or diverged."""
    step: int
    """Optimizer steps since the start."""
    examples: int
    learning_rate: float
    """Learning rate of the epoch's last step."""
    train_loss: float | None
    train_metric: float | None
    val_loss: float | None
    val_metric: float | None
    val_top5: float | None
    val_metric_pre_bn: float | None = None
    """Before batch-norm statistics were estimated anew, `val_metric` after; None where they were not."""
    calibrated_metric: float | None = None
    """Validation metric right after calibration, before the first step; None after the first epoch. At 32/32 it is that
    of the weights that the trial starts from. Batch-norm statistics are those of the start."""
    grad_norm: float | None
    """Mean global norm before clipping."""
    grad_norm_max: float | None
    clip_fraction: float | None
    """Share of steps in which clipping changed a gradient; None for optimizers that do not clip."""
    nonfinite_steps: int
    diverged_at_step: int | None = None
    wall_s: float
    """Seconds of training since the start of the trial, evaluation left out."""
    device_s: float
    """Seconds the device was held since the start of the trial, evaluation included; process time on a CPU."""
    test_metric: float | None = None
    test_top5: float | None = None
    test_loss: float | None = None
    test_n: int | None = None
    test_correct: int | None = None
    test_images_json: str | None = None
    """JSON list of the metric of each test image, in the order of the split; null is not finite. None above 200."""
    layers: tuple[LayerResult, ...] = ()
