"""What every quantizer of the table has to keep. A new one adds a subclass to `test_quantizers.py`."""

import io
from typing import Any, ClassVar

import pytest
import torch

from tune_qat.config import STE_VARIANTS, Scheme, TuneQatError, UsageError
from tune_qat.lookup import resolve
from tune_qat.quantize import constrain
from tune_qat.quantizers import check_scheme, get_spec
from tune_qat.quantizers.base import Codes, Quantizer

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
every_ste = pytest.mark.parametrize("ste", STE_VARIANTS)


class QuantizerConformance:
    """Subclasses name the quantizer, and a bit width each of the unsigned and signed grids is tested at."""

    name: ClassVar[str]
    bits: ClassVar[tuple[int, ...]]

    @pytest.fixture
    def spec(self) -> Any:
        return get_spec(self.name)

    def make(self, kind: str, *, bits: int | None = None, ste: str = STE_VARIANTS[0]) -> Quantizer:
        build = resolve(get_spec(self.name).build)
        quantizer: Quantizer = build(bits=bits or self.bits[0], kind=kind, name="block.1.conv", ste=ste)
        return quantizer

    def calibrated(self, kind: str, value: torch.Tensor, **options: Any) -> Quantizer:
        quantizer = self.make(kind, **options)
        quantizer.calibrate(value)
        return quantizer

    def test_describes_itself(self, spec: Any) -> None:
        assert spec.name == self.name and spec.summary and spec.source and spec.why_not_less
        assert set(self.bits) == set(spec.bits), "every bit width is tested"
        for kind in KINDS:
            quantizer = self.make(kind)
            assert (quantizer.bits, quantizer.kind, quantizer.calibrated) == (self.bits[0], kind, False)

    @every_kind
    @every_value
    @every_ste
    def test_codes_are_integers_in_range(self, kind: str, value: torch.Tensor, ste: str) -> None:
        for bits in self.bits:
            quantizer = self.calibrated(kind, value, bits=bits, ste=ste)
            codes = quantizer(value)
            assert isinstance(codes, Codes)
            assert codes.code.shape == value.shape and codes.code.dtype == value.dtype
            assert torch.equal(codes.code, codes.code.round())
            assert quantizer.qmin <= codes.code.min() and codes.code.max() <= quantizer.qmax
            assert quantizer.qmin <= 0 <= quantizer.qmax
            assert quantizer.qmax - quantizer.qmin < 2**bits
            assert (quantizer.qmin < 0) == quantizer.signed
            assert not codes.scale.requires_grad and codes.scale.isfinite().all() and (codes.scale > 0).all()

    @every_kind
    def test_values_far_outside_go_to_the_ends(self, kind: str) -> None:
        quantizer = self.calibrated(kind, VALUES["ordinary"])
        ends = quantizer(torch.tensor([[-1e6, 1e6]])).code
        assert ends.tolist() == [[quantizer.qmin, quantizer.qmax]]

    @every_kind
    def test_more_bits_come_closer(self, kind: str) -> None:
        errors = []
        for bits in sorted(self.bits):
            codes = self.calibrated(kind, VALUES["ordinary"], bits=bits)(VALUES["ordinary"])
            offset = 0 if codes.offset is None else codes.offset
            errors.append((codes.code * codes.scale + offset - VALUES["ordinary"]).square().mean().item())
        assert errors == sorted(errors, reverse=True)

    def test_activations_decide_on_their_sign(self) -> None:
        assert self.calibrated("activation", VALUES["ordinary"]).signed
        assert not self.calibrated("activation", VALUES["not negative"]).signed

    @every_kind
    @every_value
    @every_ste
    def test_gradients_are_finite(self, kind: str, value: torch.Tensor, ste: str) -> None:
        for bits in self.bits:
            quantizer = self.calibrated(kind, value, bits=bits, ste=ste)
            leaf = value.clone().requires_grad_()
            codes = quantizer(leaf)
            (codes.code * codes.scale).sum().backward()
            assert leaf.grad is not None and leaf.grad.isfinite().all()
            for parameter in quantizer.parameters():
                assert parameter.grad is not None and parameter.grad.isfinite().all()
                assert parameter.grad.shape == parameter.shape

    @every_value
    @every_ste
    def test_of_data_gives_the_same_codes_and_the_parameters_gradients(self, value: torch.Tensor, ste: str) -> None:
        for bits in self.bits:
            quantizer = self.calibrated("activation", value, bits=bits, ste=ste)
            upstream = torch.randn(value.shape, generator=torch.Generator().manual_seed(bits))
            codes, of_data = quantizer(value), quantizer.of_data(value)
            assert torch.equal(of_data.code, codes.code) and torch.equal(of_data.scale, codes.scale)
            assert not of_data.code.requires_grad
            assert codes.slopes == () and len(of_data.slopes) == len(list(quantizer.parameters()))
            for parameter, slope in of_data.slopes:
                (expected,) = torch.autograd.grad((upstream * codes.code).sum(), parameter, retain_graph=True)
                assert any(parameter is own for own in quantizer.parameters()) and slope.shape == value.shape
                found = (upstream * slope).sum()
                # Float32: a sum of at most 600 terms, each rounded a few times, in two orders.
                largest = float((upstream * slope).abs().sum())
                assert float(found) == pytest.approx(float(expected), rel=1e-5, abs=1e-6 * largest)

    @every_kind
    @every_ste
    def test_backward_twice_through_one_use_each(self, kind: str, ste: str) -> None:
        # A layer that is used twice adds up its gradients.
        quantizer = self.calibrated(kind, VALUES["ordinary"], ste=ste)
        once = [g.clone() for g in _gradients(quantizer, VALUES["ordinary"], uses=1)]
        twice = _gradients(quantizer, VALUES["ordinary"], uses=2)
        for single, double in zip(once, twice, strict=True):
            assert torch.equal(2 * single, double)

    @every_kind
    def test_use_before_calibration_names_the_layer(self, kind: str) -> None:
        with pytest.raises(TuneQatError, match=rf"'block\.1\.conv'.*{kind}.*calibrated"):
            self.make(kind)(VALUES["ordinary"])
        with pytest.raises(TuneQatError, match=rf"'block\.1\.conv'.*{kind}.*calibrated"):
            self.make(kind).of_data(VALUES["ordinary"])

    @every_kind
    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    def test_calibrating_on_what_is_not_finite_names_the_layer(self, kind: str, bad: float) -> None:
        quantizer = self.make(kind)
        with pytest.raises(TuneQatError, match=rf"'block\.1\.conv'.*{kind}.*not finite"):
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
        constrain([quantizer])
        assert all(parameter is held[name] for name, parameter in quantizer.named_parameters())
        assert (quantizer(VALUES["ordinary"]).scale > 0).all()

    @every_kind
    def test_constrain_leaves_a_calibrated_one_alone(self, kind: str) -> None:
        quantizer = self.calibrated(kind, VALUES["ordinary"])
        before = [parameter.clone() for parameter in quantizer.parameters()]
        constrain([quantizer])
        assert all(torch.equal(a, b) for a, b in zip(before, quantizer.parameters(), strict=True))

    def test_undefined_bits_are_a_mistake_of_the_user(self, spec: Any) -> None:
        for bits in (spec.bits.start - 1, spec.bits.stop):
            with pytest.raises(UsageError, match=f"weight_bits is {bits}"):
                check_scheme(Scheme(quantizer=self.name, weight_bits=bits, activation_bits=spec.bits.start))
        for bits in (*spec.bits, 32):
            check_scheme(Scheme(quantizer=self.name, weight_bits=bits, activation_bits=spec.bits.start))


def _gradients(quantizer: Quantizer, value: torch.Tensor, *, uses: int) -> list[torch.Tensor]:
    leaf = value.clone().requires_grad_()
    total = sum(((codes := quantizer(leaf)).code * codes.scale).sum() for _ in range(uses))
    return list(torch.autograd.grad(total, [leaf, *quantizer.parameters()]))
