"""The sections of a study file on what is trained, each with the rules over its own keys."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tune_qat.config import DECAY, PLAIN_NAME, SCHEDULES, Dampening, Distillation, Freezing
from tune_qat.config.memory import AUTOCAST, AUTOCAST_OFF
from tune_qat.config.shown import shown
from tune_qat.study.mistakes import FROM_KEYS

Positive = Annotated[float, Field(gt=0)]
# The record has 32 bits for a count, and seeds of epochs are distinct below a million.
Count = Annotated[int, Field(ge=0, le=1_000_000)]
AtLeastOne = Annotated[int, Field(ge=1, le=1_000_000)]


class Section(BaseModel):
    """A part of the file: an unknown key, a wrong type or a NaN is an error, and nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def check_names(names: list[str], what: str) -> None:
    """Raise `ValueError` for a name that is no plain file name, or that two have."""
    for name in names:
        if not PLAIN_NAME.fullmatch(name):
            raise ValueError(f"{what} must be a plain file name, but got {shown(name)}")
    if len(set(names)) != len(names):
        raise ValueError(f"names must differ, but got {shown(names)}")


class WorkloadSection(Section):
    """The model and the dataset."""

    model: str
    """A name of the table, `timm:NAME`, `torchvision:NAME`, or an own model as `package.module:name`."""
    dataset: str
    """A name of the table, or own data as `package.module:name`."""
    task: str = ""
    """Task in place of the dataset's own: of arrays, or a class of the user's."""
    options: dict[str, Any] = {}
    """Options of the dataset, such as `scale` of a super-resolution set."""
    model_options: dict[str, Any] = {}
    """Keyword arguments of a library's network or an own model."""


class QuantizerOptimizerSection(Section):
    """The optimizer of the quantizers' parameters in every arm, where it is not the arm's own."""

    optimizer: str = "adam"
    """A name of the table of optimizers."""
    learning_rate: Positive | None = None
    """The optimizer's documented default where it is left out."""
    options: dict[str, float] = {}
    """Options of the optimizer, over the defaults of the table."""


class ScheduledSection(Section):
    """Length of a training, and the learning rate over it."""

    epochs: AtLeastOne
    """Length of a training, in epochs."""
    schedule: Literal[SCHEDULES] = "cosine"  # type: ignore[valid-type]
    """Course of the learning rate."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """Length of the linear warm-up, in epochs."""
    milestones: list[float] = []
    """Epochs at which the schedule `step` lowers the rate."""
    decay: float = DECAY
    """Factor that `step` multiplies the rate by."""

    @property
    def rate_over_time(self) -> dict[str, Any]:
        """The fields of a trial's configuration that this section sets."""
        return {name: getattr(self, name) for name in ScheduledSection.model_fields}


