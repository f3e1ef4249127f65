"""The tables of the record: each column with its type, unit and meaning. Later versions only add columns."""

from dataclasses import fields
from functools import partial
from typing import get_args

import pyarrow as pa

from tune_qat.config import EpochResult, LayerCost, LayerResult, LayerSensitivity
from tune_qat.config.attribute_docs import attribute_docs

SCHEMA_VERSION = 1
VERSION_KEY = b"tune_qat.schema_version"

text, integer, small, number, flag = pa.string(), pa.int64(), pa.int32(), pa.float64(), pa.bool_()
moment = pa.timestamp("us", tz="UTC")
_OF_OURS = "required unless imported"


def required(field: pa.Field, *, imported: bool = False) -> bool:
    """Return whether a column must have a value.

    Some may be NULL in rows of an `imported` study, whose tool did not record them.
    """
    return not field.nullable or (not imported and _OF_OURS.encode() in (field.metadata or {}))


def _field(name: str, kind: pa.DataType, description: str, *, nullable: bool = True, of_ours: bool = False) -> pa.Field:
    metadata = {"description": description, **({_OF_OURS: "yes"} if of_ours else {})}
    return pa.field(name, kind, nullable=nullable, metadata=metadata)


_required = partial(_field, nullable=False)
_of_ours = partial(_field, of_ours=True)

STUDIES = pa.schema(
    [
        _required("definition_json", text, "JSON of the study file with every default filled in"),
        _required("schema_version", small, "version of the tables' schema"),
        _required("prereg_hash", text, "hash of the fixed rules: metric, margin, alpha, reference and retrain seeds"),
        _field("file_hash", text, "hash of the whole study file as last run; NULL in earlier records"),
        _field("versions_json", text, "JSON list of the files that ran, each with its date and what was seen by then"),
        _required("mode", text, "comparison (a search for each optimizer) or joint (one search over all optimizers)"),
        _of_ours("seed", integer, "seed of the study, from which all its other seeds follow"),
        _required("started_at", moment, "start of the last run"),
        _field("finished_at", moment, "end of the run that completed the study; NULL until then"),
        _field("wall_s", number, "duration of that run in seconds"),
        _required("tune_qat_version", text, "version of tune-qat"),
        _field("git_commit", text, "commit of the checkout that ran; NULL outside a checkout"),
        _field("command", text, "command line of the last run"),
        _required("complete", flag, "whether every planned trial has ended"),
        _field("origin", text, "tool and version that ran an imported study; NULL for studies of tune-qat"),
        _field("weights_text", text, "what loaded of training.weights, what was left out; NULL without given weights"),
    ]
)

