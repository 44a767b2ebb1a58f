"""A model's folder asked as its users ask it: by transformers alone. A program that knows nothing of bigmodel.

Standard input: a list of {"folder", "auto_class", "rows", "more"}, JSON. Standard output: a list of lists of answers.
A row is a text, a conversation (a list of turns) or a picture ({"image": base64}); more: passed on to `generate`.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Mapping


def answers(asked: Mapping) -> list[str]:
    """What is written, or the name of the class, for each row."""
    import torch
    import transformers

    model = getattr(transformers, asked["auto_class"]).from_pretrained(asked["folder"])
    reader = transformers.AutoImageProcessor if "Image" in asked["auto_class"] else transformers.AutoTokenizer
    processor = reader.from_pretrained(asked["folder"])
    with torch.inference_mode():
        return [_answer(model, processor, row, asked.get("more", {})) for row in asked["rows"]]


def _answer(model, processor, row, more: Mapping) -> str:
    inputs = _inputs(processor, row)
    if not model.can_generate():
        return model.config.id2label[model(**inputs).logits[0].argmax().item()]
    read = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
    return processor.decode(model.generate(**inputs, do_sample=False, **more)[0, read:], skip_special_tokens=True)


def _inputs(processor, row) -> Mapping:
    if isinstance(row, list):
        return processor.apply_chat_template(row, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    if isinstance(row, dict):
        from PIL import Image

        return processor(Image.open(io.BytesIO(base64.b64decode(row["image"]))), return_tensors="pt")
    return processor(row, truncation=True, return_tensors="pt")


if __name__ == "__main__":
    sys.modules["bigmodel"] = None  # any import of it fails
    json.dump([answers(asked) for asked in json.load(sys.stdin)], sys.stdout)
