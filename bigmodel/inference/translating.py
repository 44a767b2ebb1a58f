"""Translating a line with an encoder-decoder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bigmodel.data.tokenizers import is_chinese
from bigmodel.inference.fast import Translator


def translate(model: Any, processor: Any, line: str, inputs: Mapping) -> tuple[str, int]:
    """(translation, new tokens): sentence by sentence where the line is longer than what the model was trained on."""
    longest = model.longest if isinstance(model, Translator) else model.config.max_position_embeddings
    pieces = _sentences(line) if len(processor(line)["input_ids"]) > longest // 2 else [line]
    end = processor.eos_token_id
    ids = [[*processor(piece, add_special_tokens=False)["input_ids"][: longest - 1], end] for piece in pieces]
    if isinstance(model, Translator):
        answers = model.translate(ids, inputs["beams"], inputs["max_new_tokens"])
    else:
        answers = [_generate(model, one, longest, inputs) for one in ids]
    done = [
        processor.decode(one, skip_special_tokens=True).replace("\ufffd", "") for one in answers
    ]  # no half characters
    text = "".join(done)
    return text if is_chinese([text]) else " ".join(done), sum(map(len, answers))


def _sentences(line: str) -> list[str]:
    return [piece for piece in re.split(r"(?<=[.!?;:])\s+|(?<=[。！？；])", line) if piece]


def _generate(model: Any, ids: Sequence[int], longest: int, inputs: Mapping) -> list[int]:
    """What a single sentence has beyond the model's positions is not read."""
    import torch

    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.tensor([ids], device=device),
                num_beams=inputs["beams"],
                do_sample=False,
                max_length=min(inputs["max_new_tokens"] + 1, longest),
            )
    finally:
        model.train(training)
    return [token for token in out[0, 1:].tolist() if token != model.config.eos_token_id]
