"""What a model sees of the rows: tokens and which of them count, labels, pictures after processing. For workers."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import HEADS, Dataset, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.files import staged
from bigmodel.core.spec import RunSpec, Session
from bigmodel.core.words import _
from bigmodel.data import browse, chat_tokens, row_index
from bigmodel.data.browse import histogram
from bigmodel.data.prepare import Prepared, cache_key, prepare

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = 4
MAX_SHOWN_TOKENS = 400  # of an example that are shown
LENGTH_SAMPLE_ROWS = 2_000  # rows whose length in tokens is drawn
COUNT_BATCH_ROWS = 2_000  # rows whose tokens are counted before somebody else gets a turn
IN_LOSS, CONTEXT, SPECIAL, UNKNOWN, PADDING = "counts", "context", "special", "unknown", "padding"
TEMPLATE = "template"
IGNORE_INDEX = -100  # as a label: does not count


@dataclass(frozen=True)
class BatchView:
    """Examples as a batch holds them.

    examples: each {"parts": {name: [[text, id, kind], ...]}, "cut": {name: tokens left out}, "picture": base64 of a
    PNG or "", "label": name of a class or ""}. kind: 'counts' for what the loss is computed on, 'context' for what is
    only read, and 'template' (what a chat template writes around it), 'special', 'unknown', 'padding'.
    lengths: column -> [[from, to, rows]] in tokens, of the training rows.  unknown: share of their tokens that the
    tokenizer does not know.  sampled: rows that both are counted on, where these are not all.  shapes: input -> its shape
    in a whole batch.  remarks: what was cut or left out, as JSON of words.
    """

    examples: Sequence[Mapping]
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    lengths: Mapping[str, Sequence] = field(default_factory=dict)
    unknown: float = 0.0
    sampled: int = 0
    vocabulary: int = 0
    remarks: Sequence[Mapping] = ()


def batch_view(spec: RunSpec, cache: Path, row: int = 0) -> BatchView:
    """The first batch of the first epoch, as it will be trained on; with a row's number, that row by itself."""
    session = spec.resolve()
    task, data = session.task, prepare(session, cache)
    arrays, epoch = (_encode_row(session, data, row, cache), None) if row else (data.arrays["train"], 0)
    plan = task.batch_indices(arrays, spec.settings, epoch)
    whole = task.batch(arrays, plan[0], spec.settings, epoch)
    shapes = {name: list(value.shape) for name, value in whole.items() if name in (*HEADS[task.head].inputs, "labels")}
    batch = {name: value[:EXAMPLES] for name, value in whole.items()}
    examples = [_example(batch, place, data) for place in range(len(batch["labels"]))]
    lengths, unknown, sampled = _token_lengths(task, session.dataset, data) if not row else ({}, 0.0, 0)
    remarks = [words.to_json() for words in task.remarks(data.processor, data.arrays["train"])] if not row else []
    return BatchView(examples, shapes, lengths, unknown, sampled, _vocabulary_size(data.processor), remarks)


def _encode_row(session: Session, data: Prepared, row: int, cache: Path) -> Mapping:
    """One row, encoded by itself."""
    import datasets

    task, dataset = session.task, session.dataset
    positions = row_index.load_or_build(dataset, cache).positions([row])
    if not len(positions):
        raise Refusal(_("There is no row {rows}.", rows=row), do=_("Name rows of this version."), field="row")
    rows = browse.take_rows(dataset.path(), positions).select(sorted(task.required_columns))
    return task.encode(datasets.Dataset(rows), data.processor, session.settings)


def count_tokens(spec: RunSpec, cache: Path) -> Iterator[float | str]:
    """How many tokens every text has, kept beside the index of the rows; how far it is, and at last under which name."""
    import numpy as np
    import pyarrow.parquet as parquet

    session = spec.resolve()
    task, dataset, name = session.task, session.dataset, cache_key(session)
    folder = browse.token_counts_folder(dataset, name, cache)
    columns = [
        required_column
        for required_column in sorted(task.required_columns)
        if dataset.columns[required_column].kind == "text"
    ]
    if folder.exists():
        yield name
        return
    processor = prepare(session, cache).processor
    scribe = chat_tokens.ChatRenderer(processor) if "messages" in columns else None
    file, done = parquet.ParquetFile(dataset.path()), 0
    counted: dict[str, list] = {column: [] for column in columns}
    for batch in file.iter_batches(COUNT_BATCH_ROWS, columns=columns):
        for column in columns:
            texts = [text or "" for text in batch[column].to_pylist()]
            if column == "messages":
                texts = [_rendered(row, scribe) for row in texts]
            counted[column] += map(len, processor(texts, add_special_tokens=False)["input_ids"])
        done += len(batch)
        yield done / max(file.metadata.num_rows, 1)
    with staged(folder, shared=True) as staging:
        for column, lengths in counted.items():
            np.save(staging / f"{column}.npy", np.asarray(lengths, dtype=np.int32))
    yield name


def _rendered(row: str, scribe: chat_tokens.ChatRenderer) -> str:
    """A conversation as the template writes it, which is how it is learnt from; where it does not take it, what is said."""
    turns = scribe.sanitize(chat_tokens.parse_turns(row))
    try:
        return scribe.render_with_spans(turns).text
    except chat_tokens.UnsupportedConversation:
        return "\n".join(turn["content"] for turn in turns)


