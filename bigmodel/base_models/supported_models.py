"""The networks that are let in: transformers' own classes, by the `model_type` of their config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bigmodel.core import catalog
from bigmodel.core.contracts import HEADS


@dataclass(frozen=True)
class Family:
    """heads: what it can be asked for. `max_length_key`: name of the config's longest input, '' where there is no bound;
    `reserved_positions`: so many of its positions are never a token's."""

    heads: frozenset[str]
    max_length_key: str = "max_position_embeddings"
    reserved_positions: int = 0

    @property
    def reads_images(self) -> bool:
        return all(HEADS[head].reads_images for head in self.heads)


_MAX_LENGTH_KEYS = {
    **dict.fromkeys(("gpt2", "gptj"), "n_positions"),
    **dict.fromkeys(("bloom", "t5", "mt5", "umt5"), ""),  # relative positions
}
_RESERVED_POSITIONS = dict.fromkeys(("roberta", "xlm-roberta", "mpnet"), 2)  # positions begin behind the padding's


def _family(model_type: str) -> Family:
    heads = frozenset(name for name, head in HEADS.items() if model_type in head.model_types)
    key = "" if Family(heads).reads_images else _MAX_LENGTH_KEYS.get(model_type, Family.max_length_key)
    return Family(heads, key, _RESERVED_POSITIONS.get(model_type, 0))


FAMILIES: Mapping[str, Family] = {
    model_type: _family(model_type) for head in HEADS.values() for model_type in head.model_types
}


def find_family(model_type: str) -> Family | None:
    """With the networks of bigmodel's own runs, which their architectures register."""
    own = (
        architecture
        for architecture in catalog.architectures().values()
        if architecture.base_heads and architecture.model_type == model_type
    )
    return FAMILIES.get(model_type) or next((Family(one.base_heads, "") for one in own), None)


# -- how they call their parts -------------------------------------------------------------------------------------------------
HEAD_MODULES = ("classifier", "score", "lm_head", "head", "pre_classifier", "classification_head", "pooler")
EMBEDDING_MODULES = ("embed", "wte", "wpe", "shared", "cls_token", "position", "relative_attention_bias")
ATTENTION_MODULES = frozenset({
    "q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "query", "key", "value", "c_attn", "q", "k", "v", "o", "qkv",
    "query_key_value", "q_lin", "k_lin", "v_lin", "out_lin", "query_proj", "key_proj", "value_proj", "Wqkv", "Wo",
    "in_proj", "qkv_proj",
})  # fmt: skip


def is_within(name: str, parts: tuple[str, ...]) -> bool:
    """Whether a weight or layer is one of these parts, or inside one."""
    return any(part in parts for part in name.split("."))
