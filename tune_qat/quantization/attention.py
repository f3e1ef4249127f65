"""Attention of timm with its two products as modules, so that they can be quantized (Q-ViT, OFQ).

A module keeps its class's parameters, names and options. In place of a fused operation it computes query times key,
softmax, and probabilities times value, each product a `Product`.
"""

import torch
from timm.layers.attention import Attention, maybe_add_mask, resolve_self_attn_mask
from timm.models.swin_transformer import WindowAttention
from torch import nn

from tune_qat.quantization.multihead import Multihead
from tune_qat.quantization.products import Product

QUERY, KEY, PROBABILITIES, VALUE = "query", "key", "probabilities", "value"
SUPPORTED = "timm's Attention (of ViT and DeiT), Swin's WindowAttention and torch's MultiheadAttention"


class UnfusedAttention(Attention):
    """timm's `Attention`; it has the products `qk` and `av`."""

    qk: Product
    av: Product

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False) -> torch.Tensor:
        """Return the attended tokens, shape (b, n, c) as `x`."""
        batch, count, _ = x.shape
        gate = None if self.gate is None else self.gate(x).sigmoid()
        qkv = self.qkv(x).reshape(batch, count, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        query, key = self.q_norm(query), self.k_norm(key)
        logits = self.qk(query * self.scale, key.transpose(-2, -1))
        logits = maybe_add_mask(logits, resolve_self_attn_mask(count, logits, attn_mask, is_causal))
        found = self.av(self.attn_drop(logits.softmax(-1)), value)
        found = self.norm(found.transpose(1, 2).reshape(batch, count, self.attn_dim))
        return self.proj_drop(self.proj(found if gate is None else found * gate))


class UnfusedWindowAttention(WindowAttention):
    """Swin's `WindowAttention`; it has the products `qk` and `av`."""

    qk: Product
    av: Product

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the attended tokens of windows, shape (b * windows, n, c) as `x`; mask: (windows, n, n)."""
        windows, count, _ = x.shape
        query, key, value = self.qkv(x).reshape(windows, count, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        logits = self.qk(query * self.scale, key.transpose(-2, -1)) + self._get_rel_pos_bias()
        if mask is not None:
            by_image = logits.view(-1, len(mask), self.num_heads, count, count)
            logits = (by_image + mask.unsqueeze(1).unsqueeze(0)).view(-1, self.num_heads, count, count)
        found = self.av(self.attn_drop(self.softmax(logits)), value)
        return self.proj_drop(self.proj(found.transpose(1, 2).reshape(windows, count, -1)))


_UNFUSED: dict[type[nn.Module], type[nn.Module]] = {
    Attention: UnfusedAttention,
    WindowAttention: UnfusedWindowAttention,
    Multihead: Multihead,
}


def unfuse(model: nn.Module) -> list[Product]:
    """Give every supported attention of `model` its products `qk` and `av`, in place; return all products."""
    found: list[Product] = []
    for module in model.modules():
        if type(module) in _UNFUSED:
            # A subclass in place: all that others know of the module, its hooks included, stays as it is.
            module.__class__ = _UNFUSED[type(module)]
            module.qk, module.av = Product(QUERY, KEY), Product(PROBABILITIES, VALUE)
            found += [module.qk, module.av]
    return found