def _example(batch: Mapping, place: int, data: Prepared) -> dict:
    one = {name: value[place].tolist() for name, value in batch.items() if name != "pixel_values"}
    parts: dict[str, list] = {}
    if "decoder_input_ids" in one:
        parts["source"] = _input_tokens(one["input_ids"], one["attention_mask"], data)
        parts["target"] = _label_tokens(one["labels"], data)
    elif "input_ids" in one and isinstance(one["labels"], list):
        parts["text"] = _causal_lm_tokens(one["input_ids"], one["labels"], one.get("kinds"), data)
    elif "input_ids" in one:
        parts["text"] = _input_tokens(one["input_ids"], one.get("attention_mask"), data)
    return {
        "parts": {name: tokens[:MAX_SHOWN_TOKENS] for name, tokens in parts.items()},
        "cut": {name: max(len(tokens) - MAX_SHOWN_TOKENS, 0) for name, tokens in parts.items()},
        "picture": _denormalized_png(batch["pixel_values"][place], data.arrays["train"])
        if "pixel_values" in batch
        else "",
        "label": _class_name(one["labels"], data) if not isinstance(one["labels"], list) else "",
    }


def _causal_lm_tokens(ids: Sequence[int], labels: Sequence[int], kinds: Sequence[int] | None, data: Prepared) -> list:
    """A language model's window: each token is the answer to those before it, where its label counts. kinds: what a
    conversation's tokens are for."""
    last = [labels[-1]] if labels[-1] != IGNORE_INDEX else []
    counted = [False, *(label != IGNORE_INDEX for label in labels)]
    others = {chat_tokens.TEMPLATE_TEXT: TEMPLATE, chat_tokens.PADDING: PADDING}
    rest = [others.get(kind, CONTEXT) for kind in kinds or ()] or [CONTEXT] * len(ids)
    pad = data.processor.pad_token_id or 0
    return [
        _token(pad if kind == PADDING else id, data, IN_LOSS if counts else kind)
        for id, counts, kind in zip([*ids, *last], counted, [*rest, CONTEXT], strict=False)
    ]


def _input_tokens(ids: Sequence[int], mask: Sequence[int] | None, data: Prepared) -> list:
    mask = mask or [1] * len(ids)
    return [_token(id, data, CONTEXT if real else PADDING) for id, real in zip(ids, mask, strict=True)]


def _label_tokens(labels: Sequence[int], data: Prepared) -> list:
    pad = data.processor.pad_token_id or 0
    return [_token(id, data, IN_LOSS) if id != IGNORE_INDEX else _token(pad, data, PADDING) for id in labels]


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


def _class_name(label: Any, data: Prepared) -> str:
    names = data.facts.get("classes", ())
    return str(names[label]) if isinstance(label, int) and label < len(names) else str(label)


def _denormalized_png(pixels: Any, arrays: Mapping) -> str:
    """(channels, height, width) as the network gets it back to what can be looked at."""
    import numpy as np
    from PIL import Image

    values = (pixels.float().numpy().transpose(1, 2, 0) - arrays["shift"]) / arrays["scale"]
    values = np.clip(values.round(), 0, 255).astype(np.uint8)
    grey = values.shape[2] == 1 or (values == values[..., :1]).all()
    file = io.BytesIO()
    Image.fromarray(values[..., 0] if grey else values).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _token_lengths(task: Task, dataset: Dataset, data: Prepared) -> tuple[dict, float, int]:
    """({column: histogram of tokens a text}, share of unknown tokens, rows of the sample or 0 where it is all of them) of
    the training rows; of conversations, as the template writes them, of all that are trained on."""
    import numpy as np

    processor, arrays = data.processor, data.arrays["train"]
    if "kinds" in arrays:
        ends, (column,) = arrays["offsets"], task.required_columns
        lengths = {column: _histogram(np.diff(ends))}
        unknown = float((arrays["tokens"] == processor.unk_token_id).mean()) if processor.unk_token_id else 0.0
        return lengths, unknown, 0
    columns = [name for name in sorted(task.required_columns) if dataset.columns[name].kind == "text"]
    if not columns or not hasattr(processor, "decode"):
        return {}, 0.0, 0
    rows = dataset.rows()["train"]
    step = max(len(rows) // LENGTH_SAMPLE_ROWS, 1)
    sampled = min(len(range(0, len(rows), step)), LENGTH_SAMPLE_ROWS)
    lengths, unknown, total = {}, 0, 0
    for name in columns:
        texts = [text for text in rows[name][::step][:LENGTH_SAMPLE_ROWS] if isinstance(text, str)]
        ids = processor(texts, add_special_tokens=False)["input_ids"] if texts else []
        lengths[name] = _histogram(np.asarray([len(tokens) for tokens in ids], dtype=np.int64))
        total += sum(map(len, ids))
        unknown += sum(tokens.count(processor.unk_token_id) for tokens in ids)
    return lengths, unknown / max(total, 1), sampled if sampled < len(rows) else 0


def _histogram(lengths: np.ndarray) -> list[list[int]]:
    return [list(bar) for bar in histogram(lengths)]


def _vocabulary_size(processor: Any) -> int:
    return len(processor) if hasattr(processor, "decode") else 0
