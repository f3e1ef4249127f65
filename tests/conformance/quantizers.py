"""What every quantizer of the table has to keep. A new one adds a subclass to `test_quantizers.py`."""

import io
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

from tests.quantizers.comparison import case
from tune_qat.config import STE_VARIANTS, Scheme, TuneQatError, UsageError
from tune_qat.config.lookup import resolve
from tune_qat.quantization.model import constrain
from tune_qat.quantizers import check_scheme, get_spec, options_of
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes

KINDS = ("weight", "activation")
VALUES = {
    "ordinary": torch.randn((8, 3, 5, 5), generator=torch.Generator().manual_seed(0)),
    "not negative": torch.rand((8, 3, 5, 5), generator=torch.Generator().manual_seed(1)),
    "zero": torch.zeros((4, 6)),
    "constant": torch.full((4, 6), 0.7),
    "negative constant": torch.full((4, 6), -0.7),
    "one element": torch.tensor([[0.3]]),
    "tiny": torch.full((4, 6), 1e-30),
    "huge": 1e20 * torch.randn((4, 6), generator=torch.Generator().manual_seed(2)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_value = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())


class QuantizerConformance:
    """Subclasses name the method, and every bit width that it defines for weights and for activations."""

    name: ClassVar[str]
    bits: ClassVar[dict[str, tuple[int, ...]]]
    stes: ClassVar[tuple[str, ...]] = STE_VARIANTS[:1]
    """Orders of rounding and clipping: one stands for all where the method does not ask which."""
    approximates: ClassVar[bool] = True
    """Whether values stay near what they were; false where a method maps them to a range of its own."""
    decides_sign: ClassVar[bool] = False
    """Whether activations are signed or not as the calibration batch is."""
    clips: ClassVar[bool] = True
    """Whether values far outside go to the ends of the grid, so that more bits come closer."""

    @pytest.fixture
    def spec(self) -> Any:
        return get_spec(self.name)

    def bits_of(self, kind: str) -> tuple[int, ...]:
        if kind not in self.bits:
            pytest.skip("the method quantizes weights alone")
        return self.bits[kind]

    def make(self, kind: str, *, bits: int | None = None, ste: str = STE_VARIANTS[0], **options: Any) -> Quantizer:
        bits = bits or self.bits_of(kind)[0]
        spec = get_spec(self.name)
        scheme = Scheme(quantizer=self.name, weight_bits=bits, activation_bits=bits, options=options)
        side = spec.side(kind)
        assert side is not None
        shape = VALUES["ordinary"].shape if kind == "weight" else None
        quantizer: Quantizer = resolve(side.build)(
            bits=bits, kind=kind, name="block.1.conv", ste=ste, shape=shape, **options_of(scheme, kind)
        )
        return quantizer

    def calibrated(self, kind: str, value: torch.Tensor, **options: Any) -> Quantizer:
        quantizer = self.make(kind, **options)
        quantizer.calibrate(value)
        return quantizer

    def test_describes_itself(self, spec: Any) -> None:
        assert spec.name == self.name and spec.summary and spec.source
        for kind in KINDS:
            side = spec.side(kind)
            assert (side is None) == (kind not in self.bits)
            if side is not None:
                assert set(self.bits[kind]) == set(side.bits), "every bit width is tested"
                quantizer = self.make(kind)
                assert side.parameters == any(True for _ in quantizer.parameters())
                assert (quantizer.bits, quantizer.kind, quantizer.calibrated) == (self.bits[kind][0], kind, False)

    def cases(self, kind: str, value: torch.Tensor) -> Iterator[tuple[str, int, Quantizer]]:
        """Every bit width in every order of rounding and clipping that the method tells apart, calibrated once each."""
        for bits in self.bits_of(kind):
            state = self.calibrated(kind, value, bits=bits).state_dict()
            for ste in self.stes:
                quantizer = self.make(kind, bits=bits, ste=ste)
                quantizer.load_state_dict(state)
                yield f"{bits} bits, {ste}", bits, quantizer

    @every_kind
    def test_the_method_reads_the_order_where_its_class_says_so(self, kind: str) -> None:
        quantizers = [self.calibrated(kind, VALUES["ordinary"], ste=ste) for ste in STE_VARIANTS]
        one, other = (_gradients(quantizer, 2 * VALUES["ordinary"], uses=1) for quantizer in quantizers)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True)) == (len(self.stes) == 1)

    @every_kind
    @every_value
    def test_codes_are_integers_in_range(self, kind: str, value: torch.Tensor) -> None:
        for name, bits, quantizer in self.cases(kind, value):
            with case(name):
                codes = quantizer(value)
                assert isinstance(codes, Codes)
                assert codes.code.dtype == value.dtype
                assert codes.code.shape == (codes.planes * value.shape[0], *value.shape[1:])
                assert codes.value.shape == value.shape
                assert torch.equal(codes.code, codes.code.round())
                assert quantizer.qmin <= codes.code.min() and codes.code.max() <= quantizer.qmax
                assert quantizer.qmin <= 0 <= quantizer.qmax
                assert len(codes.value.unique()) <= 2**bits or codes.scale.dim() > 0
                assert len(codes.code.unique()) <= 2**bits
                assert (quantizer.qmin < 0) == quantizer.signed
                assert not codes.scale.requires_grad and codes.scale.isfinite().all() and (codes.scale > 0).all()

    @every_kind
    def test_values_far_outside_go_to_the_ends(self, kind: str) -> None:
        quantizer = self.calibrated(kind, VALUES["ordinary"])
        if not self.clips:
            pytest.skip("the grid follows the values")
        ends = quantizer(torch.tensor([[-1e6, 1e6]])).code
        assert ends.tolist() == [[quantizer.qmin, quantizer.qmax]]

    @every_kind
    def test_more_bits_come_closer(self, kind: str) -> None:
        errors = []
        for bits in sorted(self.bits_of(kind)):
            found = self.calibrated(kind, VALUES["ordinary"], bits=bits)(VALUES["ordinary"]).value
            errors.append((found - VALUES["ordinary"]).square().mean().item())
        if self.approximates:
            assert errors == sorted(errors, reverse=True)

    def test_activations_decide_on_their_sign(self) -> None:
        if "activation" not in self.bits or not self.decides_sign:
            pytest.skip("the method fixes the sign")
        assert self.calibrated("activation", VALUES["ordinary"]).signed
        assert not self.calibrated("activation", VALUES["not negative"]).signed

    @every_kind
    @every_value
    def test_gradients_are_finite(self, kind: str, value: torch.Tensor) -> None:
        for name, _, quantizer in self.cases(kind, value):
            with case(name):
                leaf = value.clone().requires_grad_()
                codes = quantizer(leaf)
                (codes.code * codes.scale).sum().backward()
                assert leaf.grad is not None and leaf.grad.isfinite().all()
                for parameter in quantizer.parameters():
                    assert parameter.grad is not None and parameter.grad.isfinite().all()
                    assert parameter.grad.shape == parameter.shape

    def test_of_data_gives_the_same_codes_and_the_parameters_gradients(self) -> None:
        # Only a method that has a shorter way of its own can go wrong on it.
        own = (
            get_spec(self.name).side("activation")
            and type(self.make("activation")).codes_of_constant is not Quantizer.codes_of_constant
        )
        for of in VALUES if own else ("ordinary",):
            for name, _, quantizer in self.cases("activation", VALUES[of]):
                with case(of, name):
                    _check_of_data(quantizer, VALUES[of])

    @every_kind
    def test_backward_twice_through_one_use_each(self, kind: str) -> None:
        # A layer that is used twice adds up its gradients.
        for ste in self.stes:
            quantizer = self.calibrated(kind, VALUES["ordinary"], ste=ste)
            once = [g.clone() for g in _gradients(quantizer, VALUES["ordinary"], uses=1)]
            twice = _gradients(quantizer, VALUES["ordinary"], uses=2)
            for single, double in zip(once, twice, strict=True):
                assert torch.equal(2 * single, double), ste

    @every_kind
    def test_use_before_calibration_names_the_layer(self, kind: str) -> None:
        with pytest.raises(TuneQatError, match=rf"'block\.1\.conv'.*{kind}.*calibrated"):
            self.make(kind)(VALUES["ordinary"])
        with pytest.raises(TuneQatError, match=rf"'block\.1\.conv'.*{kind}.*calibrated"):
            self.make(kind).codes_of_constant(VALUES["ordinary"])

    @every_kind
    def test_calibrating_on_what_is_not_finite_names_the_layer(self, kind: str) -> None:
        quantizer = self.make(kind)
        for bad in (float("nan"), float("inf"), float("-inf")):
            with case(bad), pytest.raises(TuneQatError, match=rf"'block\.1\.conv'.*{kind}.*not finite"):
                quantizer.calibrate(torch.tensor([[1.0, bad, 2.0]]))
            assert not quantizer.calibrated

    @every_kind
    def test_calibrating_again_keeps_the_parameters(self, kind: str) -> None:
        quantizer = self.make(kind)
        held = dict(quantizer.named_parameters())
        for value in (VALUES["ordinary"], VALUES["not negative"], 3 * VALUES["ordinary"]):
            quantizer.calibrate(value)
            assert all(parameter is held[name] for name, parameter in quantizer.named_parameters())
            assert dict(quantizer.named_parameters()).keys() == held.keys()
        fresh = self.calibrated(kind, 3 * VALUES["ordinary"])
        assert torch.equal(quantizer(VALUES["ordinary"]).code, fresh(VALUES["ordinary"]).code)

    @every_kind
    @pytest.mark.parametrize("value", [VALUES["ordinary"], VALUES["not negative"]], ids=["signed", "not negative"])
    def test_state_goes_through_a_file_of_plain_data(self, kind: str, value: torch.Tensor) -> None:
        quantizer = self.calibrated(kind, value)
        file = io.BytesIO()
        torch.save(quantizer.state_dict(), file)
        file.seek(0)
        again = self.make(kind)
        held = dict(again.named_parameters())
        again.load_state_dict(torch.load(file, weights_only=True))
        assert again.calibrated and again.signed == quantizer.signed
        assert (again.qmin, again.qmax) == (quantizer.qmin, quantizer.qmax)
        assert all(parameter is held[name] for name, parameter in again.named_parameters())
        before, after = quantizer(value), again(value)
        assert torch.equal(before.code, after.code) and torch.equal(before.scale, after.scale)

    @every_kind
    @pytest.mark.parametrize("pushed_to", [-1.0, 0.0])
    def test_constrain_brings_the_scale_back_above_zero(self, kind: str, pushed_to: float) -> None:
        quantizer = self.calibrated(kind, VALUES["ordinary"])
        with torch.no_grad():
            for parameter in quantizer.parameters():
                parameter.fill_(pushed_to)
        held = dict(quantizer.named_parameters())
        constrain([quantizer.constrain])
        assert all(parameter is held[name] for name, parameter in quantizer.named_parameters())
        assert (quantizer(VALUES["ordinary"]).scale > 0).all()

    @every_kind
    def test_constrain_leaves_a_calibrated_one_alone(self, kind: str) -> None:
        quantizer = self.calibrated(kind, VALUES["ordinary"])
        before = [parameter.clone() for parameter in quantizer.parameters()]
        constrain([quantizer.constrain])
        assert all(torch.equal(a, b) for a, b in zip(before, quantizer.parameters(), strict=True))

    @every_kind
    def test_undefined_bits_are_a_mistake_of_the_user(self, kind: str, spec: Any) -> None:
        side = spec.side(kind)
        for bits in range(1, 10):
            given: dict[str, Any] = {"weight_bits": 32, "activation_bits": 32} | {f"{kind}_bits": bits}
            scheme = Scheme(quantizer=self.name, first_last_bits=32, **given)
            if side is not None and bits in side.bits:
                check_scheme(scheme)
            else:
                with pytest.raises(UsageError, match=f"{kind}_bits (must be 32.*)?is {bits}"):
                    check_scheme(scheme)


