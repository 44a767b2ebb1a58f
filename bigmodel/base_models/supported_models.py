"""The networks that are let in: transformers' own classes, by the `model_type` of their config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CAUSAL_LM, SEQ2SEQ_LM, IMAGE_CLASSIFICATION, TEXT_CLASSIFICATION = (
    "causal-lm",
    "seq2seq-lm",
    "image-classification",
    "text-classification",
)


@dataclass(frozen=True)
class Family:
    """heads: what it can be asked for. `reads_at_most`: name of the config's longest input, '' where there is no bound;
    `unused`: so many of its positions are never a token's."""

    heads: frozenset[str]
    max_length_key: str = "max_position_embeddings"
    reserved_positions: int = 0


_DECODER_HEADS = frozenset({CAUSAL_LM, TEXT_CLASSIFICATION})
_ENCODER_HEADS = frozenset({TEXT_CLASSIFICATION})
_ENCODER_DECODER_HEADS = frozenset({SEQ2SEQ_LM})
_VISION_HEADS = frozenset({IMAGE_CLASSIFICATION})

FAMILIES: Mapping[str, Family] = (
    {
        name: Family(_DECODER_HEADS)
        for name in (
            "llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "opt", "gpt_neox", "gpt_neo", "stablelm",
            "starcoder2", "smollm3", "gemma", "gemma2", "gemma3_text",
        )
    }
    | {name: Family(frozenset({CAUSAL_LM})) for name in ("olmo", "olmo2", "granite", "cohere")}
    | {"gpt2": Family(_DECODER_HEADS, "n_positions"), "bloom": Family(_DECODER_HEADS, ""), "gptj": Family(_DECODER_HEADS, "n_positions")}
    | {
        name: Family(_ENCODER_HEADS)
        for name in (
            "bert", "distilbert", "albert", "electra", "deberta-v2", "modernbert",
        )
    }
    | {name: Family(_ENCODER_HEADS, reserved_positions=2) for name in ("roberta", "xlm-roberta", "mpnet")}  # begin behind the padding's
    | {name: Family(_ENCODER_DECODER_HEADS) for name in ("marian", "bart", "mbart", "m2m_100", "pegasus")}
    | {name: Family(_ENCODER_DECODER_HEADS, "") for name in ("t5", "mt5", "umt5")}
    | {
        name: Family(_VISION_HEADS, "")
        for name in (
            "vit", "deit", "beit", "swin", "swinv2", "dinov2", "convnext", "convnextv2", "resnet", "regnet",
            "mobilenet_v2", "efficientnet", "bit", "focalnet", "levit", "poolformer", "pvt", "cvt",
        )
    }
)  # fmt: skip
BIGMODEL_FAMILIES: Mapping[str, Family] = {  # networks of bigmodel's own runs, registered by their architectures
    "bigmodel-lstm": Family(frozenset({CAUSAL_LM}), ""),
    "bigmodel-cnn": Family(_VISION_HEADS, ""),
}


def find_family(model_type: str) -> Family | None:
    return FAMILIES.get(model_type) or BIGMODEL_FAMILIES.get(model_type)


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
