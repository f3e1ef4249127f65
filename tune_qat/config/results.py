"""Results that a trial gives back."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerResult:
    """State of one quantizer after an epoch: a row of the `layers` table."""

    layer: str
    """Name of the layer in the model."""
    layer_index: int
    """Position in execution order, from 0."""
    kind: str
    """`weight` or `activation`; of a product of attention `query`, `key`, `probabilities` or `value`."""
    bits: int
    """Bit width."""
    signed: bool
    """Whether negative values have codes."""
    exact: bool
    """Whether the layer's forward sums of integer codes are exact in float32."""
    numel: int
    """Weights of the layer, or features per sample of its input."""
    step_size: float
    """Step size after the epoch, in the tensor's own unit; the mean over channels that have one each."""
    step_size_init: float
    """Step size right after calibration."""
    clip_fraction_low: float | None = None
    """Share of weights below the quantizer's range; None for activations, and where a method does not clip."""
    clip_fraction_high: float | None = None
    """Share of weights above the range; None as `clip_fraction_low`."""
    quantization_mse: float | None = None
    """Mean squared difference of weights and their quantized values; None for activations."""
    oscillation_frequency: float | None = None
    """Oscillations of weights per step, a moving average over steps (momentum 0.01, 0 at the start) and the mean over
    at most 512 weights of the layer. A code that turns around oscillates: it moves against its last move."""
    oscillating_fraction: float | None = None
    """Share of weights whose frequency is above 0.005, which is what the paper reports."""
    frozen_fraction: float | None = None
    """Share of all weights of the layer that are frozen; None where freezing is not used on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerCost:
    """Cost of one layer for one sample: a row of the `costs` table.

    A product of attention is a layer; what computes outside of layers and products is a last row, `(other)`.
    """

    layer: str
    """Name of the layer in the model; `(other)` for all that is computed outside of layers and products."""
    layer_index: int
    """Position among quantized layers in execution order, from 0; layers in floating point come behind them."""
    type: str
    """Class of the layer."""
    weight_width: int
    """Bits of the layer's weights, 32 in floating point; of a product those of its first operand."""
    input_width: int
    """Bits of the layer's input, 32 in floating point; of a product those of its second operand."""
    parameters: int
    """Weights and biases, without the parameters of quantizers."""
    macs: int
    """Multiply-accumulates of one sample."""
    weight_bytes: int
    """Bytes of the weights packed to their bits, with 4 bytes for each bias, scale and offset."""
    stored_bytes: int
    """Bytes of the same in an exported `.pt`, where a code takes 1, 2, 4 or 8 bits."""
    activation_bytes: int
    """Bytes of the input of one sample, or of both operands of a product, packed to their bits."""
    bit_operations: int
    """Multiply-accumulates times `weight_width` times `input_width`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSensitivity:
    """Sensitivity of a layer to a number of bits, measured once: a row of the `sensitivities` table."""

    layer: str
    """Name of the module in the model."""
    layer_index: int
    """Execution order, from 0."""
    bits: int
    """Candidate: bits of the layer's weights and inputs."""
    sensitivity: float | None
    """Growth of the loss, or trace times squared error, whose sum an allocation makes small; None: not finite."""
    hessian_trace: float | None
    """Average trace of the Hessian of the loss in the layer's weights, an estimate; None where it was not measured."""
    squared_error: float | None
    """Squared error of the layer's quantized weights, summed over them; None where it was not measured."""
    weights: int
    """Weights of the layer, without biases."""
    weight_bytes: int
    """Bytes of its weights at these bits, as in `costs`."""
    bit_operations: int
    """Bit operations of one sample at these bits, as in `costs`."""


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
    """Training samples since the start, counted once an epoch."""
    learning_rate: float
    """Learning rate of the epoch's last step."""
    train_loss: float | None
    """Mean over the epoch's steps, without label smoothing, distillation and dampening."""
    train_metric: float | None
    """Metric on training data, the mean over the epoch's steps."""
    val_loss: float | None
    """Loss on the validation split."""
    val_metric: float | None
    """Metric on the validation split."""
    val_top5: float | None
    """Top-5 accuracy on the validation split, a fraction; None below ten classes."""
    val_metric_pre_bn: float | None = None
    """Before batch-norm statistics were estimated anew, `val_metric` after; None where they were not."""
    calibrated_metric: float | None = None
    """Validation metric right after calibration, before the first step; None after the first epoch. At 32/32 it is that
    of the weights that the trial starts from. Batch-norm statistics are those of the start."""
    grad_norm: float | None
    """Mean global norm before clipping."""
    grad_norm_max: float | None
    """Largest global norm of a step before clipping."""
    clip_fraction: float | None
    """Share of steps in which clipping changed a gradient; None for optimizers that do not clip."""
    nonfinite_steps: int
    """Steps of the epoch with a loss that is not finite or a NaN in a gradient."""
    diverged_at_step: int | None = None
    """First of these, counted from 1 since the start of the trial."""
    wall_s: float
    """Seconds of training since the start of the trial, evaluation left out."""
    device_s: float
    """Seconds the device was held since the start of the trial, evaluation included; process time on a CPU."""
    test_metric: float | None = None
    """Metric on the test split; None unless the trial may see it and this is its last epoch."""
    test_top5: float | None = None
    """Top-5 accuracy on the test split, a fraction; None as `test_metric`, and below ten classes."""
    test_loss: float | None = None
    """Loss on the test split; None as `test_metric`."""
    test_n: int | None = None
    """Samples of the test split; None as `test_metric`."""
    test_correct: int | None = None
    """Correct answers on the test split, in classification; None as `test_metric`."""
    test_images_json: str | None = None
    """JSON list of the metric of each test image, in the order of the split; null is not finite. None above 200."""
    layers: tuple[LayerResult, ...] = ()