class TrainingSection(ScheduledSection):
    """Length, start and recipe of every trial."""

    distillation: Annotated[Distillation, FROM_KEYS] | None = None
    """Learning from the floating-point start beside the labels: in every arm, the control's too."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training loss that asks for equal classes in place of the label: in every arm, and in pretraining.
    Metrics and validation use plain labels."""
    init: Literal["pretrain", "scratch", "path", "weights"] = "pretrain"
    """Weights that arms start from: those of `[pretrain]`, random ones, a checkpoint of this package, or `weights`."""
    init_path: str | None = None
    """Checkpoint of this package, with init = "path"."""
    weights: str | None = None
    """Weights from elsewhere: a file, or `timm` or `torchvision` for what the library publishes. Arms start from them
    with init = "weights", and the pretrained model with init = "pretrain"."""
    quantizer_optimizer: QuantizerOptimizerSection | None = None
    """Optimizer of the quantizers' parameters, where it is not the arm's own."""
    bn_reestimation_batches: Count = 0
    """Training batches that batch-norm statistics are estimated from before each evaluation; 0: they are not."""
    calibration_batches: AtLeastOne = 1
    """Training batches that quantizers take their initial values from, as one batch of all their samples."""
    freezing: Annotated[Freezing, FROM_KEYS] | None = None
    """Freezing of weights that oscillate."""
    dampening: Annotated[Dampening, FROM_KEYS] | None = None
    """A loss against oscillation."""
    micro_batch: Count = 0
    """Samples whose gradients are taken at once and added up to a step's, the start's too; 0: the whole batch."""
    micro_batch_norm: bool = False
    """Consent to other numbers: batch norm sees, and dropout draws for, a micro-batch at a time."""
    autocast: Literal[AUTOCAST] = AUTOCAST_OFF  # type: ignore[valid-type]
    """Format of products of what is not quantized, in steps of arms; evaluation and quantizers stay in float32."""
    channels_last: bool = False
    """Whether images lie channel by channel in memory, the start's too."""

    @property
    def memory(self) -> dict[str, Any]:
        """The fields of any trial's configuration that say how its memory is used."""
        return {name: getattr(self, name) for name in ("micro_batch", "micro_batch_norm", "channels_last")}

    @model_validator(mode="after")
    def _path(self) -> "TrainingSection":
        if self.init == "path" and self.init_path is None:
            raise ValueError('init = "path" needs init_path, the checkpoint to start from')
        if self.init != "path" and self.init_path is not None:
            raise ValueError(f'init_path is used with init = "path" only, but init is "{self.init}"')
        if self.init == "weights" and self.weights is None:
            raise ValueError('init = "weights" needs weights, a file or the name of the library that publishes them')
        if self.weights is not None and self.init not in ("weights", "pretrain"):
            raise ValueError(
                'weights is used with init = "weights" (arms start from them) or "pretrain" (what is trained first '
                f'does), but init is "{self.init}"'
            )
        if self.micro_batch_norm and not self.micro_batch:
            raise ValueError("micro_batch_norm belongs to micro_batch, which is not given; leave it out")
        if self.distillation is not None and self.init == "scratch":
            raise ValueError(
                'distillation needs a teacher, the floating-point model that trials start from, but init is "scratch"; '
                'use init = "pretrain", "weights" or "path"'
            )
        return self


class StartSection(Section):
    """Optimizer of one of several starts; the rest is that of `[pretrain]`."""

    optimizer: str = "adam"
    """A name of the table of optimizers."""
    optimizer_options: dict[str, float] = {}
    """Options of the optimizer, over the defaults of the table."""
    learning_rate: Positive = 1e-3
    """Peak of the learning rate."""
    name: str | None = None
    """The optimizer's name where it is left out."""

    @property
    def label(self) -> str:
        return self.name or self.optimizer


class PretrainSection(ScheduledSection):
    """The floating-point model that all arms start from."""

    optimizer: str = "adam"
    """A name of the table of optimizers."""
    optimizer_options: dict[str, float] = {}
    """Options of the optimizer, over the defaults of the table."""
    learning_rate: Positive = 1e-3
    """Peak of the learning rate."""
    batch_size: AtLeastOne
    """Samples in a step."""
    starts: list[StartSection] = []
    """Starts that alternate over repeats, in place of the one of this section's optimizer."""

    @field_validator("starts")
    @classmethod
    def _labels(cls, starts: list[StartSection]) -> list[StartSection]:
        check_names([start.label for start in starts], "a start's name")
        return starts


class RepeatSection(Section):
    """Draws that are made anew in each repeat; all else is the same in all of them."""

    varies: Annotated[list[Literal["start", "subset", "split", "design", "order"]], Field(min_length=1)]
    """Draws that each repeat makes anew: its start, its training subset, its validation split, its points, its order
    of samples."""
    first: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Number of the file's first repeat in the whole study."""
    study: str | None = None
    """Name of the whole study that several files belong to; the file's own where it is left out."""
    disjoint: bool = False
    """Whether subsets that overlap are refused; they do where the data is too little for all repeats."""

    @field_validator("varies")
    @classmethod
    def _once(cls, varies: list[str]) -> list[str]:
        if len(set(varies)) != len(varies):
            raise ValueError(f"each may appear once, but got {shown(varies)}")
        return varies

    @field_validator("study")
    @classmethod
    def _plain(cls, study: str | None) -> str | None:
        if study is not None and not PLAIN_NAME.fullmatch(study):
            raise ValueError(f"must be a plain file name, but got {shown(study)}")
        return study
