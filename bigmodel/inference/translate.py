"""Translating lines with an encoder-decoder."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bigmodel.data.tokenizers import is_chinese, sentence_tokens
from bigmodel.inference.background import check_cancelled, run_in_thread
from bigmodel.inference.ctranslate2_runner import DEFAULT_MAX_LENGTH, Translator

GREEDY_SETTINGS = (
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id",
    "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "repetition_penalty", "min_length", "min_new_tokens",
)  # fmt: skip  # of `generate` that change what is written with one beam


def translate(model: Any, processor: Any, lines: Sequence[str], inputs: Mapping) -> Iterator[tuple[str, int] | None]:
    """(translation, new tokens) of each line, None while there is nothing new; sentence by sentence where a line is
    longer than what the model was trained on. CTranslate2 gets lines together, as a batch costs little more than one of
    them."""
    together = model.batch_size if isinstance(model, Translator) else 1
    for start in range(0, len(lines), together):
        yield from _translate_batch(model, processor, lines[start : start + together], inputs)


def _translate_batch(
    model: Any, processor: Any, lines: Sequence[str], inputs: Mapping
) -> Iterator[tuple[str, int] | None]:
    longest = model.max_length if isinstance(model, Translator) else max_positions(model.config)
    written = sentence_tokens(processor, written=True)
    found = [encode_sentences(processor, line.strip(), longest) for line in lines]
    answered = iter(
        (yield from _generate_batch(model, [sentence for line in found for sentence in line], longest, inputs))
    )
    for line in found:
        answers = [written.strip(next(answered)) for _sentence in line]
        done = [
            processor.decode(answer, skip_special_tokens=True).replace("\ufffd", "") for answer in answers
        ]  # no halves
        text = "".join(done)
        yield text if is_chinese([text]) else " ".join(done), sum(map(len, answers))


def _generate_batch(
    model: Any, sentences: Sequence[list[int]], longest: int, inputs: Mapping
) -> Generator[None, None, list[list[int]]]:
    """What is written for each sentence. Closed, it ends at the next token; beams of CTranslate2, which cannot be left,
    are followed to their end in the background."""
    if isinstance(model, Translator):
        return (yield from run_in_thread(lambda: model.translate(sentences, inputs["beams"], inputs["max_new_tokens"])))
    found = []
    for sentence in sentences:
        found.append((yield from run_in_thread(partial(_generate, model, sentence, longest, inputs))))
    return found


def encode_sentences(processor: Any, line: str, longest: int) -> list[list[int]]:
    """The tokens of a line's sentences, each between its marks; none for an empty line. What a single sentence has
    beyond what the model has learnt to read, and beyond its positions, is not read."""
    if not line:
        return []
    learnt = min(processor.model_max_length, longest)
    prefix = processor.init_kwargs.get("source_prefix", "")
    ids = [processor(prefix + line, add_special_tokens=False)["input_ids"]]
    if len(ids[0]) > min(learnt, longest // 2):
        ids = [
            processor(prefix + split_sentence, add_special_tokens=False)["input_ids"]
            for split_sentence in _split_sentences(line)
        ]
    around = sentence_tokens(processor)
    return [around.wrap(id_, learnt) for id_ in ids]


def greedy_generation_config(model: Any, count: int) -> Any:
    """How a sentence of `count` tokens is written here with one beam, as `generate` of transformers is told: what a base
    says of beams and of drawing is left out."""
    from transformers import GenerationConfig

    own = {
        name: value for name in GREEDY_SETTINGS if (value := getattr(model.generation_config, name, None)) is not None
    }
    length = min(count + 1, max_positions(model.config))  # with the token that the decoder begins with
    return GenerationConfig(**own, do_sample=False, num_beams=1, max_length=length)


def max_positions(config: Any) -> int:
    """Tokens of a sentence that an encoder-decoder has positions for."""
    return getattr(config, "max_position_embeddings", None) or DEFAULT_MAX_LENGTH


def _split_sentences(line: str) -> list[str]:
    return [piece for piece in re.split(r"(?<=[.!?;:])\s+|(?<=[。！？；])", line) if piece]


def _generate(model: Any, ids: Sequence[int], longest: int, inputs: Mapping) -> list[int]:
    import torch

    def heard(ids: Any, _scores: Any) -> Any:
        """Asked after each token: never the end, unless nobody waits for it any more."""
        check_cancelled()
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.tensor([ids], device=device),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=device),
                num_beams=inputs["beams"],
                do_sample=False,
                max_length=min(inputs["max_new_tokens"] + 1, longest),
                stopping_criteria=[heard],
            )
    finally:
        model.train(training)
    return out[0, 1:].tolist()
