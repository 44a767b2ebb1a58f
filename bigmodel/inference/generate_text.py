"""Writing text token by token with a causal language model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import closing
from functools import partial
from typing import Any

from bigmodel.core.blocks import Prose
from bigmodel.data.tokenizers import suppressed_ids
from bigmodel.inference.ctranslate2_runner import TextGenerator
from bigmodel.inference.kv_cache import context_length, make_decoder

DISPLAY_INTERVAL = 0.05  # seconds between two looks at a growing text; an eye sees no more


def complete_prompt(model: Any, processor: Any, inputs: Mapping) -> Iterator[Prose]:
    """The text that goes on from a prompt, as it grows."""
    ids = prompt_ids(processor, inputs["prompt"])
    return stream_text(model, processor, ids, inputs, inputs["prompt"])


def prompt_ids(processor: Any, prompt: str) -> list[int]:
    """What a model reads before it goes on: the end of another text, and the prompt."""
    return [processor.eos_token_id, *processor(prompt, add_special_tokens=False)["input_ids"]]


def greedy_generation_config(model: Any, processor: Any, stop_ids: Set[int], count: int) -> Any:
    """How a text of `count` tokens is written here at temperature 0, as `generate` of transformers is told. Where the
    network reads little more than that, the text ends where a context is full: it has no positions for more."""
    from transformers import GenerationConfig

    context = context_length(model.config)
    return GenerationConfig(
        bos_token_id=processor.bos_token_id,
        eos_token_id=sorted(stop_ids) if len(stop_ids) > 1 else next(iter(stop_ids)),
        pad_token_id=processor.pad_token_id,
        suppress_tokens=suppressed_ids(processor, model.config.vocab_size) or None,
        do_sample=False,
        num_beams=1,
        **({"max_new_tokens": count} if context >= 2 * count else {"max_length": context}),
    )


def stream_text(
    model: Any, processor: Any, ids: list[int], inputs: Mapping, prompt: str = "", ends: Set[int] = frozenset()
) -> Iterator[Prose]:
    """What comes after tokens, at most 20 times a second; the last Prose has `done`. ends: tokens beside the end token
    that end it.

    Sampling uses a generator of its own, so that neither training nor another request is disturbed.
    """
    stop = inputs.get("stop", "")
    write = model.generate_tokens if isinstance(model, TextGenerator) else partial(generate_tokens, model, processor)
    source = write(ids, inputs, ends)
    new: list[int] = []
    started = shown = time.monotonic()
    with closing(source):
        for some in source:
            new += some
            now = time.monotonic()
            due = now - shown >= DISPLAY_INTERVAL or 0 < len(new) == len(some)  # the first token is shown at once
            if not due and not (stop and some):
                continue
            text = processor.decode(new)
            if stop and stop in text:
                count = _count_until_stop(stop, new, len(some), processor)
                yield Prose(text[: text.index(stop) + len(stop)], prompt, True, count, now - started)
                return
            if due:
                shown = now
                yield Prose(text.rstrip("\ufffd"), prompt, False, len(new), now - started)
    yield Prose(processor.decode(new).rstrip("\ufffd"), prompt, True, len(new), time.monotonic() - started)


def _count_until_stop(stop: str, new: Sequence[int], latest: int, processor: Any) -> int:
    """How many tokens it took to write `stop`, one of the latest being the last of them."""
    counts = range(len(new) - latest + 1, len(new))
    return next((count for count in counts if stop in processor.decode(new[:count])), len(new))


def generate_tokens(
    model: Any, processor: Any, ids: list[int], inputs: Mapping, ends: Set[int] = frozenset()
) -> Iterator[list[int]]:
    """New tokens, one at a time, until the end token or the asked length. Where the model's context is full, goes on
    from its second half."""
    import torch

    context = context_length(model.config)
    device = next(model.parameters()).device
    random = torch.Generator(device=device).manual_seed(inputs["seed"])
    suppressed = torch.tensor(suppressed_ids(processor, model.config.vocab_size), dtype=torch.long, device=device)
    seen, unread = list(ids), list(ids)
    length = 0  # tokens that have been read
    reading = make_decoder(model, min(context, len(ids) + inputs["max_new_tokens"]), inputs["max_new_tokens"])
    training = model.training
    model.eval()
    try:
        for _step in range(inputs["max_new_tokens"]):
            if length + len(unread) > context:
                unread, length = seen[-max(context // 2, 1) :], 0
                reading.reset()
            logits, length = reading.next_logits(unread), length + len(unread)
            logits[suppressed] = -torch.inf
            token = sample_token(logits, inputs, random)
            if token == processor.eos_token_id or token in ends:
                return
            seen.append(token)
            unread = [token]
            yield [token]
    finally:
        model.train(training)


def sample_token(logits: Any, inputs: Mapping, random: Any) -> int:
    """One token: the most likely one at temperature 0, else drawn after top-k and top-p (Holtzman et al. 2019)."""
    import torch

    if inputs["temperature"] == 0:
        return int(logits.argmax())
    logits = logits / max(inputs["temperature"], 1e-3)
    if inputs["top_k"]:
        bound = logits.topk(min(inputs["top_k"], len(logits))).values[-1]
        logits = logits.masked_fill(logits < bound, -torch.inf)
    if inputs["top_p"] < 1:
        ordered, places = logits.softmax(-1).sort(descending=True)
        outside = ordered.cumsum(-1) - ordered >= inputs["top_p"]
        logits = logits.index_fill(0, places[outside], -torch.inf)
    return int(torch.multinomial(logits.softmax(-1), 1, generator=random))