def _gradients(quantizer: Quantizer, value: torch.Tensor, *, uses: int) -> list[torch.Tensor]:
    leaf = value.clone().requires_grad_()
    total = sum(((codes := quantizer(leaf)).code * codes.scale).sum() for _ in range(uses))
    return list(torch.autograd.grad(total, [leaf, *quantizer.parameters()]))


def _check_of_data(quantizer: Quantizer, value: torch.Tensor) -> None:
    upstream = torch.randn(value.shape, generator=torch.Generator().manual_seed(quantizer.bits))
    codes, codes_of_constant = quantizer(value), quantizer.codes_of_constant(value)
    assert torch.equal(codes_of_constant.code, codes.code) and torch.equal(codes_of_constant.scale, codes.scale)
    assert codes.slopes == ()
    if not codes_of_constant.slopes:
        # No shorter way for this method: the codes themselves lead back.
        assert codes_of_constant.code.requires_grad == codes.code.requires_grad
        return
    assert not codes_of_constant.code.requires_grad
    assert len(codes_of_constant.slopes) == len(list(quantizer.parameters()))
    for parameter, slope in codes_of_constant.slopes:
        (expected,) = torch.autograd.grad((upstream * codes.code).sum(), parameter, retain_graph=True)
        assert any(parameter is own for own in quantizer.parameters()) and slope.shape == value.shape
        found = (upstream * slope).sum()
        # Float32: a sum of at most 600 terms, each rounded a few times, in two orders.
        largest = float((upstream * slope).abs().sum())
        assert float(found) == pytest.approx(float(expected), rel=1e-5, abs=1e-6 * largest)