ARMS = pa.schema(
    [
        _required("arm_id", text, "name of the arm: an optimizer (joint mode: all) at one pair of bit widths"),
        _required("mode", text, "comparison or joint, as in studies"),
        _required("workload", text, "name of the workload, model-dataset"),
        _required("model", text, "name in the table of models"),
        _required("dataset", text, "name in the table of datasets"),
        _required("task", text, "name in the table of tasks, or a class of the user's own"),
        _required("dataset_options_json", text, "JSON object of every option of the dataset"),
        _required("data_fingerprint", text, "hash of the data and of the options that shape it"),
        _required("split_fingerprint", text, "hash of the samples of each split"),
        _of_ours("n_train", small, "number of samples in the training split"),
        _of_ours("n_val", small, "number of samples in the validation split"),
        _field("n_test", small, "number of samples in the test split; NULL without one"),
        _field("split_json", text, "JSON object of sample names by split; NULL if samples have no names"),
        _required("metric", text, "metric that trials are judged by, such as accuracy or psnr"),
        _required("unit", text, "unit of the metric: fraction, dB or another"),
        _required("sign", pa.int8(), "1 if a larger metric is better, -1 if a smaller one is"),
        _field("worst_metric", number, "metric as bad as any, that of a diverged trial for the sampler; NULL as 0"),
        _of_ours("trivial_score", number, "metric of the best constant prediction on the validation split"),
        _field(
            "trivial_test_score", number, "metric of the best constant prediction on the test split; NULL without one"
        ),
        _required("baselines_json", text, "JSON object of the metrics of methods without training, by split and name"),
        _field("margin", number, "practical equivalence: smallest difference that matters, in the metric's unit"),
        _field("weight_bits", pa.int8(), "bit width of weights, 32 if not quantized; NULL if it is searched"),
        _field("activation_bits", pa.int8(), "bit width of activations, 32 if not quantized; NULL if it is searched"),
        _of_ours("first_last_bits", pa.int8(), "bit width of the first and the last layer"),
        _field("method", text, "name that the study gives to the quantization method; else the quantizer's"),
        _required("quantizer", text, "method that quantizes weights; none at 32/32"),
        _field("activation_quantizer", text, "method that quantizes activations"),
        _field("quantizer_options_json", text, "JSON object of the options of both methods"),
        _field("recipe_hashes_json", text, "JSON list of recipe_hash of the trials that fit the arm as it is now"),
        _of_ours("ste", text, "order in the straight-through estimator: clip_then_round or round_then_clip"),
        _field("optimizer", text, "name in the table of optimizers; NULL in joint mode"),
        _field("step_optimizer", text, "level of who moves quantizers: own, own_rate, adam, sgd; NULL as own, or none"),
        _field("steps_moved_by", text, "optimizer of quantizers, in words; NULL if there are none, and in joint mode"),
        _field("control", text, "worsened, for a control at 32/32 from a start with noise on its weights; else NULL"),
        _field("control_for", text, "bits whose calibrated model that start is no better than, as 4/4; else NULL"),
        _required("repeat", pa.int16(), "number of the repeat in the whole study, from 0"),
        _required("init", text, "weights that training starts from: pretrain, scratch, path or weights"),
        _field("init_checkpoint_sha256", text, "hash of the weights that training starts from; NULL from scratch"),
        _required("sampler", text, "sampler of the search: tpe, random or nsga2"),
        _field("objectives_json", text, "JSON list of the objectives of the search; NULL with the metric alone"),
        _of_ours("sampler_seed", integer, "seed of the sampler"),
        _field("design", text, "points of the random stage: random or sobol; NULL in records from before sobol"),
        _required("scheduler", text, "scheduler that stops trials early: asha or none"),
        _required("max_epochs", small, "epochs of a trial that is not stopped"),
        _of_ours("grace_epochs", small, "epoch of ASHA's first rung"),
        _of_ours("reduction_factor", number, "reduction factor (eta) of ASHA"),
        _required("planned_default", small, "planned number of trials with default settings"),
        _required("planned_random", small, "planned number of trials with random settings"),
        _required("planned_search", small, "planned number of trials that the sampler proposes"),
        _field("planned_finalists", small, "planned number of trials of finalists; NULL in records from before them"),
        _required("planned_retrain", small, "planned number of retrain trials, one for each seed and chosen point"),
        _required("space_json", text, "JSON object of the searched ranges, by optimizer and dimension"),
        _required("space_hash", text, "hash of space_json"),
        _field("space_points", integer, "points of the search space; NULL where a dimension is continuous"),
        _field("earlier_space_json", text, "as space_json, of an earlier run with other ranges; NULL without one"),
        _required("prereg_hash", text, "hash of the fixed rules of judgement, as in studies"),
        _field("whole", text, "name of the whole study that the repeats belong to; NULL in earlier records"),
        _field("varies_json", text, "JSON list of what each repeat draws anew; NULL where the study does not say"),
        _field("start_name", text, "name of the start, where several alternate over repeats"),
        _field("subset_overlap", number, "largest share of the training subset that another repeat has, too"),
        _field(
            "layer_bits_json", text, "JSON object of a mixed scheme's bits by layer; NULL of others, and until then"
        ),
        _field("allocation_hash", text, "hash of what the study file says of how these bits come about; NULL as they"),
        _field(
            "group_costs_json", text, "JSON object of a search of bits: limit, costs of groups at candidates; else NULL"
        ),
        _field("best_config_id", text, "config_id of the configuration that was chosen on validation data for retrain"),
        _field("front_config_ids_json", text, "JSON list of all that were, points of a front; NULL with one objective"),
    ]
)

