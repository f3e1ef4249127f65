"""Description of a study before it runs: its arms, ranges, stages and cost."""

from collections.abc import Iterator
from pathlib import Path

from tune_qat import data, optimizers
from tune_qat.config import Range, TuneQatError, UsageError
from tune_qat.config.own_parts import is_own
from tune_qat.config.statuses import CALIBRATED, RANDOM, SEARCH
from tune_qat.results.layout import FILES
from tune_qat.results.pace import seconds_per_epoch
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.study.arms import methods_of
from tune_qat.study.cost import stage_epochs, trial_epochs
from tune_qat.study.early_stopping import early_stopping_off
from tune_qat.study.mixed import mixed_schemes
from tune_qat.study.space import BATCH_SIZE, is_position
from tune_qat.study.steps import crossed, step_dimension
from tune_qat.study.used_up import used_up
from tune_qat.tuning.begun import as_begun, kept


def describe(study: Study, results: StoragePath) -> str:
    """Return arms, ranges, stages, cost, and what a record has of it, as text.

    Minutes are known if the record has trials of this workload.
    """
    study = as_begun(study, results)
    blocks = [_heading(study), _ranges(study), _stages(study), _cost(study, results)]
    blocks.append(_recorded(study, results))
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _heading(study: Study) -> list[str]:
    arms = study.arms()
    by_method: dict[str, list[str]] = {}
    mixed = mixed_schemes(study.quantization)
    for scheme, method in methods_of(study.quantization).items():
        if method in mixed:
            continue
        by_method.setdefault(method, []).append(f"{scheme.weight_bits}/{scheme.activation_bits}")
    methods = "; ".join(f"{method} at {', '.join(bits)}" for method, bits in by_method.items())
    kind = "one sampler and one ASHA per arm" if study.mode == "comparison" else "one sampler over all optimizers"
    if study.search.objectives is not None:
        kind += f", for the front of {' and '.join(study.search.objectives)}"
    return [
        f"study {study.name}: {study.workload.model} on {study.workload.dataset}, {study.judgement.metric}",
        f"{study.mode} mode ({kind}), bits of weights/activations: {methods}",
        *_mixed(study),
        f"{len(arms)} arms: {', '.join(dict.fromkeys(arm.name for arm in arms))}{_repeats(study)}",
    ]


def _mixed(study: Study) -> Iterator[str]:
    """Yield a line for each mixed scheme: the bits of its layers, or when these are allocated."""
    if study.quantization.mixed is None:
        return
    for name in mixed_schemes(study.quantization):
        bits, groups = study.quantization.allocated.get(name), study.quantization.mixed.groups
        if groups and not bits:
            named = ", ".join(f"{group} ({' '.join(layers)})" for group, layers in groups.items())
            yield f"{name}: bits of groups of layers are searched: {named}"
            continue
        layers = ", ".join(f"{layer} {width}" for layer, width in (bits or {}).items())
        yield f"{name}: bits of layers {layers or 'are allocated once the first start is there'}"


def _repeats(study: Study) -> str:
    """Say which repeats of all arms there are, and what each draws anew; nothing for a single search."""
    numbers = [number + 1 for number in study.repeat_numbers]
    if numbers == [1] and study.repeat is None:
        return ""
    varies = ", ".join(study.repeat.varies) if study.repeat else ""
    drawn = f", each with its own {varies}" if varies else ""
    which = f"repeat {numbers[0]}" if len(numbers) == 1 else f"repeats {numbers[0]} to {numbers[-1]}"
    return f"; {which}{f' of {study.whole}' if study.whole != study.name else ''}{drawn}"


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
    if is_position(name):
        return f"{name} (of the list above)"
    kind = " (powers of two)" if name == BATCH_SIZE else "" if bounds.log else " (linear)"
    return f"{name} {bounds.low:g}..{bounds.high:g}{kind}"


def _stages(study: Study) -> list[str]:
    lines = ["stages:"]
    for stage, trials, epochs in stage_epochs(study):
        stopped = stage == SEARCH and study.rungs
        limit = f" at most, ASHA looks at epoch {', '.join(map(str, study.rungs))}" if stopped else ""
        limit += ", Sobol points" if stage == RANDOM and study.stages.design == "sobol" else ""
        if stage == CALIBRATED:
            lines.append(f"  {stage:9} {trials:5} evaluations at most, without an epoch")
            continue
        each = epochs // trials
        lines.append(f"  {stage:9} {trials:5} trials x {each} epochs = {epochs} epochs{limit}")
    return [*lines, *(f"  {sentence}" for sentence in (*used_up(study), *early_stopping_off(study), *kept(study)))]


def _recorded(study: Study, results: StoragePath) -> list[str]:
    """Return what a run with these results would reuse, take over and run, and which trials do not fit any more."""
    found = None
    if any((results / "trials").glob(f"study_id=*/{FILES}")):
        from tune_qat.tuning.outlook import standing  # not at the top: it takes a second to import

        found = standing(study, results)
    if found is None:
        return [f"in {results}/: reuses nothing, takes over nothing, runs {sum(n for _, n, _ in stage_epochs(study))}"]
    taken = [f"{count} from {other}" for other, count in sorted(found.taken.items())]
    reused = f"{found.recorded} recorded" if found.recorded else "nothing"
    line = f"in {results}/: reuses {reused}, takes over {', '.join(taken) or 'nothing'}, runs {found.new}"
    return [line, *(f"  {sentence}" for sentence in found.misfits)]


def data_there(study: Study, data_dir: Path | None) -> str:
    """Say where the study's data is, or that it is missing, with how to get it; nothing of it is read."""
    name = study.workload.dataset
    try:
        folder = data.check_present(name, data_dir=data_dir, default_data_dir=study.data_dir)
    except UsageError:
        raise
    except TuneQatError as error:
        return f"data: MISSING. {error}"
    if folder:
        return f"data: {name} is in {folder}"
    return f"data: {name} {'is read by code of yours' if is_own(name) else 'comes with a library'}"


def _cost(study: Study, results: StoragePath) -> list[str]:
    epochs = trial_epochs(study)
    trials = sum(trials for _, trials, _ in stage_epochs(study))
    lines = [f"cost: {trials} trials, at most {epochs} trial-epochs"]
    seconds = seconds_per_epoch(results, study.workload.model, study.workload.dataset)
    if seconds is None:
        lines.append(f"      no trial of this workload in {results}/ yet, so minutes are not known")
    else:
        minutes = epochs * seconds / 60
        lines.append(
            f"      about {minutes:.1f} device-minutes at {seconds:.3g} s an epoch (mean of the record in {results}/); "
            "divide by the trials that run at once"
        )
    return lines
