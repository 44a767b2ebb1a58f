"""Getting data ready: ours beside datasets.map and a DataLoader; and how soon a second run begins."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.report import alone, compared
from benchmarks.speed.rows import SIZES
from benchmarks.speed.side import Side, alternate
from benchmarks.speed.training import cache, prepared, spec_from, spec_of
from bigmodel.core import catalog
from bigmodel.core.spec import RunSpec

HERE = "benchmarks.speed.data:"
READ_SECONDS = 1.5  # of reading batches
TURNS = 3  # of encoding 100 MB: each takes the better part of a minute


def spec(dataset: str = "bench_texts", **more: object) -> RunSpec:
    return spec_of("text-generation", "gpt", dataset, **{"tokenizer": "bpe", "vocabulary": 8192, **more})


def data(rounds: int) -> list[dict]:
    megabytes = SIZES["bench_texts"]
    whole, tenth = {"spec": spec().to_json()}, {"spec": spec("bench_texts_tenth").to_json()}
    encoded = alternate(
        {"ours": Side(HERE + "our_encoding", **whole), "map": Side(HERE + "their_encoding", **whole)},
        min(rounds, TURNS),
    )
    read = alternate(
        {"ours": Side(HERE + "our_batches", **tenth), "loader": Side(HERE + "their_batches", **tenth)}, rounds
    )
    again = alternate({"ours": Side(HERE + "second_run", **whole)}, rounds)["ours"]
    note = "the same rows and tokenizer, both written to the disk; ours as arrays, theirs as Arrow"
    many = "16 windows of 128 tokens in random order"
    return [
        compared(
            f"tokenise and keep {megabytes} MB of text", encoded["ours"], "datasets.map, batched", encoded["map"],
            "MB/s", ">= 1", note=note,
        ),
        compared(f"read batches, {many}", read["ours"], "datasets + DataLoader", read["loader"], "tokens/s", ">= 10"),
        alone(
            f"a second run on {megabytes} MB: from its start to data in hand",
            [one["seconds"] for one in again], "s", "<= 1",
        ),
    ]  # fmt: skip


# -- text to tokens ----------------------------------------------------------------------------------------
def _rows(asked: RunSpec) -> tuple[Any, Any, float]:
    """(training rows, the tokenizer that was made from them, megabytes of text)."""
    rows = catalog.dataset(asked.dataset).rows()["train"].select_columns(["text"])
    return rows, tokenizer(asked), sum(len(text.encode()) for text in rows["text"]) / 1e6


def tokenizer(asked: RunSpec) -> Any:
    """Made once, from a hundredth of the rows: making it is no part of the comparison."""
    return prepared(spec("bench_texts_hundredth", vocabulary=asked.settings["vocabulary"])).processor


def our_encoding(spec: Mapping) -> Callable[[], dict]:
    import numpy as np

    asked = spec_from(spec)
    rows, processor, size = _rows(asked)
    task = catalog.task(asked.task)

    def measure() -> dict:
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            begun = time.perf_counter()
            for name, array in task.encode(rows, processor, asked.settings).items():
                np.save(Path(folder) / f"train.{name}.npy", array)
            seconds = time.perf_counter() - begun
            tokens = len(np.load(Path(folder) / "train.tokens.npy", mmap_mode="r"))
        return {"rate": size / seconds, "seconds": seconds, "tokens": tokens}

    return measure


def their_encoding(spec: Mapping) -> Callable[[], dict]:
    asked = spec_from(spec)
    rows, processor, size = _rows(asked)

    def encode(batch: Mapping) -> dict:
        return {"input_ids": processor(batch["text"], add_special_tokens=False)["input_ids"]}

    def measure() -> dict:
        with tempfile.TemporaryDirectory(dir=cache()) as folder:
            begun = time.perf_counter()
            file = str(Path(folder) / "encoded.arrow")
            done = rows.map(
                encode, batched=True, remove_columns=["text"], cache_file_name=file, load_from_cache_file=False
            )
            seconds = time.perf_counter() - begun
            tokens = len(done.data.column("input_ids").combine_chunks().flatten())
        return {"rate": size / seconds, "seconds": seconds, "tokens": tokens}

    return measure


# -- tokens to batches ---------------------------------------------------------------------------------------
def our_batches(spec: Mapping) -> Callable[[], dict]:
    """As the loop asks for them."""
    asked = spec_from(spec)
    arrays, task = prepared(asked).arrays["train"], catalog.task(asked.task)

    def measure() -> dict:
        units, epoch, begun = 0, 0, time.perf_counter()
        while True:
            for indices in task.batch_indices(arrays, asked.settings, epoch):
                units += task.count_units(task.batch(arrays, indices, asked.settings, epoch))
                if time.perf_counter() - begun > READ_SECONDS:
                    return {"rate": units / (time.perf_counter() - begun)}
            epoch += 1

    return measure


def their_batches(spec: Mapping) -> Callable[[], dict]:
    """Blocks of tokens in Arrow, as transformers' language-modelling example leaves them."""
    import datasets
    import torch
    import transformers

    asked = spec_from(spec)
    tokens, block = prepared(asked).arrays["train"]["tokens"], asked.settings["block_size"]
    blocks = tokens[: len(tokens) // block * block].reshape(-1, block).astype("int32")
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        datasets.Dataset.from_dict({"input_ids": blocks, "labels": blocks}).save_to_disk(folder)
        kept = datasets.load_from_disk(folder)  # mapped, as what map leaves is; the mapping outlives the file's name
    size = asked.settings["batch_size"]

    def measure() -> dict:
        units, begun = 0, time.perf_counter()
        while True:
            loader = torch.utils.data.DataLoader(
                kept, batch_size=size, shuffle=True, collate_fn=transformers.default_data_collator
            )
            for batch in loader:
                units += batch["labels"].numel()
                if time.perf_counter() - begun > READ_SECONDS:
                    return {"rate": units / (time.perf_counter() - begun)}

    return measure


def second_run(spec: Mapping) -> Callable[[], dict]:
    """A worker whose libraries are loaded, as those of a forked one are."""
    from bigmodel.training.warm_up import import_libraries

    asked = spec_from(spec)
    prepared(asked)
    import_libraries()

    def measure() -> dict:
        begun = time.perf_counter()
        found = prepared(asked)
        task = catalog.task(asked.task)
        first = task.batch_indices(found.arrays["train"], asked.settings, 0)[0]
        task.batch(found.arrays["train"], first, asked.settings, 0)
        return {"seconds": time.perf_counter() - begun}

    return measure
