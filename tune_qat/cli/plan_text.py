"""Description of a study before it runs: its arms, ranges, stages and cost."""

from tune_qat import optimizers
from tune_qat.config import Range
from tune_qat.config.statuses import RANDOM, SEARCH
from tune_qat.results.layout import FILES
from tune_qat.results.views import connect
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.study.arms import methods_of
from tune_qat.study.cost import stage_epochs
from tune_qat.study.space import BATCH_SIZE, BITS_INDEX
from tune_qat.study.steps import crossed, step_dimension
from tune_qat.study.used_up import used_up
from tune_qat.tuning.begun import as_begun, kept


def describe(study: Study, results: StoragePath) -> str:
    """Return arms, ranges, stages, cost, and what a record has of it, as text.

    Minutes are known if the record has trials of this workload.
    """
    study = as_begun(study, results)
    blocks = [_heading(study), _ranges(study), _stages(study), _cost(study, results)]
    if recorded := _recorded(study, results):
        blocks.append([f"in {results}/: {recorded[0]}", *(f"  {line}" for line in recorded[1:])])
    return "\n\n".join("\n".join(lines) for lines in blocks)


def trial_epochs(study: Study) -> int:
    """Return the number of epochs of all trials if none is stopped early."""
    return sum(epochs for _, _, epochs in stage_epochs(study))


def _heading(study: Study) -> list[str]:
    arms = study.arms()
    by_method: dict[str, list[str]] = {}
    for scheme, method in methods_of(study.quantization).items():
        by_method.setdefault(method, []).append(f"{scheme.weight_bits}/{scheme.activation_bits}")
    methods = "; ".join(f"{method} at {', '.join(bits)}" for method, bits in by_method.items())
    kind = "one sampler and one ASHA per arm" if study.mode == "comparison" else "one sampler over all optimizers"
    return [
        f"study {study.name}: {study.workload.model} on {study.workload.dataset}, {study.judgement.metric}",
        f"{study.mode} mode ({kind}), bits of weights/activations: {methods}",
        f"{len(arms)} arms: {', '.join(arm.arm_id for arm in arms)}",
    ]


def _ranges(study: Study) -> list[str]:
    lines = ["searched:"]
    width = max(map(len, study.space.optimizers))
    for optimizer in study.space.optimizers:
        dimensions = study.dimensions(optimizer)
        own = optimizers.get_spec(optimizer).schedule
        schedule = f"; {own} schedule, its own" if own not in (None, study.training.schedule) else ""
        ranges = ", ".join(_range(name, bounds) for name, bounds in dimensions.items())
        lines.append(f"  {optimizer:{width}}  {ranges}{schedule}")
    return [*lines, *_steps(study)]


def _steps(study: Study) -> list[str]:
    """Say who moves the quantizers' parameters, where that is crossed with the optimizers."""
    levels = dict.fromkeys(arm.step_optimizer for arm in study.arms()) if crossed(study.space) else {}
    told = {level: ", ".join(_range(*one) for one in step_dimension(study.space, level).items()) for level in levels}
    width = max(map(len, told), default=0)
    lines = [f"  {level:{width}}  {ranges or 'nothing more: one rate for all'}" for level, ranges in told.items()]
    specs = map(optimizers.get_spec, study.space.optimizers)
    lines += [f"  {spec.name} moves step sizes by {spec.moves_steps}" for spec in specs if spec.moves_steps and told]
    return ["searched beside that, by who moves step sizes (quantizers' parameters):", *lines] if told else []


def _range(name: str, bounds: Range) -> str:
    if name == BITS_INDEX:
        return "bits (of the list above)"
    kind = " (powers of two)" if name == BATCH_SIZE else "" if bounds.log else " (linear)"
    return f"{name} {bounds.low:g}..{bounds.high:g}{kind}"


def _stages(study: Study) -> list[str]:
    lines = ["stages:"]
    for stage, trials, epochs in stage_epochs(study):
        stopped = stage == SEARCH and study.rungs
        limit = f" at most, ASHA looks at epoch {', '.join(map(str, study.rungs))}" if stopped else ""
        limit += ", Sobol points" if stage == RANDOM and study.stages.design == "sobol" else ""
        each = epochs // trials
        lines.append(f"  {stage:9} {trials:5} trials x {each} epochs = {epochs} epochs{limit}")
    return [*lines, *(f"  {sentence}" for sentence in (*used_up(study), *kept(study)))]


def _recorded(study: Study, results: StoragePath) -> list[str]:
    """Return how many trials are recorded, will be taken over and are new, and which do not fit any more, if any."""
    if not any((results / "trials").glob(f"study_id=*/{FILES}")):
        return []
    from tune_qat.tuning.outlook import outlook  # not at the top: it takes a second to import

    return outlook(study, results)


def _cost(study: Study, results: StoragePath) -> list[str]:
    epochs = trial_epochs(study)
    trials = sum(trials for _, trials, _ in stage_epochs(study))
    lines = [f"cost: {trials} trials, at most {epochs} trial-epochs"]
    seconds = _seconds_per_epoch(study, results)
    if seconds is None:
        lines.append(f"      no trial of this workload in {results}/ yet, so minutes are not known")
    else:
        minutes = epochs * seconds / 60
        lines.append(
            f"      about {minutes:.1f} device-minutes at {seconds:.3g} s an epoch (mean of the record in {results}/); "
            "divide by the trials that run at once"
        )
    return lines


def _seconds_per_epoch(study: Study, results: StoragePath) -> float | None:
    """Return the mean device seconds of an epoch over recorded trials of this workload; None if there are none."""
    if not any((results / "trials").glob(f"study_id=*/{FILES}")):
        return None
    # A trial that several studies have counts once.
    query = (
        "SELECT sum(device_s) / sum(epochs_run) FROM trials WHERE workload = ? AND epochs_run > 0 "
        "AND (taken_from IS NULL OR taken_from NOT IN (SELECT study_id || '/' || trial_key FROM trials))"
    )
    row = connect(results).execute(query, [f"{study.workload.model}-{study.workload.dataset}"]).fetchone()
    return row[0] if row and row[0] else None
