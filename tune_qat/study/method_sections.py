"""The section of a study file on quantization: methods, bits, and mixed precision."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from tune_qat.config import FLOAT_BITS, STE_VARIANTS
from tune_qat.config.shown import shown
from tune_qat.study.begun import GroupCosts
from tune_qat.study.sections import AtLeastOne, Positive, Section, check_names

BUDGETS = ("average_weight_bits", "weight_bytes", "bit_operations")
"""Keys of the budget of mixed precision, of which one is given."""
Limits = Positive | Annotated[list[Positive], Field(min_length=1)]


class MethodSection(Section):
    """A quantizer, its options, and the pairs of weight and activation bits to train it at."""

    quantizer: str = "lsq"
    """Method of weights, and of activations where these have no other."""
    activation_quantizer: str | None = None
    """Another method for activations."""
    options: dict[str, Any] = {}
    """Options of the methods, such as `per_channel`."""
    layers: dict[str, list[int] | Literal["float"]] = {}
    """[weight bits, activation bits] of layers by name, in place of all else; "float" leaves one as it is."""
    attention: bool = False
    """Whether the two products of attention are quantized, too."""
    bits: Annotated[list[list[int]], Field(min_length=1)]
    """Pairs of weight and activation bits; [32, 32] is floating point."""
    first_last_bits: int | None = None
    """Bits of the first and the last layer; as in the method's paper where they are left out."""
    ste: Literal[STE_VARIANTS] = "clip_then_round"  # type: ignore[valid-type]
    """Order in the straight-through estimator."""

    @field_validator("layers", mode="before")
    @classmethod
    def _layers(cls, layers: Any) -> Any:
        for name, bits in layers.items() if isinstance(layers, dict) else ():
            if bits != "float" and not (isinstance(bits, list) and all(type(one) is int for one in bits)):
                raise ValueError(f'{name} must be [weight bits, activation bits] or "float", but got {shown(bits)}')
        return layers

    @field_validator("bits")
    @classmethod
    def _pairs(cls, bits: list[list[int]]) -> list[list[int]]:
        for pair in bits:
            if len(pair) != 2:
                raise ValueError(f"each entry must be [weight bits, activation bits], but got {shown(pair)}")
        if len({tuple(pair) for pair in bits}) != len(bits):
            raise ValueError(f"each pair of bits may appear once, but got {shown(bits)}")
        return bits


class NamedMethodSection(MethodSection):
    """A method beside the section's own."""

    name: str
    """Name of the method in tables and figures."""


