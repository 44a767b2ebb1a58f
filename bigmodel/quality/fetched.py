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
    title = _("Fashion-MNIST, all pictures")
    about = _("70,000 grey pictures of clothing, 28 x 28 pixels, ten classes of the same size.")

    def path(self) -> Path:
        return home() / "data" / f"{self.name}.parquet"

    def fetch(self) -> None:
        """Write the file if it is not there; Refusal where it cannot be had."""
        if self.path().exists():
            return
        command = [sys.executable, str(SCRIPT), "--full-fashion-mnist", str(self.path().parent)]
        if subprocess.run(command, check=False).returncode or not self.path().exists():
            what = _("{name} could not be fetched.", name=self.name)
            raise Refusal(what, do=_("The script says why above: {command}", command=" ".join(command)))


def register() -> None:
    """Add what is fetched to the catalogue of this process."""
    full = FashionMnistFull()
    catalog.datasets().setdefault(full.name, full)


def fetch(dataset: str) -> None:
    one = catalog.dataset(dataset)
    if isinstance(one, FashionMnistFull):
        one.fetch()
