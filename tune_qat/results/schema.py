"""The tables, one typed field per line with its unit and meaning. Columns are only ever added."""

from dataclasses import fields
from typing import Any

import pyarrow as pa

from tune_qat.config import EpochResult, LayerResult

SCHEMA_VERSION = 1
VERSION_KEY = b"tune_qat.schema_version"

text, integer, small, number, flag = pa.string(), pa.int64(), pa.int32(), pa.float64(), pa.bool_()
moment = pa.timestamp("us", tz="UTC")
_OF_OURS = b"required unless imported"


def required(field: pa.Field, *, imported: bool = False) -> bool:
    """Whether a column must have a value.

    Some may be NULL where a study was `imported`: whatever ran it did not say, and nothing is made up for it.
    """
    return not field.nullable or (not imported and _OF_OURS in (field.metadata or {}))


def _required(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"description": description})


def _of_ours(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description, _OF_OURS: "yes"})


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})


STUDIES = pa.schema(
    [
        _required("definition_json", text, "the study file, resolved"),
        _required("schema_version", small, "version of these tables"),
        _required("prereg_hash", text, "hash of what is judged: metric, margin, alpha, seeds"),
        _required("mode", text, "comparison or joint"),
        _of_ours("seed", integer, "seed that all others follow from"),
        _required("started_at", moment, "start of the last run"),
        _field("finished_at", moment, "end of the run that completed it"),
        _field("wall_s", number, "seconds of that run"),
        _required("tune_qat_version", text, "version of this package"),
        _field("git_commit", text, "commit, in a checkout"),
        _field("command", text, "command line of the last run"),
        _required("complete", flag, "whether every planned trial has ended"),
        _field("origin", text, "what ran an imported study, with its version; NULL: this program"),
    ]
)

ARMS = pa.schema(
    [
        _required("arm_id", text, "one optimizer at one bit width (all optimizers in joint mode)"),
        _required("mode", text, "comparison or joint"),
        _required("workload", text, "model-dataset"),
        _required("model", text, "name in the table of models"),
        _required("dataset", text, "name in the table of datasets"),
        _required("task", text, "classification or super_resolution"),
        _required("dataset_options_json", text, "every option of the dataset"),
        _required("data_fingerprint", text, "hash of the data"),
        _required("split_fingerprint", text, "hash of which sample is in which split"),
        _of_ours("n_train", small, "samples of the training split"),
        _of_ours("n_val", small, "samples of the validation split"),
        _of_ours("n_test", small, "samples of the test split"),
        _field("split_json", text, "names by split, where samples have names"),
        _required("metric", text, "accuracy or psnr"),
        _required("unit", text, "of the metric"),
        _required("sign", pa.int8(), "1: larger is better; -1: smaller is"),
        _of_ours("trivial_score", number, "best constant prediction, validation split"),
        _of_ours("trivial_test_score", number, "best constant prediction, test split"),
        _required("baselines_json", text, "metric of what needs no training, by split and name"),
        _field("margin", number, "practical equivalence, in the metric's unit"),
        _field("weight_bits", pa.int8(), "32: not quantized; NULL where bits are searched"),
        _field("activation_bits", pa.int8(), "32: not quantized; NULL where bits are searched"),
        _of_ours("first_last_bits", pa.int8(), "of the first and the last layer"),
        _field("method", text, "what the study calls the method; its quantizer where it has one alone"),
        _required("quantizer", text, "none at 32/32"),
        _field("activation_quantizer", text, "as quantizer, of activations"),
        _field("quantizer_options_json", text, "options of both methods"),
        _field("recipe_hashes_json", text, "recipe_hash of the trials that fit the arm as its study is now"),
        _of_ours("ste", text, "clip_then_round or round_then_clip"),
        _field("optimizer", text, "NULL in joint mode"),
        _required("repeat", pa.int16(), "from 0"),
        _required("init", text, "pretrain, scratch or path"),
        _field("init_checkpoint_sha256", text, "hash of the starting weights"),
        _required("sampler", text, "tpe or random"),
        _of_ours("sampler_seed", integer, "seed of the sampler"),
        _required("scheduler", text, "asha or none"),
        _required("max_epochs", small, "epochs of a whole trial"),
        _of_ours("grace_epochs", small, "first rung"),
        _of_ours("reduction_factor", number, "eta of ASHA"),
        _required("planned_default", small, "trials"),
        _required("planned_random", small, "trials"),
        _required("planned_search", small, "trials"),
        _required("planned_retrain", small, "trials, one per seed"),
        _required("space_json", text, "searched ranges by optimizer and dimension"),
        _required("space_hash", text, "hash of space_json"),
        _required("prereg_hash", text, "hash of what is judged"),
        _field("best_config_id", text, "configuration chosen on validation data for retrain"),
    ]
)

