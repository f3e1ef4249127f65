"""The state of integer codes: read as its documentation says, it is the same model."""

import copy
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.export.nets import CASES, images, trained
from tests.quantizers.comparison import case
from tune_qat.export.state_file import FORMAT, pack, save_state, unpack
from tune_qat.quantization.model import products, quantized_layers
from tune_qat.quantizers.codes import Codes
from tune_qat.training.checkpoints import load_checkpoint


class FromState(torch.nn.Module):
    """Codes of a stored weight or of an input, by the formulas of docs/export.md."""

    def __init__(self, stored: Mapping[str, Any], method: torch.nn.Module) -> None:
        super().__init__()
        self.stored, self.method = stored, method

    def forward(self, value: torch.Tensor) -> Codes:
        stored = self.stored
        if "codes" in stored:
            codes, scale = unpack(stored).float(), stored["scale"]
            if stored["planes"] == 1:
                return Codes(codes, scale, stored["offset"])
            rows = torch.stack((codes.clamp(min=0), codes.clamp(max=0)), 1).flatten(0, 1)
            sizes = scale.repeat(len(codes)).reshape(-1, *(1,) * (codes.dim() - 1))
            return Codes(rows, sizes, planes=2)
        if stored["uniform"]:
            from_zero = value if stored["offset"] is None else value - stored["offset"]
            codes = (from_zero / stored["scale"]).clamp(stored["minimum"], stored["maximum"]).round()
        else:
            self.method.load_state_dict(stored["parameters"], strict=False)
            codes = self.method(value).code
        return Codes(codes, stored["scale"], stored["offset"])


def rebuilt(model: torch.nn.Module, state: Mapping[str, Any]) -> torch.nn.Module:
    """A copy of `model` with nothing of its own left: every number is the state's."""
    copied = copy.deepcopy(model)
    for value in copied.state_dict().values():
        if isinstance(value, torch.Tensor):
            value.fill_(77)
    missing = copied.load_state_dict(state["rest"], strict=False)
    assert not missing.unexpected_keys
    for layer in quantized_layers(copied):
        stored = state["layers"][layer.name]
        layer.weight_quantizer = FromState(stored["weight"], torch.nn.Identity())  # type: ignore[assignment]
        if layer.input_quantizer is not None:
            layer.input_quantizer = FromState(stored["input"], layer.input_quantizer)  # type: ignore[assignment]
        assert (layer.layer.bias is None) == (stored["bias"] is None)
        if layer.layer.bias is not None:
            layer.layer.bias.data.copy_(stored["bias"])
    for one in products(copied):
        left, right = (state["products"][one.name][role] for role in one.roles)
        one.left_quantizer = FromState(left, one.left_quantizer)  # type: ignore[assignment, arg-type]
        one.right_quantizer = FromState(right, one.right_quantizer)  # type: ignore[assignment, arg-type]
    return copied


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_all_there(case: str, tmp_path: Path) -> None:
    model = trained(case)
    save_state(model, tmp_path / "state.pt")
    state = load_checkpoint(tmp_path / "state.pt")
    assert state["format"] == FORMAT and state["scheme"] == model.config.to_dict()["scheme"]
    inputs, _ = images(50, seed=2)
    with torch.no_grad():
        expected = model.model(inputs)
        # The same arithmetic on the same numbers.
        torch.testing.assert_close(rebuilt(model.model, state)(inputs), expected, rtol=0, atol=0)
        # And a code that differs is seen.
        packed = state["layers"]["strided"]["weight"]["codes"]
        packed.copy_(packed.flip(0))
        assert not torch.equal(rebuilt(model.model, state)(inputs), expected)


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_codes_come_back_from_bytes(width: int) -> None:
    for (minimum, stride), count in product([(0, 1), (-1, 2), (-(2**7), 1)], [1, 7, 8, 45]):
        with case(minimum, stride, count):
            levels = torch.randint(0, 2**width, (count, 1), generator=torch.Generator().manual_seed(count))
            codes = levels * stride + minimum
            grid = {"minimum": minimum, "stride": stride, "width": width}
            packed = pack(codes, **grid)
            assert packed.dtype == torch.uint8 and len(packed) == -(-count * width // 8)
            assert torch.equal(unpack({**grid, "codes": packed, "shape": [count, 1]}).int(), codes.int())


def test_the_first_code_is_in_the_lowest_bits() -> None:
    assert pack(torch.tensor([1, 2, 3, 0, 1]), minimum=0, stride=1, width=2).tolist() == [0b00111001, 0b1]
    assert pack(torch.tensor([1, -1, -1, 1]), minimum=-1, stride=2, width=1).tolist() == [0b1001]


def test_widths_are_those_of_the_documentation(tmp_path: Path) -> None:
    widths = {}
    for method in ("lsq", "dorefa", "dsq", "xnor", "twn", "ttq"):
        save_state(trained(method), tmp_path / f"{method}.pt")
        for layer in load_checkpoint(tmp_path / f"{method}.pt")["layers"].values():
            widths[method, layer["weight"]["bits"]] = layer["weight"]["width"]
            count = torch.Size(layer["weight"]["shape"]).numel()
            assert layer["weight"]["codes"].numel() == -(-count * layer["weight"]["width"] // 8)
    expected = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 8: 8}
    assert widths == {(method, bits): expected[bits] for method, bits in widths}
    assert {bits for method, bits in widths if method == "dorefa"} == set(expected)