TRIALS = pa.schema(
    [
        _required("trial_key", text, "hash of configuration, data, starting weights and stage"),
        _required("arm_id", text, "arm of the trial; pretrain for the shared start, calibrated for that stage"),
        _required("stage", text, "pretrain, default, random, search, finalists, retrain or calibrated"),
        _required("trial_number", small, "number of the trial in its arm and stage, from 0"),
        _required("config_id", text, "hash of the configuration without its seeds"),
        _required("workload", text, "name of the workload, model-dataset"),
        _required("model", text, "name in the table of models"),
        _required("dataset", text, "name in the table of datasets"),
        _of_ours(
            "optimizer", text, "name in the table of optimizers; NULL of the stage calibrated, as all of training"
        ),
        _required("quantizer", text, "method that quantizes weights; none at 32/32"),
        _field("activation_quantizer", text, "method that quantizes activations"),
        _required("weight_bits", pa.int8(), "bit width of weights; 32 if not quantized"),
        _required("activation_bits", pa.int8(), "bit width of activations; 32 if not quantized"),
        _of_ours("learning_rate", number, "peak of the learning rate; NULL as optimizer"),
        _required("batch_size", small, "samples in a step"),
        _field("weight_decay", number, "weight decay, times the factor of the bit width; NULL if there is none"),
        _field("momentum", number, "momentum; NULL if the optimizer has none"),
        _field("max_norm", number, "limit of the gradients' global norm; NULL without this clipping"),
        _field("clip_factor", number, "factor of adaptive gradient clipping; NULL without this clipping"),
        _of_ours("quantizer_lr_multiplier", number, "learning rate of quantizers over that of weights"),
        _field("quantizer_optimizer", text, "optimizer of quantizers; NULL if it is that of weights"),
        _required("schedule", text, "schedule of the learning rate: cosine, step or constant"),
        _of_ours("warmup_epochs", number, "length of the linear warm-up in epochs, which may be a fraction"),
        _required("epochs", small, "planned number of epochs; 0 of the stage calibrated"),
        _of_ours("seed", integer, "seed of data order and calibration"),
        _of_ours("init_seed", integer, "seed of the initial weights, which matters for a start from scratch"),
        _field("recipe_hash", text, "hash of the configuration without its searched values and its seeds"),
        _required("params_json", text, "JSON object of the whole configuration"),
        _field("init_checkpoint_sha256", text, "hash of the weights that training starts from; NULL from scratch"),
        _required("data_fingerprint", text, "hash of the data and of the options that shape it"),
        _required("split_fingerprint", text, "hash of the samples of each split"),
        _required(
            "source", text, "origin of the configuration: plan, default, random, sobol, sampler, record or import"
        ),
        _required("status", text, "running, completed, stopped, diverged, oom, error or interrupted"),
        _field("stop_reason", text, "early stop by asha, budget or user; if imported, by pruner or scheduler"),
        _field("rung", small, "epoch of the last rung of ASHA that the trial reached; NULL outside the search"),
        _field("error_type", text, "class of the exception that ended the trial"),
        _field("error_text", text, "traceback of that exception"),
        _field("epochs_run", small, "number of epochs in the record"),
        _field("steps_run", integer, "number of optimizer steps"),
        _field("examples_seen", integer, "number of training samples, counted once an epoch"),
        _field(
            "train_loss", number, "training loss of the last epoch, without label smoothing, distillation and dampening"
        ),
        _field("calibrated_metric", number, "validation metric after calibration, before the first step"),
        _field("val_loss", number, "validation loss of the last epoch"),
        _field("val_metric", number, "validation metric of the last epoch; NULL if it diverged or failed"),
        _field("val_metric_best", number, "best validation metric of any epoch"),
        _field("val_best_epoch", small, "epoch of val_metric_best, from 1"),
        _field("val_top5", number, "top-5 accuracy on validation of the last epoch, fraction; NULL below 10 classes"),
        _field(
            "test_metric", number, "test metric of the last epoch; NULL unless a completed retrain or calibrated trial"
        ),
        _field("test_top5", number, "top-5 accuracy on test, fraction; NULL as test_metric, and below 10 classes"),
        _field("test_loss", number, "test loss of the last epoch; NULL as test_metric"),
        _field("test_n", small, "number of samples in the test split; NULL as test_metric"),
        _field("test_correct", small, "number of correct answers on test, in classification; NULL as test_metric"),
        _field("test_images_json", text, "JSON list of the test metric of each image; NULL as test_metric, above 200"),
        _field("learned", flag, "whether val_metric is better than the arm's trivial_score"),
        _field("diverged_at_step", integer, "first step, from 1, with a loss not finite or a NaN in a gradient"),
        _field("wall_s", number, "wall time of training in seconds, without evaluation"),
        _field("device_s", number, "seconds that the device was held, with evaluation; process time on a CPU"),
        _field("peak_memory_mb", number, "peak memory of the trial in MB: of GPU tensors, else of the process"),
        _field("start_memory_mb", number, "resident memory of the process at the trial's start in MB"),
        _field("backend", text, "backend of the training steps: eager or inductor (compiled)"),
        _field("precision", text, "number format of float32 products: float32, or tf32 on a GPU"),
        _field("examples_per_s", number, "training samples a second of wall_s"),
        _field("host_hash", text, "keyed hash of the host within its study; NULL where the host has no key"),
        _field("device", text, "model name of the processor or GPU"),
        _field("cuda_version", text, "version of CUDA; NULL on a CPU"),
        _field("threads", small, "number of CPU threads of the trial, or of each of its workers"),
        _field("n_restarts", small, "number of further starts, after its process, node or study had ended"),
        _required("tune_qat_version", text, "version of tune-qat"),
        _field("git_commit", text, "commit of the checkout that ran; NULL outside a checkout"),
        _field("torch_version", text, "version of torch"),
        _field("ray_version", text, "version of Ray; NULL if it is not installed"),
        _field("optuna_version", text, "version of Optuna"),
        _field("python_version", text, "version of Python"),
        _field("started_at", moment, "first start of the trial in the run that ended it"),
        _field("finished_at", moment, "time when the row of the ended trial was written"),
        _field("checkpoint_sha256", text, "hash of what a completed pretrain or retrain trial's checkpoint holds"),
        _field("sources_json", text, "JSON object: hash of the code that ran, by own package; NULL without own parts"),
        _field("taken_from", text, "STUDY/TRIAL_KEY that ran the trial, if this study only took it over; else NULL"),
        _field("micro_batch", small, "samples whose gradients are taken at once; NULL in earlier records"),
        _field("autocast", text, "format of what is not quantized in steps: off or bfloat16; NULL in earlier records"),
        _field("channels_last", flag, "whether images lay channel by channel in memory; NULL in earlier records"),
        _field("workers", small, "number of processes that made the trial's steps together; NULL in earlier records"),
    ]
)