TRIALS = pa.schema(
    [
        _required("trial_key", text, "hash of configuration, data, start and stage"),
        _required("arm_id", text, "pretrain for the shared start"),
        _required("stage", text, "pretrain, default, random, search or retrain"),
        _required("trial_number", small, "from 0 within arm and stage"),
        _required("config_id", text, "hash of the configuration without its seeds"),
        _required("workload", text, "model-dataset"),
        _required("model", text, "name in the table of models"),
        _required("dataset", text, "name in the table of datasets"),
        _required("optimizer", text, "name in the table of optimizers"),
        _required("quantizer", text, "none at 32/32"),
        _field("activation_quantizer", text, "as quantizer, of activations"),
        _required("weight_bits", pa.int8(), "32: not quantized"),
        _required("activation_bits", pa.int8(), "32: not quantized"),
        _required("learning_rate", number, "peak, in the optimizer's own unit"),
        _required("batch_size", small, "samples per step"),
        _field("weight_decay", number, "of the weights, times the bit width's factor; NULL where there is none"),
        _field("momentum", number, "NULL where the optimizer has none"),
        _field("max_norm", number, "global-norm clipping"),
        _field("clip_factor", number, "adaptive gradient clipping"),
        _of_ours("quantizer_lr_multiplier", number, "learning rate of step sizes over that of weights"),
        _field("quantizer_optimizer", text, "of the quantizers' parameters; NULL: the same as of the weights"),
        _required("schedule", text, "cosine, step or constant"),
        _of_ours("warmup_epochs", number, "linear warm-up"),
        _required("epochs", small, "planned"),
        _of_ours("seed", integer, "data order and calibration"),
        _of_ours("init_seed", integer, "initial weights, from scratch"),
        _field("recipe_hash", text, "hash of what is not proposed by a sampler nor varied by a seed"),
        _required("params_json", text, "the whole configuration"),
        _field("init_checkpoint_sha256", text, "hash of the starting weights; NULL from scratch"),
        _required("data_fingerprint", text, "hash of the data"),
        _required("split_fingerprint", text, "hash of the splits"),
        _required("source", text, "plan, default, random, sampler, record or import"),
        _required("status", text, "running, completed, stopped, diverged, oom, error or interrupted"),
        _field("stop_reason", text, "asha, budget or user; pruner or scheduler in an imported study"),
        _field("rung", small, "last rung reached, in epochs"),
        _field("error_type", text, "class of the exception"),
        _field("error_text", text, "its traceback"),
        _field("epochs_run", small, "epochs in the record"),
        _field("steps_run", integer, "optimizer steps"),
        _field("examples_seen", integer, "training samples, repeats counted"),
        _field("train_loss", number, "of the last epoch, against the labels alone"),
        _field("val_loss", number, "of the last epoch"),
        _field("val_metric", number, "of the last epoch; NULL unless completed, stopped or interrupted"),
        _field("val_metric_best", number, "of any epoch"),
        _field("val_best_epoch", small, "epoch of val_metric_best"),
        _field("val_top5", number, "of the last epoch; NULL below 10 classes"),
        _field("test_metric", number, "retrain only"),
        _field("test_top5", number, "retrain only; NULL below 10 classes"),
        _field("test_loss", number, "retrain only"),
        _field("test_n", small, "samples of the test split"),
        _field("test_correct", small, "right answers, classification"),
        _field("learned", flag, "whether val_metric beats the trivial score"),
        _field("diverged_at_step", integer, "first step with a loss that was not finite, or a NaN in a gradient"),
        _field("wall_s", number, "seconds of training, evaluation left out"),
        _field("device_s", number, "seconds the device was held; process time on a CPU"),
        _field("peak_memory_mb", number, "MB; of the GPU, else resident in its process, since the trial's start"),
        _field("start_memory_mb", number, "MB resident in its process at the trial's start"),
        _field("backend", text, "what ran its steps: eager or inductor (compiled)"),
        _field("precision", text, "what float32 was multiplied in: float32, or tf32 on a GPU"),
        _field("examples_per_s", number, "training throughput"),
        _field("host_hash", text, "hash of the host's name"),
        _field("device", text, "name of the processor or GPU"),
        _field("cuda_version", text, "NULL on a CPU"),
        _field("threads", small, "CPU threads of the trial"),
        _field("n_restarts", small, "times it was started again, after its process, its node or its study had ended"),
        _required("tune_qat_version", text, "version of this package"),
        _field("git_commit", text, "commit, in a checkout"),
        _field("torch_version", text, "version"),
        _field("ray_version", text, "version; NULL outside Ray"),
        _field("optuna_version", text, "version"),
        _field("python_version", text, "version"),
        _field("started_at", moment, "when it was first started by the run that ended it"),
        _field("finished_at", moment, "when its row was written"),
        _field("checkpoint_sha256", text, "hash of the weights it ended with, pretrain only"),
    ]
)