class MixedSection(Section):
    """Schemes whose layers have bits of their own, the same for weights and inputs, within exactly one kind of budget.

    A list of budgets makes a scheme each. The first and the last layer stay as the method has them.
    """

    average_weight_bits: Limits | None = None
    """Most bits of a weight, the mean over the weights of the layers that bits are allocated to."""
    weight_bytes: Limits | None = None
    """Most bytes of the whole model's weights, as `weight_bytes` of the table `costs` has them."""
    bit_operations: Limits | None = None
    """Most bit operations of one sample in the whole model, as `bit_operations` of the table `costs` has them."""
    candidates: list[int]
    """Bits that a layer may have."""
    by: Literal["hessian", "loss", "search"] = "hessian"
    """Sensitivity of a layer at a candidate: `hessian`, the average trace of the Hessian times the squared error of
    its weights (HAWQ-V2); `loss`, how far the loss moves when this layer alone is quantized. Or `search`: in joint
    mode, the search proposes the bits of each of `groups`."""
    groups: Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], Field(max_length=8)] = {}
    """Layers by name of their group, whose bits are the same and are searched, with by = "search"."""
    samples: AtLeastOne = 512
    """Training samples that sensitivities are measured on, drawn by the seed; all of them, where there are fewer."""
    probes: AtLeastOne = 50
    """Random vectors that traces are estimated with (Hutchinson); `hessian` alone."""

    @field_validator(*BUDGETS, mode="before")
    @classmethod
    def _limits(cls, given: Any) -> Any:
        limits = given if isinstance(given, list) else [given]
        sound = limits and all(type(one) in (int, float) and 0 < one < float("inf") for one in limits)
        if given is not None and not (sound and len(set(limits)) == len(limits)):
            raise ValueError(f"must be a number above 0, or a list of such, each once, but got {shown(given)}")
        return given

    @field_validator("candidates")
    @classmethod
    def _ascending(cls, candidates: list[int]) -> list[int]:
        if len(candidates) < 2 or sorted(set(candidates)) != candidates:
            raise ValueError(f"must be two or more numbers that rise, but got {shown(candidates)}")
        return candidates

    @model_validator(mode="after")
    def _one_budget(self) -> "MixedSection":
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            has = f"but got {' and '.join(given)}" if given else "but got none"
            raise ValueError(f"needs exactly one of {', '.join(BUDGETS)}, {has}")
        if (self.by == "search") != bool(self.groups):
            raise ValueError('groups and by = "search" belong together: groups name the layers whose bits are searched')
        if self.by == "search" and isinstance(getattr(self, given[0]), list):
            raise ValueError('by = "search" takes one budget: write a study for each')
        layers = [layer for named in self.groups.values() for layer in named]
        if twice := sorted({layer for layer in layers if layers.count(layer) > 1}):
            raise ValueError(f"groups must have each layer once, but {twice[0]!r} stands in several places")
        return self

    @field_validator("groups")
    @classmethod
    def _plain_names(cls, groups: dict[str, list[str]]) -> dict[str, list[str]]:
        check_names(list(groups), "a group's name")
        return groups


class QuantizationSection(MethodSection):
    """Methods and bits of the arms; [32, 32] among the bits is the floating-point control."""

    methods: list[NamedMethodSection] = []
    """Further methods, each with its own arms."""
    mixed: MixedSection | None = None
    """Schemes of this section's method whose layers have bits of their own, within a budget."""
    search_bits: bool = False
    """In joint mode: one search over all pairs of `bits` in place of one for each."""
    weight_decay_factors: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Factors of weight decay at these weight bits, as "2" = 0.25; 1 at all others."""
    _allocated: Mapping[str, Mapping[str, int]] = PrivateAttr(default_factory=dict)
    _group_costs: GroupCosts | None = PrivateAttr(default=None)

    @property
    def allocated(self) -> Mapping[str, Mapping[str, int]]:
        """Bits by layer of the mixed schemes that have them, by name; not in the file."""
        return self._allocated

    @property
    def group_costs(self) -> GroupCosts | None:
        """Costs of the groups whose bits are searched; None until the model has been built. Not in the file."""
        return self._group_costs

    def allocated_as(self, bits: Mapping[str, Mapping[str, int]], group_costs: GroupCosts | None = None) -> Self:
        """Return the section with these bits by layer of mixed schemes, by name, and costs of groups."""
        section = self.model_copy()
        section._group_costs = group_costs
        section._allocated = {name: dict(layers) for name, layers in bits.items()}
        return section

    @field_validator("methods")
    @classmethod
    def _names(cls, methods: list[NamedMethodSection]) -> list[NamedMethodSection]:
        check_names([method.name for method in methods], "a method's name")
        if any([FLOAT_BITS, FLOAT_BITS] in method.bits for method in methods):
            raise ValueError("[32, 32], the control of all methods, belongs in quantization.bits")
        return methods

    @field_validator("weight_decay_factors")
    @classmethod
    def _bit_widths(cls, factors: dict[str, float]) -> dict[str, float]:
        for key in factors:
            if not (key.isdecimal() and len(key) < 3 and 1 <= int(key) <= FLOAT_BITS):
                raise ValueError(f"keys must be weight bits, from 1 to {FLOAT_BITS}, but got {shown(key)}")
        return factors
