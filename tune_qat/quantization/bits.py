"""Quantizers of a layer: of which method, at how many bits."""

from typing import Any

import torch

from tune_qat import quantizers
from tune_qat.config import FLOAT_BITS, Scheme
from tune_qat.config.lookup import resolve
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.layer_ops import filters
from tune_qat.quantization.products import Product
from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.spec import ACTIVATIONS, WEIGHTS


class Bits:
    """The quantizers of one layer or product, as the scheme has them."""

    def __init__(self, scheme: Scheme, name: str, *, first_last: bool) -> None:
        self._scheme, self.name, self._first_last = scheme, name, first_last
        self._own = scheme.layer_bits.get(name, (None, None))

    def quantized(self, layer: Any, index: int) -> QuantizedLayer:
        """Return a layer of any type in its quantized form; raise `UsageError` where it has none."""
        weight, inputs = self._of_weight(filters(layer).shape), self._of_inputs()
        return QuantizedLayer(layer, name=self.name, index=index, weight=weight, inputs=inputs)

    def equip(self, product: Product, index: int) -> Product:
        """Give a product its quantizers; both operands have the bits of activations."""
        product.name, product.index = self.name, index
        product.left_quantizer, product.right_quantizer = self._of_inputs(), self._of_inputs()
        return product

    def _of_weight(self, shape: torch.Size) -> Quantizer | None:
        return self._make(WEIGHTS, self._scheme.quantizer, self._scheme.weight_bits, self._own[0], shape)

    def _of_inputs(self) -> Quantizer | None:
        scheme = self._scheme
        return self._make(ACTIVATIONS, scheme.activation_quantizer, scheme.activation_bits, self._own[1], None)

    def _make(
        self, kind: str, method: str, general: int, own: int | None, shape: torch.Size | None
    ) -> Quantizer | None:
        scheme = self._scheme
        used = scheme.first_last_bits if self._first_last and general < FLOAT_BITS else general
        used = used if own is None else own
        if used >= FLOAT_BITS:
            return None
        side = quantizers.get_spec(method).side(kind)
        assert side is not None  # by check_scheme
        options = quantizers.options_of(scheme, kind)
        build = resolve(side.build)
        built: Quantizer = build(bits=used, kind=kind, name=self.name, ste=scheme.ste, shape=shape, **options)
        return built
