"""Multiply-accumulates, against those that follow from the shapes by hand."""

import pytest
import torch
from torch import nn

from tune_qat.quantization.macs import count
from tune_qat.quantization.multihead import rebuilt


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(5, 3), (1, 5), 15),
        (nn.Linear(5, 3), (1, 7, 5), 7 * 15),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (1, 4, 8, 10), 80 * 6 * 2 * 9),
        (nn.Conv1d(2, 3, 4, stride=2), (1, 2, 10), 4 * 3 * 2 * 4),
        # Each of 9 inputs of 2 channels meets 3 x 16 weights.
        (nn.ConvTranspose2d(2, 3, 4, stride=2), (1, 2, 3, 3), 9 * 2 * 3 * 16),
    ],
)
def test_of_one_layer(layer: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    found = count(layer, torch.zeros(shape))
    assert found.layers == {type(layer).__name__: expected} and found.total == expected and found.products == 0


def test_products_of_attention_are_told_apart() -> None:
    model = rebuilt(nn.MultiheadAttention(8, 2, batch_first=True))

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = model

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.attention(tokens, tokens, tokens, need_weights=False)[0]
            return found

    found = count(Own().train(), torch.zeros(1, 5, 8))
    assert found.products == 2 * 5 * 5 * 8  # query times key, and probabilities times value
    assert found.total == found.products + 4 * 5 * 8 * 8
    assert model.training and all(one.requires_grad for one in model.parameters())
