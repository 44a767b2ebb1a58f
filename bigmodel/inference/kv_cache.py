"""How a causal language model reads on: token by token as it comes, or on a GPU as one recorded piece of work.

A token of a small batch costs a GPU next to nothing and its processor some hundred calls. Recorded as a CUDA graph they
are one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CACHE_BLOCK_TOKENS = (
    256  # tokens: what is kept of a text grows by as many, so that attention does not look at room nobody uses
)
MIN_TOKENS_FOR_GRAPH = 8  # tokens to write from which on recording pays


def context_length(config: Any) -> int:
    """Tokens that a network reads at most."""
    return getattr(config, "max_position_embeddings", None) or 10**9


class DynamicCacheDecoder:
    """As the network comes; keeps the keys and values of what was read."""

    def __init__(self, model: Any):
        self.model, self.past = model, None

    def next_logits(self, ids: Sequence[int]) -> Any:
        """Logits (entries,) of what follows after these."""
        import torch

        device = next(self.model.parameters()).device
        with torch.inference_mode():
            output = self.model(
                input_ids=torch.tensor([list(ids)], device=device), past_key_values=self.past, use_cache=True
            )
        self.past = output.past_key_values
        return output.logits[0, -1].float().clone()  # what inference mode made cannot be changed

    def reset(self) -> None:
        self.past = None


class CudaGraphDecoder:
    """The same on a GPU: texts of several tokens as they come, single ones by playing back the work of one."""

    def __init__(self, model: Any, length: int):
        """length: tokens there must be room for."""
        import torch
        from transformers import StaticCache

        self.model = model
        self.cache = StaticCache(
            config=model.config, max_cache_len=-(-length // CACHE_BLOCK_TOKENS) * CACHE_BLOCK_TOKENS
        )
        self.token = torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device)
        self.graph, self.logits = None, None

    def next_logits(self, ids: Sequence[int]) -> Any:
        import torch

        if len(ids) > 1:
            with torch.no_grad():
                read = torch.tensor([list(ids)], device=self.token.device)
                return self.model(input_ids=read, past_key_values=self.cache, use_cache=True).logits[0, -1].float()
        self.token.fill_(ids[0])
        if self.graph is None:
            self._record()
        self.graph.replay()
        return self.logits.clone()

    def reset(self) -> None:
        self.cache.reset()

    def _record(self) -> None:
        """What is done once before, as libraries wake up at their first call, is taken back: the place is written anew."""
        import torch

        before = [layer.cumulative_length.clone() for layer in self.cache.layers]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside), torch.no_grad():
            for _twice in range(2):
                self._step()
                for layer, length in zip(self.cache.layers, before, strict=True):
                    layer.cumulative_length.copy_(length)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self.graph, capture_error_mode="thread_local"):  # others load beside
            self.logits = self._step()

    def _step(self) -> Any:
        return self.model(input_ids=self.token, past_key_values=self.cache, use_cache=True).logits[0, -1].float()


def make_decoder(model: Any, length: int, new: int) -> DynamicCacheDecoder | CudaGraphDecoder:
    """For a text of so many tokens, of which some are new."""
    on_gpu = next(model.parameters()).is_cuda
    if on_gpu and new >= MIN_TOKENS_FOR_GRAPH and getattr(model, "_can_compile_fullgraph", False):
        return CudaGraphDecoder(model, length)
    return DynamicCacheDecoder(model)
