"""Second controls: arms at 32/32 from a start that noise has made no better than a calibrated model.

The 32/32 arms of a fine-tuned study begin at their best and cannot move. An arm that begins where the quantized ones
do, with nothing quantized, tells what is due to quantization from what any loss at the start would do.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from tune_qat.config import Scheme
from tune_qat.config.shown import shown
from tune_qat.study import method_sections, search_sections, sections
from tune_qat.study.arms import Arm, methods_of, of_repeat
from tune_qat.study.mistakes import rule_error
from tune_qat.study.mixed import mixed_schemes

WORSENED: Final = "worsened"


def schemes_of(
    controls: Sequence[search_sections.ControlSection], part: method_sections.QuantizationSection
) -> dict[str, Scheme]:
    """Return the schemes that worsened controls are for, by pair of bits ("4/4"), in the order of the file.

    Of several methods at a pair of bits it is the first; mixed schemes have none.
    """
    found, mixed = dict[str, Scheme](), mixed_schemes(part).values()
    for scheme in methods_of(part):
        if not scheme.is_float and scheme not in mixed:
            found.setdefault(_pair(scheme.weight_bits, scheme.activation_bits), scheme)
    wanted = _pairs(controls)
    everything = any(control.bits is None for control in controls)
    return {pair: scheme for pair, scheme in found.items() if everything or pair in wanted}


def control_arms(
    controls: Sequence[search_sections.ControlSection],
    part: method_sections.QuantizationSection,
    names: Sequence[str],
    repeats: Sequence[int],
) -> Iterator[Arm]:
    """Make the arms of worsened controls, by pair of bits, then by optimizer, then by repeat."""
    for pair, scheme in schemes_of(controls, part).items():
        (control,) = (control for control in controls if control.bits is None or pair in _pairs([control]))
        for name in (name for name in names if control.optimizers is None or name in control.optimizers):
            for repeat in repeats:
                words = [name, Scheme.floating_point().label, f"{WORSENED}_{scheme.label}"]
                yield Arm(
                    arm_id=f"{'-'.join(words)}{of_repeat(repeat)}",
                    schemes=(Scheme.floating_point(),),
                    method="none",
                    optimizers=(name,),
                    repeat=repeat,
                    control=WORSENED,
                    control_for=pair,
                )


def check_controls(
    controls: Sequence[search_sections.ControlSection],
    part: method_sections.QuantizationSection,
    training: sections.TrainingSection,
    judgement: search_sections.JudgementSection,
    optimizers: Sequence[str],
    mode: str,
) -> None:
    """Check what controls need; an error with its key for the first that is missing."""
    if not controls:
        return
    if mode == "joint":
        raise rule_error("controls", 'is for mode = "comparison", in which a control has an arm for each optimizer')
    if training.init == "scratch":
        rule = 'needs a start to worsen, training.init = "pretrain", "weights" or "path", but init is "scratch"'
        raise rule_error("controls", rule)
    if training.distillation is not None:
        raise rule_error("controls", "is not for training.distillation, whose teacher would be the worsened start")
    if not judgement.margin:
        raise rule_error("controls", "needs a judgement.margin above 0: a worsened start is within a quarter of it")
    known = schemes_of([search_sections.ControlSection(kind=WORSENED)], part)
    if not known:
        raise rule_error("controls", "is for quantized pairs of bits, but nothing in this study is quantized")
    for name in (name for control in controls for name in control.optimizers or ()):
        if name not in optimizers:
            rule = f"optimizers must be some of space.optimizers ({', '.join(optimizers)}), not {shown(name)}"
            raise rule_error("controls", rule)
    named = _pairs(controls)
    for pair in named:
        if pair not in known:
            raise rule_error("controls", f"bits must be quantized pairs of the study ({', '.join(known)}), not {pair}")
    if len(set(named)) != len(named) or (named and any(control.bits is None for control in controls)):
        raise rule_error("controls", f"each pair of bits may have one worsened control, but got {shown(named)}")


def _pairs(controls: Sequence[search_sections.ControlSection]) -> list[str]:
    """Return the pairs of bits that controls name, as often as they name them."""
    return [_pair(*bits) for control in controls for bits in control.bits or ()]


def _pair(weights: int, activations: int) -> str:
    return f"{weights}/{activations}"
