"""Data that a check needs and the bundle is too small for: the 70,000 pictures of Fashion-MNIST."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.datasets.fashion_mnist import FashionMnist
from bigmodel.studio import home

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_bundle.py"


class FashionMnistFull(FashionMnist):
    name = "fashion_mnist_full"

    def path(self) -> Path:
        return home() / "data" / f"{self.name}.parquet"

    def fetch(self) -> None:
        """Write the file if it is not there; Refusal where it cannot be had: the script has said why."""
        if self.path().exists():
            return
        command = [sys.executable, str(SCRIPT), "--full-fashion-mnist", str(self.path().parent)]
        if subprocess.run(command, check=False).returncode or not self.path().exists():
            raise Refusal(
                _("The file of the data set {name} is missing: {path}.", name=self.name, path=str(self.path()))
            )


def register() -> None:
    """Add what is fetched to the catalogue of this process."""
    full = FashionMnistFull()
    catalog.datasets().setdefault(full.name, full)


def fetch(dataset: str) -> None:
    one = catalog.dataset(dataset)
    if isinstance(one, FashionMnistFull):
        one.fetch()