_OF_EPOCH = {str: text, int: integer, float: number, bool: flag}


def _from_dataclass(result: type, first: list[pa.Field], leave_out: tuple[str, ...] = ()) -> pa.Schema:
    """Columns that are the fields of a result type: one home for their names and types."""
    columns = list(first)
    for field in fields(result):
        if field.name in leave_out:
            continue
        kind = _OF_EPOCH[_plain(field.type)]
        if field.name in UNKNOWN_OF_IMPORTED:
            columns.append(pa.field(field.name, kind, metadata={_OF_OURS: "yes"}))
        else:
            columns.append(pa.field(field.name, kind, nullable=_is_optional(field.type)))
    return pa.schema(columns)


def _plain(annotation: Any) -> Any:
    options = [option for option in getattr(annotation, "__args__", (annotation,)) if option is not type(None)]
    return options[0]


def _is_optional(annotation: object) -> bool:
    return type(None) in getattr(annotation, "__args__", ())


UNKNOWN_OF_IMPORTED = ("step", "examples", "learning_rate", "nonfinite_steps", "wall_s", "device_s")
"""Of an epoch: what an imported study may leave unsaid."""
_OF_TRIAL = [
    _required("trial_key", text, "hash of configuration, data, start and stage"),
    _required("attempt", pa.int16(), "from 1; a trial that goes on from its checkpoint starts the next one"),
]
EPOCHS = _from_dataclass(EpochResult, _OF_TRIAL, leave_out=("layers",))
LAYERS = _from_dataclass(LayerResult, [*_OF_TRIAL, _required("epoch", integer, "from 1")])

DECISIONS = pa.schema(
    [
        _required("trial_key", text, "hash of configuration, data, start and stage"),
        _required("arm_id", text, "arm whose ASHA decided"),
        _required("rung", small, "in epochs"),
        _required("epoch", small, "epoch of the decision"),
        _required("value", number, "the trial's objective: sign x metric"),
        _field("cutoff", number, "what it had to reach; NULL for the first in a rung"),
        _required("n_in_rung", small, "values in the rung before it"),
        _required("action", text, "continue or stop"),
        _required("decided_at", moment, "when"),
    ]
)

REFERENCE = pa.schema(
    [
        _required("source", text, "publication or repository"),
        _field("source_table", text, "table in the source"),
        _field("workload", text, "model-dataset, in our names where we have both"),
        _required("model", text, "as published"),
        _required("dataset", text, "as published"),
        _required("method", text, "as published"),
        _field("optimizer", text, "our identifier; NULL where none of ours is meant"),
        _field("quantizer", text, "our identifier; NULL where we have none"),
        _field("weight_bits", pa.int8(), "32: not quantized"),
        _field("activation_bits", pa.int8(), "32: not quantized"),
        _field("learning_rate", number, "as published"),
        _field("batch_size", small, "as published"),
        _required("metric", text, "accuracy or psnr"),
        _field("value", number, "in `unit`; NULL where the source has no number"),
        _required("unit", text, "fraction, percent or dB"),
        _field("top5", number, "in `unit`"),
        _field("plus_minus", number, "in `unit`, as printed"),
        _field("statistic", text, "best, mean or unknown"),
        _field("n", small, "runs behind the number, where stated"),
        _field("recipe", text, "how it was trained, as far as published"),
        _field("note", text, "published spelling and caveats"),
    ]
)

TABLES: dict[str, pa.Schema] = {
    "studies": STUDIES,
    "arms": ARMS,
    "trials": TRIALS,
    "epochs": EPOCHS,
    "layers": LAYERS,
    "decisions": DECISIONS,
}
"""What a results folder holds. `reference` comes with the package and is no part of it."""

KEYS: dict[str, tuple[str, ...]] = {
    "studies": (),
    "arms": ("arm_id",),
    "trials": ("trial_key",),
    "epochs": ("trial_key", "attempt", "epoch"),
    "layers": ("trial_key", "attempt", "epoch", "layer", "kind"),
    "decisions": ("trial_key", "rung"),
}
"""What a row is known by inside its study."""
