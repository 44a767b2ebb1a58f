"""What a model sees of the rows: tokens and which of them count, labels, pictures after processing. For workers."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _
from bigmodel.data.look import histogram
from bigmodel.data.own import shelf
from bigmodel.data.prepare import Prepared, prepare

EXAMPLES = 4
TOKENS = 400  # of an example that are shown
SAMPLE = 2_000  # rows whose length in tokens is counted
PLAIN, CONTEXT, SPECIAL, UNKNOWN, PADDING = "counts", "context", "special", "unknown", "padding"
IGNORED = -100  # as a label: does not count


@dataclass(frozen=True)
class Seen:
    """Examples as a batch holds them.

    examples: each {"parts": {name: [[text, id, kind], ...]}, "cut": {name: tokens left out}, "picture": base64 of a
    PNG or "", "label": name of a class or ""}. kind: 'counts' for what the loss is computed on, 'context' for what is
    only read, and 'special', 'unknown', 'padding'.
    lengths: column -> [[from, to, rows]] in tokens, of a sample of the training rows.  limits: column -> the longest
    that is taken.  unknown: share of the sample's tokens that the tokenizer does not know.  shapes: input -> its shape
    in a whole batch.
    """

    examples: Sequence[Mapping]
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    lengths: Mapping[str, Sequence] = field(default_factory=dict)
    unknown: float = 0.0
    vocabulary: int = 0


def seen(spec: RunSpec, cache: Path, split: str = "", start: int = 0) -> Seen:
    """The first batch of the first epoch, as it will be trained on; with a split, its rows from `start` on."""
    task, architecture = catalog.task(spec.task), catalog.architecture(spec.architecture)
    dataset = catalog.dataset(spec.dataset)
    data = prepare(task, architecture, dataset, spec.settings, cache)
    arrays, epoch = (data.arrays["train"], 0) if not split else (_rows(task, dataset, data, spec, split, start), None)
    plan = task.plan(arrays, spec.settings, epoch)
    whole = task.batch(arrays, plan[0], spec.settings, epoch)
    shapes = {name: list(value.shape) for name, value in whole.items()}
    batch = {name: value[:EXAMPLES] for name, value in whole.items()}
    examples = [_example(batch, place, data) for place in range(len(batch["labels"]))]
    lengths, unknown = _lengths(task, dataset, data.processor)
    return Seen(examples, shapes, lengths, unknown, _vocabulary(data.processor))


def _rows(task: Task, dataset: Dataset, data: Prepared, spec: RunSpec, split: str, start: int) -> Mapping:
    """Some rows of a split, encoded by themselves."""
    rows = dataset.rows()[split]
    start = min(max(start, 0), max(len(rows) - 1, 0))
    few = rows.select(range(start, min(start + EXAMPLES, len(rows))))
    return task.encode(few, data.processor, spec.settings)


def _example(batch: Mapping, place: int, data: Prepared) -> dict:
    one = {name: value[place].tolist() for name, value in batch.items() if name != "pixel_values"}
    parts: dict[str, list] = {}
    if "decoder_input_ids" in one:
        parts["source"] = _read_only(one["input_ids"], one["attention_mask"], data)
        parts["target"] = _answer(one["labels"], data)
    elif "input_ids" in one and isinstance(one["labels"], list):
        parts["text"] = _continued(one["input_ids"], one["labels"], data)
    elif "input_ids" in one:
        parts["text"] = _read_only(one["input_ids"], one.get("attention_mask"), data)
    return {
        "parts": {name: tokens[:TOKENS] for name, tokens in parts.items()},
        "cut": {name: max(len(tokens) - TOKENS, 0) for name, tokens in parts.items()},
        "picture": _picture(batch["pixel_values"][place]) if "pixel_values" in batch else "",
        "label": _class(one["labels"], data) if not isinstance(one["labels"], list) else "",
    }


def _continued(ids: Sequence[int], labels: Sequence[int], data: Prepared) -> list:
    """A language model's window: each token is the answer to those before it, where its label counts."""
    last = [labels[-1]] if labels[-1] != IGNORED else []
    counted = [False, *(label != IGNORED for label in labels)]
    return [_token(id, data, PLAIN if counts else CONTEXT) for id, counts in zip([*ids, *last], counted, strict=False)]


