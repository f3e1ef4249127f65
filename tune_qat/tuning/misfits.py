"""Recorded trials that no longer fit the study, and why, in the words of the study file."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from tune_qat.config import STORAGE_OPTIONS, Scheme, TrialConfig
from tune_qat.config.statuses import CALIBRATED, DEFAULT, FINALISTS, PRETRAIN, RETRAIN
from tune_qat.study import Arm, Study
from tune_qat.study.arms import OWN, level_in, variant_in
from tune_qat.study.controls import WORSENED
from tune_qat.study.sections import TrainingSection
from tune_qat.study.space import BATCH_SIZE, is_position
from tune_qat.study.steps import step_dimension
from tune_qat.tuning.plan import Planner
from tune_qat.tuning.queue import StudyQueue

SHOWN = 3
"""Most differences that one sentence names."""
UNKNOWN = "their data, or the tune_qat that ran them, is another one"
SOURCE = "source of "
"""Beginning of what is said of a package of the user's own, in place of a key."""
SOURCE_DIGITS = 12
Changes = dict[str, tuple[str, str] | None]
"""Recorded value and today's by the key of the study file; None where the key says it all."""


def misfits(queue: StudyQueue, record: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each reason why recorded trials do not count in today's study, with their number."""
    starts = {row["checkpoint_sha256"]: row for row in record if row["stage"] == PRETRAIN and row["checkpoint_sha256"]}
    counts: Counter[tuple[str, ...]] = Counter()
    seen: defaultdict[tuple[str, ...], defaultdict[str, set[tuple[str, str] | None]]]
    seen = defaultdict(lambda: defaultdict(set))
    for row in record:
        changes = _changes(queue, row, starts)
        if changes is not None:
            counts[tuple(changes)] += 1
            for key, values in changes.items():
                seen[tuple(changes)][key].add(values)
    return [_sentence(count, seen[keys]) for keys, count in counts.most_common()]


def _sentence(count: int, changes: Mapping[str, set[tuple[str, str] | None]]) -> str:
    trials = "1 recorded trial does" if count == 1 else f"{count} recorded trials do"
    told = [_told(key, values) for key, values in changes.items()]
    more = [f"{len(told) - SHOWN} more"] if len(told) > SHOWN else []
    source_alone = all(key.startswith(SOURCE) for key in changes)
    advice = " (--accept-changed-code counts them all the same)" if source_alone else ""
    return f"{trials} not fit any more: {'; '.join([*told[:SHOWN], *more])}{advice}"


def _told(key: str, values: set[tuple[str, str] | None]) -> str:
    pairs = [pair for pair in values if pair is not None]
    if not pairs:
        return key
    old, new = ({pair[side] for pair in pairs} for side in (0, 1))
    return (
        f"{key} {old.pop() if len(old) == 1 else 'of several values'}, now {new.pop() if len(new) == 1 else 'others'}"
    )


def _changes(queue: StudyQueue, row: Mapping[str, Any], starts: Mapping[str, Mapping[str, Any]]) -> Changes | None:
    """Return what keeps a recorded trial out of today's study; None if nothing does."""
    study, stage = queue.study, row["stage"]
    if stage == PRETRAIN:
        made = [start.plan.trial_key for start in queue.starts if start.plan]
        if not made:
            return {"training.init": ("pretrain", study.training.init)}
        if row["trial_key"] in made:
            return None
        of_weights = _of_weights(queue, row)
        return _of_pretrain(queue, row, row["trial_number"]) or of_weights or {UNKNOWN: None}
    if stage == CALIBRATED:
        return None  # what an arm chose earlier; it ranks nothing
    if row["arm_id"] in queue.arms and queue.arms[row["arm_id"]].known(row["trial_key"]):
        return None
    config = TrialConfig.from_dict(json.loads(row["params_json"]))
    arm = next((arm for arm in study.arms() if arm.arm_id == row["arm_id"]), None)
    if arm is None or config.optimizer not in arm.optimizers:
        return _of_lost_arm(study, config, row["arm_id"])
    in_range = stage not in (DEFAULT, FINALISTS, RETRAIN)
    of_arm = _of_scheme(arm, config) or _of_config(queue.planner, arm, config, in_range=in_range)
    return of_arm or _of_start(queue, arm, row["init_checkpoint_sha256"], starts) or {UNKNOWN: None}


def _of_lost_arm(study: Study, config: TrialConfig, arm_id: str) -> Changes:
    joint = arm_id.startswith("joint-")
    if joint != (study.mode == "joint"):
        return {"mode": ("joint" if joint else "comparison", study.mode)}
    if config.optimizer not in study.space.optimizers:
        return {f"space.optimizers has no {config.optimizer} any more": None}
    if variant_in(arm_id).startswith(WORSENED):
        return {f"controls has no {variant_in(arm_id).replace('_', ' ')} any more": None}
    if config.scheme.label not in [scheme.label for scheme in study.schemes]:
        return {f"quantization.bits has no {_bits(config.scheme)} any more": None}
    if level_in(arm_id) != OWN:
        return {f"space.step_optimizers has no {level_in(arm_id)} of {config.optimizer} any more": None}
    return {f"there is no arm {arm_id} any more": None}


def _of_scheme(arm: Arm, config: TrialConfig) -> Changes:
    """Compare the recorded quantization with that of today's arm."""
    if config.scheme in arm.schemes:
        return {}
    alike = [scheme for scheme in arm.schemes if scheme.label == config.scheme.label]
    if not alike:
        return {f"quantization.bits has no {_bits(config.scheme)} any more": None}
    return dict(_differences(config.scheme, alike[0], _scheme_key))


def _of_config(planner: Planner, arm: Arm, config: TrialConfig, *, in_range: bool) -> Changes:
    """Compare a recorded configuration with the one that its searched values give today, and with today's ranges."""
    study, optimizer = planner.study, config.optimizer
    values = planner.searched_values(config)
    today = study.config(arm, optimizer, values, seed=config.seed)
    changes: Changes = dict(_differences(config, today, partial(_key, optimizer)))
    if changes or not in_range:
        return changes
    ranges = planner.dimensions_of(config)
    outside = [name for name, bounds in ranges.items() if not bounds.low <= values[name] <= bounds.high]
    return {f"outside of {_range_key(study, arm, optimizer, name)}": None for name in outside}


def _of_start(queue: StudyQueue, arm: Arm, sha256: str | None, starts: Mapping[str, Mapping[str, Any]]) -> Changes:
    """Compare the weights that a trial began from, by their hash, with those that the arm's trials begin from today."""
    study, start = queue.study, queue.start_of(arm)
    now = start.planner.init_sha256
    if sha256 == now and start.known:
        return {}
    given = study.training.init if study.training.init == "weights" else "path"
    before = "scratch" if sha256 is None else "pretrain" if sha256 in starts else given
    if before != study.training.init:
        return {"training.init": (before, study.training.init)}
    number = queue.starts.index(start)
    if before == "pretrain" and (changes := _of_pretrain(queue, starts[str(sha256)], number)):
        return changes
    return {"weights of the start": (str(sha256)[:12], str(now)[:12])} if sha256 and now else {}


def _of_weights(queue: StudyQueue, row: Mapping[str, Any]) -> Changes:
    """Compare the given weights that a recorded start was made of with today's."""
    now = queue.planner.init_sha256
    before = row["init_checkpoint_sha256"]
    return {"training.weights": (str(before)[:12], str(now)[:12])} if before != now else {}


def _of_pretrain(queue: StudyQueue, row: Mapping[str, Any], number: int) -> Changes:
    """Compare a recorded start with today's of this number."""

    def spell(head: str, rest: Sequence[str]) -> str:
        if head == "sources":
            return f"{SOURCE}{rest[0]}"
        if head == "worsening":
            return "judgement.margin, a quarter" if rest[0] == "within" else ".".join(["quantization", *rest[1:]])
        shared = {
            "dataset_options": "workload.options",
            "model_options": "workload.model_options",
            "task": "workload.task",
            "seed": "seed",
            "init_seed": "seed",
        }
        return ".".join([shared.get(head, f"pretrain.{head}"), *rest])

    recorded = TrialConfig.from_dict(json.loads(row["params_json"]))
    start = queue.starts[min(number, len(queue.starts) - 1)]
    if (recorded.worsening is None) != (start.control_for is None):
        return {"controls are others": None} if recorded.worsening else {}
    return dict(_differences(recorded, start.plan.config, spell)) if start.plan else {}


def _differences(
    old: Scheme | TrialConfig, new: Scheme | TrialConfig, spell: Callable[[str, Sequence[str]], str]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the key of the study file and both values of all that differs and is in a trial's identity."""
    before, after = dict(_flat(asdict(old))), dict(_flat(asdict(new)))
    for path in dict.fromkeys([*before, *after]):
        one, other = before.get(path), after.get(path)
        if path[0] == "sources":
            one, other = (value and value[:SOURCE_DIGITS] for value in (one, other))
        if one != other and path[-1] not in STORAGE_OPTIONS:
            yield spell(path[0], path[1:]), (_word(one), _word(other))


def _flat(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, (*path, name))
        else:
            yield (*path, name), value


def _scheme_key(head: str, rest: Sequence[str]) -> str:
    names = {"layer_bits": "layers", "float_layers": "layers left as they are"}
    return ".".join(["quantization", names.get(head, head), *rest])


def _key(optimizer: str, head: str, rest: Sequence[str]) -> str:
    """Return the key of the study file that sets a field of a trial's configuration."""
    named = {
        "optimizer_options": f"space.fixed.{optimizer}",
        "dataset_options": "workload.options",
        "scheme": "quantization",
        "weight_decay_factor": "quantization.weight_decay_factors",
        "quantizer_lr_multiplier": "space.quantizer_lr_multiplier",
        "seed": "seed",
        "init_seed": "seed",
        "model": "workload.model",
        "model_options": "workload.model_options",
        "dataset": "workload.dataset",
        "task": "workload.task",
    }
    if head == "sources":
        return f"{SOURCE}{rest[0]}"
    if head in TrainingSection.model_fields:
        rest = ["optimizer" if name == "name" else name for name in rest]  # of quantizer_optimizer
        return ".".join(["training", head, *rest])
    return ".".join([named.get(head, f"space.{head}"), *rest])


def _range_key(study: Study, arm: Arm, optimizer: str, name: str) -> str:
    """Return the key of the study file that sets, or would set, the range of a searched value."""
    if name in step_dimension(study.space, arm.step_optimizer):
        return f"space.step_rates.{arm.step_optimizer}"
    if is_position(name):
        return "quantization.bits"
    common = name in (BATCH_SIZE, "learning_rate", "quantizer_lr_multiplier")
    own = name in study.space.per_optimizer.get(optimizer, {})
    return f"space.{name}" if common and not own else f"space.per_optimizer.{optimizer}.{name}"


def _bits(scheme: Scheme) -> str:
    return f"{scheme.weight_bits}/{scheme.activation_bits}"


def _word(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return ", ".join(map(_word, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