OF_TRAINING = ("optimizer", "learning_rate")
"""Columns of `trials` that a row must have, imported or not, unless it is of the stage `calibrated`."""

_KINDS = {str: text, int: integer, float: number, bool: flag}


def _from_dataclass(result: type, first: list[pa.Field], leave_out: tuple[str, ...] = ()) -> pa.Schema:
    """Return the schema of `first` and the fields of a result type, which define the names and types of columns."""
    columns, docs = list(first), attribute_docs(result)
    for field in fields(result):
        if field.name in leave_out:
            continue
        kind, *others = get_args(field.type) or (field.type,)  # `float | None` is (float, NoneType)
        unknown = field.name in UNKNOWN_OF_IMPORTED
        said = docs[field.name].replace("None", "NULL")
        columns.append(_field(field.name, _KINDS[kind], said, nullable=unknown or bool(others), of_ours=unknown))
    return pa.schema(columns)


UNKNOWN_OF_IMPORTED = ("step", "examples", "learning_rate", "nonfinite_steps", "wall_s", "device_s")
"""Columns of `epochs` that may be NULL in an imported study."""
_OF_TRIAL = [
    _required("trial_key", text, "hash of configuration, data, starting weights and stage"),
    _required("attempt", pa.int16(), "number of the attempt, from 1; resuming from a checkpoint begins a new one"),
]
EPOCHS = _from_dataclass(EpochResult, _OF_TRIAL, leave_out=("layers",))
LAYERS = _from_dataclass(LayerResult, [*_OF_TRIAL, _required("epoch", integer, "epoch, from 1")])

