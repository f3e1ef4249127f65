"""Torch's multi-head attention from linear layers, which can be quantized; torch's own reads weights and calls none."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tune_qat.config import UsageError
from tune_qat.quantization.products import Product

_PARTS = ("q_proj", "k_proj", "v_proj")
_PACKED = "in_proj_"
"""Begin of the names of torch's tensors that hold the three projections one below the other."""


class Multihead(nn.Module):
    """`nn.MultiheadAttention` with its weights in four `nn.Linear`; arguments and outputs are torch's.

    As long as none of the three projections of inputs is quantized, the state has torch's own names, and a state with
    these names can be loaded into it.
    """

    in_proj_bias = None
    _qkv_same_embed_dim = False
    """Both keep `nn.TransformerEncoderLayer` from its fast path, which reads weights and calls no layer."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.head_dim = attention.embed_dim, attention.num_heads, attention.head_dim
        self.batch_first, self.dropout = attention.batch_first, attention.dropout
        biases = [None] * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
        parts = zip(attention.in_proj_weight.chunk(3), biases, strict=True)
        learns = attention.in_proj_weight.requires_grad
        self.q_proj, self.k_proj, self.v_proj = (_linear(weight, bias, learns) for weight, bias in parts)
        out = attention.out_proj
        self.out_proj = _linear(out.weight, out.bias, out.weight.requires_grad)
        self.qk: Product | None = None
        self.av: Product | None = None
        self.train(attention.training)
        self.register_state_dict_post_hook(_pack)
        self.register_load_state_dict_pre_hook(_unpack)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return attended values in the query's shape, and the probabilities where `need_weights`, as torch does."""
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is a hint on attn_mask, which is missing.")
        batched = query.dim() == 3
        if not batched:
            query, key, value = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        query, key, value = (
            one.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for one in (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        )
        mask = self._mask(attn_mask, key_padding_mask, query)
        attended, weights = self._attend(query, key, value, mask, need_weights=need_weights)
        output = self.out_proj(attended.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if not batched:
            return output.squeeze(0), None if weights is None else weights.squeeze(0)
        return output if self.batch_first else output.transpose(0, 1), weights

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        *,
        need_weights: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the attended values (b, heads, n, d), and the probabilities (b, heads, n, m) where they are needed."""
        dropout = self.dropout if self.training else 0.0
        if self.qk is None and not need_weights:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout), None
        query, key = query * math.sqrt(1 / self.head_dim), key.transpose(-2, -1)
        logits = query @ key if self.qk is None else self.qk(query, key)
        probabilities = F.dropout((logits if mask is None else logits + mask).softmax(-1), dropout)
        attended = probabilities @ value if self.av is None else self.av(probabilities, value)
        return attended, probabilities if need_weights else None

    def _mask(
        self, mask: torch.Tensor | None, padding: torch.Tensor | None, query: torch.Tensor
    ) -> torch.Tensor | None:
        """Return both masks in one that is added to the logits, in a shape that broadcasts to theirs."""
        parts = []
        if mask is not None:
            added = _added(mask, query)
            parts.append(added if mask.dim() == 2 else added.unflatten(0, (-1, self.num_heads)))
        if padding is not None:
            parts.append(_added(padding, query)[:, None, None])
        return sum(parts[1:], start=parts[0]) if parts else None


def rebuilt(model: nn.Module) -> nn.Module:
    """Replace every `nn.MultiheadAttention` of `model` by a `Multihead` with its weights, in place.

    Attention of timm's BEiT, EVA and Swin V2 is told to call its layer `qkv`, in place of reading its weight.

    Returns the model, or what replaces it. Modules that override its forward pass stay as they are.

    Raises `UsageError` for attention with options that linear layers do not have.
    """
    replaced: dict[int, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and type(module).forward is nn.MultiheadAttention.forward:
            _check(module, name)
            replaced[id(module)] = Multihead(module)
        elif isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # of the same fast path
        elif getattr(module, "qkv_bias_separate", None) is False:
            module.qkv_bias_separate = True
    return exchange(model, replaced)


def exchange(model: nn.Module, replaced: Mapping[int, nn.Module]) -> nn.Module:
    """Put modules in the place of others, given by `id`, in place; return the model, or what replaces it."""
    for parent in list(model.modules()):
        # Not named_children(), which leaves out a second name of the same module.
        for name, child in list(parent._modules.items()):
            if id(child) in replaced:
                setattr(parent, name, replaced[id(child)])
    return replaced.get(id(model), model)


def _check(attention: nn.MultiheadAttention, name: str) -> None:
    used = {
        "add_bias_kv": attention.bias_k is not None,
        "add_zero_attn": attention.add_zero_attn,
        "kdim or vdim": not attention._qkv_same_embed_dim,
    }
    options = [option for option, is_used in used.items() if is_used]
    if options:
        raise UsageError(
            f"Layer {name or type(attention).__name__!r} is a MultiheadAttention with {', '.join(options)}, which is "
            "not rebuilt from linear layers. Leave that option out of the model."
        )


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, requires_grad: bool) -> nn.Linear:
    """Return a layer that owns copies of these; no random number is drawn."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach().clone(), requires_grad=requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone(), requires_grad=requires_grad)
    return layer


def _added(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a mask as torch adds it to logits: minus infinity where a boolean one is set."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, -math.inf)


def _pack(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    if not all(isinstance(getattr(module, part), nn.Linear) for part in _PARTS):
        return
    for kind in ("weight", "bias"):
        names = [f"{prefix}{part}.{kind}" for part in _PARTS]
        if all(name in state for name in names):
            state[f"{prefix}{_PACKED}{kind}"] = torch.cat([state.pop(name) for name in names])


def _unpack(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for kind in ("weight", "bias"):
        packed = state.pop(f"{prefix}{_PACKED}{kind}", None)
        if packed is not None:
            for part, values in zip(_PARTS, packed.chunk(3), strict=True):
                state[f"{prefix}{part}.{kind}"] = values
