"""Models that cannot be quantized, layers that are left as they are, and inputs that are no floating-point numbers."""

import pytest
import torch
from timm.layers.std_conv import StdConv2d
from torch import nn

from tune_qat.config import Scheme, UsageError
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.layer_rows import layer_results
from tune_qat.quantization.model import calibrate, quantize, quantized_layers

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.middle(self.first(x).relu()).relu())


class Drawing(Chain):
    """Draws numbers in evaluation, too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(x, 0.5))


class Alternating(Chain):
    """Takes another way every second time."""

    turns = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.turns += 1
        return super().forward(x) if self.turns % 2 else self.last(self.first(self.middle(x)))


class Growing(Chain):
    """Gives what its first calls gave, too."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.before.append(super().forward(x))
        return torch.cat(self.before)


@pytest.mark.parametrize("kind", [Drawing, Alternating, Growing])
def test_a_forward_that_changes_between_calls(kind: type[Chain]) -> None:
    torch.manual_seed(0)  # two draws may be the same
    with pytest.raises(UsageError, match=rf"Model {kind.__name__} gives another output when it is run again"):
        quantize(kind(), Scheme(), X[:1])


def test_outputs_of_several_tensors_are_compared_too() -> None:
    class Several(Chain):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
            return {"same": super().forward(x), "drawn": torch.rand(3)}

    with pytest.raises(UsageError, match="another output"):
        quantize(Several(), Scheme(), X[:1])


class TestTied:
    def test_separate_layers_with_one_weight(self) -> None:
        model = Chain()
        model.last.weight = model.first.weight
        with pytest.raises(UsageError, match=r"'first', 'last' share one weight.*\"last\" = \"float\""):
            quantize(model, Scheme(), X[:1])
        assert isinstance(model.last, nn.Linear)

    def test_one_of_them_left_is_still_tied(self) -> None:
        model = Chain()
        model.last.weight = model.first.weight
        with pytest.raises(UsageError, match="share one weight"):
            quantize(model, Scheme(float_layers=("last",)), X[:1])
        quantize(model, Scheme(float_layers=("last", "first")), X[:1])

    def test_an_embedding_and_a_head(self) -> None:
        model = Tokens()
        model.head.weight = model.embedding.weight
        with pytest.raises(UsageError, match="'embedding', 'head' share one weight"):
            quantize(model, Scheme(), torch.zeros(1, 7, dtype=torch.int64))
        quantize(model, Scheme(float_layers=("head",)), torch.zeros(1, 7, dtype=torch.int64))
        assert model.head.weight is model.embedding.weight


class TestFloatLayers:
    def test_stay_what_they_are_and_keep_their_place(self) -> None:
        model = Chain()
        before = model.first
        quantize(model, Scheme(float_layers=("first",)), X[:1])
        calibrate(model, X)
        assert model.first is before
        rows = [(row.layer, row.layer_index, row.bits) for row in layer_results(model) if row.kind == "weight"]
        # The first layer is still the first: the one behind it does not take its bits.
        assert rows == [("middle", 1, 4), ("last", 2, 8)]

    def test_may_be_of_a_type_that_cannot_be_quantized(self) -> None:
        model = nn.Sequential(StdConv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 3))
        quantize(model, Scheme(float_layers=("0",)), torch.zeros(1, 1, 9, 9))
        assert type(model[0]) is StdConv2d and isinstance(model[1], QuantizedLayer)

    def test_may_be_recurrent_which_no_layer_on_codes_is(self) -> None:
        class Recurrent(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.rnn, self.head = nn.GRU(4, 4, batch_first=True), nn.Linear(4, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.head(self.rnn(x)[0])

        with pytest.raises(UsageError, match=r"'rnn' is a GRU, which cannot be .*\"rnn\" = \"float\""):
            quantize(Recurrent(), Scheme(), X[None])
        model = quantize(Recurrent(), Scheme(float_layers=("rnn",)), X[None])
        assert [layer.name for layer in quantized_layers(model)] == ["head"]

    def test_may_be_out_of_reach(self) -> None:
        model = Chain()
        model.spare = nn.Linear(4, 4)
        with pytest.raises(UsageError, match=r"does not reach.*: spare\. .*\"spare\" = \"float\""):
            quantize(model, Scheme(), X[:1])
        quantize(model, Scheme(float_layers=("spare",)), X[:1])
        assert len(quantized_layers(model)) == 3

    def test_have_to_be_there(self) -> None:
        with pytest.raises(UsageError, match=r"float_layers names a layer 'lst'.*Did you mean 'last'\?"):
            quantize(Chain(), Scheme(float_layers=("lst",)), X[:1])

    def test_cannot_be_all(self) -> None:
        with pytest.raises(UsageError, match="All layers of Chain are left in floating point"):
            quantize(Chain(), Scheme(float_layers=("first", "middle", "last")), X[:1])


def test_a_layer_that_is_given_more_than_its_input() -> None:
    class Upsampling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(1, 1, 3, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(x, output_size=(8, 8))

    with pytest.raises(UsageError, match=r"'up' is called with more than its input \(1 by position, output_size\)"):
        quantize(Upsampling(), Scheme(), torch.zeros(1, 1, 3, 3))


class Tokens(nn.Module):
    """Token ids: an embedding, a convolution over the sequence, a head in the embedding's shape."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.mix, self.head = nn.Conv1d(6, 6, 3, padding=1), nn.Linear(6, 11)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.mix(self.embedding(ids).transpose(1, 2)).relu().transpose(1, 2))


def test_token_ids() -> None:
    ids = torch.randint(0, 11, (5, 7), generator=torch.Generator().manual_seed(0))
    model = Tokens()
    quantize(model, Scheme(), ids[:1])
    calibrate(model, ids)
    assert [(row.layer, row.kind) for row in layer_results(model)] == [
        ("mix", "weight"),
        ("mix", "activation"),
        ("head", "weight"),
        ("head", "activation"),
    ]
    model(ids).square().sum().backward()
    assert model.embedding.weight.grad is not None and model.embedding.weight.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
