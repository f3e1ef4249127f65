"""Arms of a study: what is searched for by itself, with a sampler and an ASHA of its own."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tune_qat import quantizers
from tune_qat.config import Scheme, UsageError
from tune_qat.quantizers.spec import ACTIVATIONS, WEIGHTS
from tune_qat.study.method_sections import MethodSection, QuantizationSection
from tune_qat.study.mistakes import reported_at
from tune_qat.study.mixed import mixed_schemes
from tune_qat.study.space import BITS_INDEX

OWN, OWN_RATE, ADAM, SGD = "own", "own_rate", "adam", "sgd"
"""Who moves the parameters of quantizers: see `study.steps`."""
_STEPS = "steps_"
_VARIANT = re.compile(rf"-((?:{_STEPS}|worsened_)\w+)(-r\d+)?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One optimizer at one bit width (all optimizers in joint mode): its own sampler, its own ASHA."""

    arm_id: str
    schemes: tuple[Scheme, ...]
    """One, unless bits are searched."""
    method: str
    """The study's name of the method: its quantizer where it has one method alone; none at 32/32."""
    optimizers: tuple[str, ...]
    """One in comparison mode."""
    repeat: int
    """Number of the repeat in the whole study, from 0."""
    step_optimizer: str = OWN
    """Who moves the parameters of quantizers."""
    control: str | None = None
    """Kind of a control beside the one at 32/32, `worsened`."""
    control_for: str | None = None
    """Bits that such a control is for, as "4/4"."""

    @property
    def optimizer(self) -> str | None:
        """The arm's optimizer; None in joint mode."""
        return self.optimizers[0] if len(self.optimizers) == 1 else None

    @property
    def name(self) -> str:
        """The arm's name in all of its repeats."""
        return self.arm_id.removesuffix(of_repeat(self.repeat))

    @property
    def scheme(self) -> Scheme:
        """The arm's scheme; where bits are searched the first, which has all but the bits of the others."""
        return self.schemes[0]

    @property
    def searches_bits(self) -> bool:
        return len(self.schemes) > 1

    @property
    def quantizer_options(self) -> dict[str, Any]:
        """Every option of the arm's methods, the table's values included."""
        if self.scheme.is_float:
            return {}
        return quantizers.options_of(self.scheme, WEIGHTS) | quantizers.options_of(self.scheme, ACTIVATIONS)


def methods_of(section: QuantizationSection) -> dict[Scheme, str]:
    """Name the method of each scheme, in the order of the file."""
    found = dict.fromkeys(_schemes(section), section.quantizer)
    for number, part in enumerate(section.methods):
        with reported_at(f"quantization.methods.{number}"):
            for scheme in _schemes(part):
                if scheme in found:
                    raise UsageError(f"{part.name!r} is at {scheme.label} the same as {found[scheme]!r}.")
                found[scheme] = part.name
    for name, scheme in mixed_schemes(section).items():
        if scheme in found:
            raise UsageError(
                f"The layers of {name!r} have the same bits as those of {found[scheme]!r}: leave one of the two out."
            )
        found[scheme] = name
    return {scheme: "none" if scheme.is_float else name for scheme, name in found.items()}


def arms_of(
    section: QuantizationSection,
    optimizers: Sequence[str],
    *,
    joint: bool,
    repeats: Iterable[int],
    levels: Callable[[str, Scheme], Sequence[str]] = lambda optimizer, scheme: (OWN,),
) -> Iterator[Arm]:
    """Make every arm in the order of the file: by bits, then by optimizer, by who moves quantizers, by repeat.

    `levels` says who may move the quantizers' parameters, by optimizer and scheme.
    """
    methods, named = methods_of(section), {part.name for part in section.methods}
    mixed = mixed_schemes(section)
    groups = [tuple(optimizers)] if joint else [(name,) for name in optimizers]
    for schemes in [tuple(methods)] if section.search_bits else [(scheme,) for scheme in methods]:
        method, bits = methods[schemes[0]], schemes[0].label if len(schemes) == 1 else BITS_INDEX
        words = [method] if method in mixed else [method, bits] if method in named else [bits]
        for group in groups:
            for level in levels(group[0], schemes[0]):
                own = [] if level == OWN else [f"{_STEPS}{level}"]
                name = "-".join(["joint" if joint else group[0], *words, *own])
                for repeat in repeats:
                    yield Arm(
                        arm_id=f"{name}{of_repeat(repeat)}",
                        schemes=schemes,
                        method=method,
                        optimizers=group,
                        repeat=repeat,
                        step_optimizer=level,
                    )


def variant_in(arm_id: str) -> str:
    """Return the word in an arm's id that sets it apart from others of its optimizer and bits; empty without one."""
    found = _VARIANT.search(arm_id)
    return found[1] if found else ""


def level_in(arm_id: str) -> str:
    """Return who moves the quantizers' parameters of an arm, from its id."""
    found = variant_in(arm_id)
    return found.removeprefix(_STEPS) if found.startswith(_STEPS) else OWN


def of_repeat(number: int) -> str:
    """Return the end of an arm's id in a repeat; nothing in the first."""
    return f"-r{number + 1}" if number else ""


def _schemes(part: MethodSection) -> list[Scheme]:
    """Make a scheme for each pair of bits."""
    return [
        quantizers.scheme_of(
            quantizer=part.quantizer,
            activation_quantizer=part.activation_quantizer,
            weight_bits=weight,
            activation_bits=activation,
            first_last_bits=part.first_last_bits,
            ste=part.ste,
            options=part.options,
            layer_bits=part.layers,
            attention=part.attention,
        )
        for weight, activation in part.bits
    ]
