"""Whether weights, config and tokenizer of a model fit each other, by the names and shapes of its tensors alone."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bigmodel.base_models import sentencepiece_model
from bigmodel.core.contracts import HEADS
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

# networks whose output has weights of its own where the config does not say; as in transformers
UNTIED_TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gpt_neox", "stablelm", "gptj", "olmo",
                          "olmo2", "granite"})  # fmt: skip
OUTPUT_WEIGHTS = ("lm_head.weight", "embed_out.weight")
LANGUAGE_HEADS = frozenset(name for name, head in HEADS.items() if head.runner)  # those that write
LAYER = re.compile(r"(.*?\b(?:layers|layer|h|block|blocks))\.(\d{1,4})\.(.+)")
SHARED_LAYER_TYPES = ("albert",)  # one layer serves as all
FIRST_LAYER_ONLY = ("relative_attention_bias",)  # T5 keeps it in one layer for all
BODYLESS_TOKENS = frozenset({"<image_soft_token>"})  # Gemma 3's of texts alone keep the name, and no embedding for it
MAX_NAMED = 5  # weights that a message names


def quantized(method: str) -> Refusal:
    what = _("The weights are quantized already ({method}).", method=method[:40])
    why = _("They need libraries that are made for certain graphics cards, and cannot be trained.")
    return Refusal(what, why, _("Take the model in its original precision."), field="source")


def missing_weights(names: list[str]) -> Refusal:
    listed = ", ".join(name[:80] for name in names[:MAX_NAMED]) + (" ..." if len(names) > MAX_NAMED else "")
    what = _("Weights are missing: {names}.", names=listed)
    why = _("They would begin at random, and the model would answer nonsense.")
    return Refusal(what, why, _("Take the model with all its files, or save it again with its head."), field="source")


# -- weights -----------------------------------------------------------------------------------------------
def available_heads(config: Mapping, heads: frozenset[str], shapes: Iterable[str]) -> frozenset[str]:
    """The heads that the weights can serve: a language model whose output is not in the file is only a body. Refusal
    where the config promises one, or where nothing is left."""
    tied = config.get("tie_word_embeddings")
    untied = config.get("model_type") in UNTIED_TYPES if tied is None else tied is False
    if not untied or not heads & LANGUAGE_HEADS or any(name.endswith(OUTPUT_WEIGHTS) for name in shapes):
        return heads
    architectures = config.get("architectures") or ["ForCausalLM"]
    promised = any(str(name).endswith(("LM", "LMHeadModel", "ForConditionalGeneration")) for name in architectures)
    if promised or not heads - LANGUAGE_HEADS:
        raise missing_weights([OUTPUT_WEIGHTS[config.get("model_type") == "gpt_neox"]])
    return heads - LANGUAGE_HEADS


def refuse_missing_layers(config: Mapping, shapes: Iterable[str]) -> None:
    """Layers of one kind have the same weights; what most of them have and one has not is missing."""
    if config.get("model_type") in SHARED_LAYER_TYPES:
        return
    stacks: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in shapes:
        if layer := LAYER.fullmatch(name):
            stacks[layer[1]][int(layer[2])].add(layer[3])
    promised = _layer_count(config)
    for stack, layers in stacks.items():
        count = max(max(layers) + 1, promised if len(stacks) == 1 else 0)
        common = _common_weights(layers.values())
        missing = [
            f"{stack}.{number}.{name}"
            for number in range(count)
            for name in sorted(common - layers.get(number, set()))
            if layers.get(number, set()) < common
        ]
        if missing:
            raise missing_weights(missing)


def _layer_count(config: Mapping) -> int:
    return next((config[key] for key in ("num_hidden_layers", "n_layer") if isinstance(config.get(key), int)), 0)


def _common_weights(layers: Iterable[set[str]]) -> set[str]:
    """What most layers have; of sets that are equally common the largest."""
    shared = [frozenset(name for name in layer if not name.startswith("_") and not _in_first_layer(name)) for layer in layers]  # fmt: skip
    counts = Counter(shared)
    return set(max(counts, key=lambda layer: (counts[layer], len(layer))))


def _in_first_layer(name: str) -> bool:
    return any(part in name for part in FIRST_LAYER_ONLY)


# -- tokenizer ---------------------------------------------------------------------------------------------
def refuse_large_tokenizer(config: Mapping, files: Mapping[str, Path]) -> None:
    """Each token needs a row of the embedding; without one the first text that has it fails."""
    rows = config.get("vocab_size")
    if not isinstance(rows, int):
        return
    tokens = max(_token_counts(files), default=0)
    if tokens > rows:
        what = _("The tokenizer has {tokens} tokens, the embedding of the network {rows}.", tokens=tokens, rows=rows)
        why = _("A text with one of the others cannot be computed.")
        do = _("Resize the embedding ({call}) and save both again, or take the tokenizer that belongs to the model.", call="model.resize_token_embeddings")  # fmt: skip
        raise Refusal(what, why, do, field="source")


def _token_counts(files: Mapping[str, Path]) -> Iterator[int]:
    """How many rows each file of a tokenizer asks for: its largest id and one."""
    if "tokenizer.json" in files:
        tokenizer = json.loads(files["tokenizer.json"].read_bytes())
        vocabulary = tokenizer["model"].get("vocab") or ()
        yield _largest_id(vocabulary.values()) + 1 if isinstance(vocabulary, Mapping) else len(vocabulary)
        added = tokenizer.get("added_tokens") or ()
        yield _largest_id(token.get("id") for token in added if token.get("content") not in BODYLESS_TOKENS) + 1
    elif "vocab.json" in files:
        yield _largest_id(json.loads(files["vocab.json"].read_bytes()).values()) + 1
    elif "vocab.txt" in files:
        with files["vocab.txt"].open("rb") as lines:
            yield sum(1 for line in lines if line.strip())
    elif "tokenizer.model" in files or "spiece.model" in files:
        name = "tokenizer.model" if "tokenizer.model" in files else "spiece.model"
        yield sentencepiece_model.read(files[name]).pieces
    if "added_tokens.json" in files:
        added = json.loads(files["added_tokens.json"].read_bytes())
        yield _largest_id(id for token, id in added.items() if token not in BODYLESS_TOKENS) + 1
    if "tokenizer_config.json" in files:
        added = json.loads(files["tokenizer_config.json"].read_bytes()).get("added_tokens_decoder")
        tokens = added.items() if isinstance(added, Mapping) else ()
        yield _largest_id(
            int(id) for id, token in tokens if id.isdigit() and dict(token).get("content") not in BODYLESS_TOKENS
        ) + 1  # fmt: skip


def _largest_id(ids: Iterable[object]) -> int:
    return max((id for id in ids if isinstance(id, int)), default=-1)
