"""Attention as batched matrix products, for training in bf16 on the CPU: the backward of torch's fused kernel is slow there."""

from __future__ import annotations

from functools import cache
from typing import Any

IMPLEMENTATION = "bigmodel-products"
MAX_TOKENS = 512  # beyond it the attention weights, which the fused kernel never materialises, take too much memory


def use_matmul_attention(model: Any, device: str) -> None:
    """Set a transformers network's attention implementation where this one is faster; what is saved stays the same."""
    if device == "cpu" and getattr(model, "_supports_sdpa", False):
        _register()
        model.set_attn_implementation(IMPLEMENTATION)


@cache
def _register() -> None:
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import sdpa_mask

    @cache
    def causal(length: int) -> torch.Tensor:
        return torch.full((length, length), float("-inf"), dtype=torch.bfloat16).triu_(1)

    def attention(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, dropout: float = 0.0,
        scaling: float | None = None, is_causal: bool | None = None, **more: Any,
    ) -> tuple:  # fmt: skip
        """Scaled dot-product attention (Vaswani et al. 2017, equation 1), as transformers calls it.

        query (batch, heads, tokens, width), key and value (batch, heads, context, width), attention_mask bool or additive,
        broadcastable to (batch, heads, tokens, context) -> (batch, tokens, heads, width), None. Grouped heads, dropout, other
        dtypes and evaluation fall back to transformers' own.
        """
        batch, heads, length, width = query.shape
        context = key.shape[2]
        supported = query.dtype == torch.bfloat16 and key.shape[1] == heads and dropout == 0
        if not (module.training and supported and max(length, context) <= MAX_TOKENS):
            return sdpa_attention_forward(
                module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **more
            )
        if is_causal is None:
            is_causal = getattr(module, "is_causal", True) and length > 1 and attention_mask is None
        bias = causal(length) if is_causal and attention_mask is None else attention_mask
        scaling = width**-0.5 if scaling is None else scaling
        with torch.autocast("cpu", enabled=False):
            query, key, value = (one.reshape(batch * heads, -1, one.shape[-1]) for one in (query, key, value))
            if bias is None:
                scores = torch.bmm(query * scaling, key.transpose(1, 2))
            else:
                if bias.dtype == torch.bool:
                    bias = torch.zeros((), dtype=query.dtype).where(bias, float("-inf"))
                bias = (
                    bias.to(query.dtype).expand(batch, heads, length, context).reshape(batch * heads, length, context)
                )
                scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scaling)
            mixed = torch.bmm(torch.softmax(scores, -1), value)
        return mixed.view(batch, heads, length, -1).transpose(1, 2).contiguous(), None

    AttentionInterface.register(IMPLEMENTATION, attention)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
