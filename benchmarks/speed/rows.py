"""Rows that benchmarks need and the bundle has not: pictures of 32 x 32 in colour, a hundred megabytes of text."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset
from bigmodel.data.prepare import head
from bigmodel.datasets.classics_en import ClassicsEn
from bigmodel.datasets.fashion_mnist import FashionMnist
from bigmodel.studio import home

SIDE = 32  # pixels
PICTURES = {"train": 4096, "validation": 64, "test": 64}
SIZES = {"bench_texts": 100, "bench_texts_tenth": 10, "bench_texts_hundredth": 1}  # name -> MB of text


class Pictures(FashionMnist):
    """Clothes as small colour pictures: what CIFAR has, without fetching it."""

    name = "bench_pictures"

    def path(self) -> Path:
        return made(self.name, lambda: _pictures(FashionMnist()))


class Texts(ClassicsEn):
    """The bundled English and Chinese texts over and over, in ever other order, until it is enough."""

    columns = {"text": ClassicsEn.columns["text"]}

    def __init__(self, name: str, megabytes: int):
        self.name, self.megabytes = name, megabytes

    def path(self) -> Path:
        return made(self.name, lambda: _texts(self.megabytes * 10**6))


def register() -> None:
    """Make them known in this process; their files are written when they are first asked for."""
    known = catalog.datasets()
    for one in (Pictures(), *(Texts(name, megabytes) for name, megabytes in SIZES.items())):
        known.setdefault(one.name, one)


def made(name: str, rows: Any) -> Path:
    """A Parquet file in the home folder, written whole or not at all."""
    import pyarrow
    import pyarrow.parquet as parquet

    path = home() / "bench" / f"{name}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{os.getpid()}")
        parquet.write_table(pyarrow.Table.from_pylist(list(rows())), staging, row_group_size=1000)
        os.replace(staging, path)
    return path


def _pictures(source: Dataset) -> Iterator[dict]:
    from PIL import Image

    for split, count in PICTURES.items():
        for row in head(source, split, count):
            with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
                small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            file = io.BytesIO()
            small.save(file, "PNG")
            yield {"image": {"bytes": file.getvalue(), "path": None}, "label": row["label"], "split": split}


def _texts(size: int) -> Iterator[dict]:
    """`size` bytes of UTF-8 to train on, and a little to validate and test with."""
    import numpy as np

    sources = [catalog.dataset(name) for name in ("classics_en", "prose_zh")]
    for split, bound in (("train", size), ("validation", size // 100), ("test", size // 100)):
        texts = [row["text"] for source in sources for row in head(source, split, 10_000)]
        yield from _over_and_over(texts, bound, np.random.default_rng(0), split)


def _over_and_over(texts: Iterable[str], bound: int, random: Any, split: str) -> Iterator[dict]:
    texts, written = list(texts), 0
    while True:
        for index in random.permutation(len(texts)):
            yield {"text": texts[index], "split": split}
            written += len(texts[index].encode())
            if written >= bound:
                return
