"""Attention as three matrix products, for training in bf16 on the CPU: torch's fused kernel is slow there on its way back."""

from __future__ import annotations

from functools import cache
from typing import Any

IMPLEMENTATION = "bigmodel-products"
MAX_TOKENS = 512  # tokens; beyond it the weights, which the fused kernel never writes down, take too much memory


def use_matmul_attention(model: Any, device: str) -> None:
    """Let a network of transformers compute its attention so where that is faster; it is saved as it was."""
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
        batch, heads, length, width = query.shape
        seen = key.shape[2]
        plain = (
            query.dtype == torch.bfloat16 and key.shape[1] == heads and dropout == 0 and max(length, seen) <= MAX_TOKENS
        )
        if not (module.training and plain):
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
                bias = bias.to(query.dtype).expand(batch, heads, length, seen).reshape(batch * heads, length, seen)
                scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scaling)
            mixed = torch.bmm(torch.softmax(scores, -1), value)
        return mixed.view(batch, heads, length, -1).transpose(1, 2).contiguous(), None

    AttentionInterface.register(IMPLEMENTATION, attention)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