COSTS = _from_dataclass(
    LayerCost,
    [
        _required("method", text, "method as in arms, of which the study has the scheme; none at 32/32"),
        _required("weight_bits", pa.int8(), "bit width of weights in the scheme; 32 if not quantized"),
        _required("activation_bits", pa.int8(), "bit width of activations in the scheme; 32 if not quantized"),
    ],
)

SENSITIVITIES = _from_dataclass(
    LayerSensitivity,
    [
        _required(
            "measured_hash", text, "hash of what the study file says of how it was measured; budgets are not in it"
        )
    ],
)

DECISIONS = pa.schema(
    [
        _required("trial_key", text, "hash of configuration, data, starting weights and stage"),
        _required("arm_id", text, "arm whose ASHA decided"),
        _required("rung", small, "epoch of the rung"),
        _required("epoch", small, "epoch of the decision"),
        _required("value", number, "objective of the trial at the rung: sign x metric, so that larger is better"),
        _field("cutoff", number, "value that the trial had to reach; NULL for the first trial in a rung"),
        _required("n_in_rung", small, "number of earlier values in the rung"),
        _required("action", text, "continue or stop"),
        _required("decided_at", moment, "time of the decision"),
    ]
)

REFERENCE = pa.schema(
    [
        _required("source", text, "publication or repository"),
        _field("source_table", text, "table in the source"),
        _field("workload", text, "name of the workload, model-dataset; in tune-qat's names if it has both"),
        _required("model", text, "model as published"),
        _required("dataset", text, "dataset as published"),
        _required("method", text, "quantization method as published"),
        _field("optimizer", text, "name in the table of optimizers; NULL if the source uses none of these"),
        _field("quantizer", text, "name in the table of quantizers; NULL if it is not among these"),
        _field("weight_bits", pa.int8(), "bit width of weights; 32 if not quantized"),
        _field("activation_bits", pa.int8(), "bit width of activations; 32 if not quantized"),
        _field("learning_rate", number, "learning rate as published"),
        _field("batch_size", small, "batch size as published"),
        _required("metric", text, "accuracy or psnr"),
        _field("value", number, "metric in `unit`; NULL if the source gives no number"),
        _required("unit", text, "fraction, percent or dB"),
        _field("top5", number, "top-5 accuracy in `unit`"),
        _field("plus_minus", number, "printed uncertainty in `unit`"),
        _field("statistic", text, "statistic of the number: best, mean or unknown"),
        _field("n", small, "number of runs behind the number, if stated"),
        _field("recipe", text, "training recipe, as far as published"),
        _field("note", text, "published spelling, and caveats"),
    ]
)

TABLES: dict[str, pa.Schema] = {
    "studies": STUDIES,
    "arms": ARMS,
    "trials": TRIALS,
    "epochs": EPOCHS,
    "layers": LAYERS,
    "decisions": DECISIONS,
    "costs": COSTS,
    "sensitivities": SENSITIVITIES,
}
"""Tables of a results folder. `reference` is not among them: it comes with the package."""

KEYS: dict[str, tuple[str, ...]] = {
    "studies": (),
    "arms": ("arm_id",),
    "trials": ("trial_key",),
    "epochs": ("trial_key", "attempt", "epoch"),
    "layers": ("trial_key", "attempt", "epoch", "layer", "kind"),
    "decisions": ("trial_key", "rung"),
    "costs": ("method", "weight_bits", "activation_bits", "layer"),
    "sensitivities": ("measured_hash", "layer", "bits"),
}
"""Columns that identify a row within its study, by table."""


def meaning(field: pa.Field) -> str:
    """Return what a column holds, with its unit."""
    return field.metadata[b"description"].decode()