def _read_only(ids: Sequence[int], mask: Sequence[int] | None, data: Prepared) -> list:
    mask = mask or [1] * len(ids)
    return [_token(id, data, CONTEXT if real else PADDING) for id, real in zip(ids, mask, strict=True)]


def _answer(labels: Sequence[int], data: Prepared) -> list:
    pad = data.processor.pad_token_id or 0
    return [_token(id, data, PLAIN) if id != IGNORED else _token(pad, data, PADDING) for id in labels]


def _token(id: int, data: Prepared, kind: str) -> list:
    """[text, id, kind]. A piece of a character, which is no text by itself, is shown by its bytes' signs."""
    tokenizer = data.processor
    text = tokenizer.decode([id])
    if "\ufffd" in text:
        text = str(tokenizer.convert_ids_to_tokens(id))
    if kind != PADDING and id == tokenizer.unk_token_id:
        kind = UNKNOWN
    elif kind == CONTEXT and id in tokenizer.all_special_ids:
        kind = SPECIAL
    return [text, id, kind]


def _class(label: Any, data: Prepared) -> str:
    names = data.facts.get("classes", ())
    return str(names[label]) if isinstance(label, int) and label < len(names) else str(label)


def _picture(pixels: Any) -> str:
    """(channels, height, width) in [-1, 1] back to what can be looked at."""
    import numpy as np
    from PIL import Image

    values = pixels.float().numpy()
    low, high = (-1.0, 1.0) if values.min() >= -1.001 and values.max() <= 1.001 else (values.min(), values.max())
    values = np.clip((values - low) / (high - low) * 255, 0, 255).round().astype(np.uint8).transpose(1, 2, 0)
    grey = values.shape[2] == 1 or (values == values[..., :1]).all()
    file = io.BytesIO()
    Image.fromarray(values[..., 0] if grey else values).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _lengths(task: Task, dataset: Dataset, processor: Any) -> tuple[dict, float]:
    """({column: histogram of tokens a text}, share of unknown tokens) over a sample of the training rows."""
    columns = [name for name in sorted(task.needs) if dataset.columns[name].kind == "text"]
    if not columns or not hasattr(processor, "decode"):
        return {}, 0.0
    rows = dataset.rows()["train"]
    step = max(len(rows) // SAMPLE, 1)
    found, unknown, total = {}, 0, 0
    for name in columns:
        texts = [text for text in rows[name][::step][:SAMPLE] if isinstance(text, str)]
        ids = processor(texts, add_special_tokens=False)["input_ids"] if texts else []
        found[name] = _histogram([len(one) for one in ids])
        total += sum(map(len, ids))
        unknown += sum(one.count(processor.unk_token_id) for one in ids)
    return found, unknown / max(total, 1)


def _histogram(lengths: list[int]) -> list[list[int]]:
    return [list(bar) for bar in histogram(Counter(lengths))]


def _vocabulary(processor: Any) -> int:
    return len(processor) if hasattr(processor, "decode") else 0


# -- in a process of its own, since it loads what the pages must not -----------------------------------------
def ask(spec: RunSpec, cache: Path, home: Path, log: Path) -> Seen:
    """What `seen` says, from another process. Refusal for what cannot be encoded."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bigmodel.data.seen", json.dumps(spec.to_json()), str(cache), str(home)]
    with log.open("ab") as errors:
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
    said = json.loads(done.stdout) if done.stdout else {"error": _lost().to_json()}
    if "error" in said:
        raise Refusal.from_json(said["error"])
    return Seen(**said["seen"])


def _lost() -> Refusal:
    what = _("What the model sees could not be made out.")
    return Refusal(what, _("Most often the memory was not enough."), _("Try again."))


def main(spec: str, cache: str, home: str) -> int:
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    shelf.bring(Path(home))
    try:
        said = {"seen": asdict(seen(RunSpec.check(json.loads(spec)), Path(cache)))}
    except Refusal as refusal:
        said = {"error": refusal.to_json()}
    except Exception:  # the one who asked is told; the log says more
        traceback.print_exc()
        said = {"error": _lost().to_json()}
    with answer:
        json.dump(said, answer, ensure_ascii=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
