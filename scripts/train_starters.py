"""The starter models that ship with bigmodel: trained by the recipes of the checks, kept small in fp16.

python scripts/train_starters.py build [NAME ...]
python scripts/train_starters.py settings [NAME ...]
python scripts/train_starters.py list
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.options import name_of
from benchmarks.quality.checks import CHECKS
from benchmarks.quality.command import print_progress
from benchmarks.quality.measure import Failed, measure
from bigmodel.core import blocks, catalog
from bigmodel.core.model import STARTERS
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import head, load_processor
from bigmodel.studio import home
from bigmodel.training import checkpoint

MEGABYTES = 15  # all starters together: they are part of every clone


@dataclass(frozen=True)
class Starter:
    """A model that answers before anybody has trained anything. `check` names its recipe."""

    name: str
    check: str
    title: Words
    about: Words
    examples: Callable[[], list[dict]]


def _pictures() -> list[dict]:
    return [{"image": row["image"]["bytes"]} for row in _of_each_class("fashion_mnist")]


def _verse() -> list[dict]:
    return [{"text": row["text"]} for row in _of_each_class("verse_zh")]


def _of_each_class(dataset: str) -> list[dict]:
    """A row of each from the test split, so that the first click shows something else than the second."""
    by_label: dict[int, dict] = {}
    for row in head(catalog.dataset(dataset), "test", 600):
        by_label.setdefault(row["label"], row)
    return [by_label[label] for label in sorted(by_label)]


POEMS = ("春眠不觉晓，", "明月几时有，", "独坐空山里，", "长江万里秋，", "故人从此去，", "夜雨敲窗竹，")
PHRASES = (
    "Failed to load the page. Please try again later.",
    "Do you want to save the changes before closing?",
    "Are you sure you want to delete this file?",
    "This feature is not supported on your device.",
    "Choose a color for the background.",
    "The server is not responding.",
)

ALL: Mapping[str, Starter] = {
    starter.name: starter
    for starter in (
        Starter(
            "poet", "poetry-gpt", _("Poet"),
            _("Writes verse in the manner of the Tang and Song. A small GPT, raised on 13,600 poems."),
            lambda: [{"prompt": text, "max_new_tokens": 60, "temperature": 0.8, "stop": ""} for text in POEMS],
        ),
        Starter(
            "translator", "en-zh", _("Translator"),
            _("Translates the English of programs - messages, menus, settings - into Chinese. A small Transformer."),
            lambda: [{"text": text} for text in PHRASES],
        ),
        Starter(
            "connoisseur", "verse-bert", _("Connoisseur of verse"),
            _("Says what kind of Chinese verse a text is: shi of the Tang or the Song, ci or qu. A small BERT."),
            _verse,
        ),
        Starter(
            "classifier", "fashion-cnn", _("Clothes expert"),
            _("Says what a picture of clothing shows, of ten kinds. A small convolutional network."),
            _pictures,
        ),
    )
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python scripts/train_starters.py",
        description="Train the starter models and put them into the package. A model that `python -m benchmarks quality` "
        "has trained with the very same recipe is taken as it is. `settings` leaves the weights as they are and writes anew "
        "what tells transformers how to use them.",
    )
    parser.add_argument("verb", choices=["build", "settings", "list"])
    parser.add_argument("names", nargs="*", metavar="NAME", type=name_of("starter", ALL))
    parser.add_argument(
        "--threads", type=int, default=min(2, os.cpu_count() or 1), help="of the training (%(default)s)"
    )
    options = parser.parse_args(arguments)
    starters = [ALL[name] for name in options.names or ALL]
    if options.verb == "list":
        print("\n".join(f"{starter.name}: {starter.about} Recipe: {starter.check}." for starter in starters))
        return 0
    try:
        for starter in starters:
            folder = build(starter, options.threads) if options.verb == "build" else rewrite_settings(starter)
            print(f"{starter.name}: {folder}", flush=True)
    except Failed as failure:
        print(f"bigmodel: {failure}", file=sys.stderr)
        return 1
    return _check_size()


def build(starter: Starter, threads: int) -> Path:
    """Train unless a model of the very same spec lies there, then write the starter's folder."""
    check = CHECKS[starter.check]
    trained = home() / "quality" / check.name / "model"
    if not _is_trained(trained, check.spec().to_json()):
        measure(check, home(), threads, partial(print_progress, check))
    folder = STARTERS / starter.name
    checkpoint.save(folder, lambda staging: _write(starter, trained, staging))
    return folder


def rewrite_settings(starter: Starter) -> Path:
    """The starter's folder with tokenizer and settings of generation as a run would keep them today."""
    folder = STARTERS / starter.name

    def write(staging: Path) -> None:
        from bigmodel.inference.engine import load_model

        for name in ("model.safetensors", "bigmodel.json", "config.json"):
            shutil.copyfile(folder / name, staging / name)
        spec = json.loads((folder / "bigmodel.json").read_text("utf-8"))["spec"]
        task = catalog.task(spec["task"])
        model = load_model(folder, catalog.architecture(spec["architecture"]), task.head)
        task.export(model, load_processor(folder), spec["settings"]).save_pretrained(staging)
        if model.can_generate():
            model.generation_config.save_pretrained(staging)
        _computed_in_fp32(staging / "config.json")

    return checkpoint.save(folder, write)


def _computed_in_fp32(file: Path) -> None:
    """transformers computes in the dtype of the config, whatever the weights are stored in: fp16 here, which is for the disk alone."""
    config = json.loads(file.read_text("utf-8")) | {"dtype": "float32"}
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _is_trained(model: Path, spec: Mapping) -> bool:
    about = model / "bigmodel.json"
    return about.exists() and json.loads(about.read_text("utf-8"))["spec"] == spec and checkpoint.verify(model)


def _write(starter: Starter, trained: Path, staging: Path) -> None:
    """The weights in fp16, half the size for no visible loss, and a page about them."""
    import torch

    from bigmodel.inference.engine import load_model

    about = json.loads((trained / "bigmodel.json").read_text("utf-8"))
    spec = about["spec"]
    model = load_model(trained, catalog.architecture(spec["architecture"]), catalog.task(spec["task"]).head)
    model.to(torch.float16).save_pretrained(staging)
    _computed_in_fp32(staging / "config.json")
    load_processor(trained).save_pretrained(staging)
    page = about | {
        "title": starter.title.to_json(),
        "about": starter.about.to_json(),
        "examples": [blocks.pack(example) for example in starter.examples()],
    }
    (staging / "bigmodel.json").write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _check_size() -> int:
    size = sum(path.stat().st_size for path in STARTERS.rglob("*") if path.is_file())
    print(f"all starters: {size / 2**20:.1f} MB of {MEGABYTES}")
    return 0 if size <= MEGABYTES * 2**20 else 1


if __name__ == "__main__":
    sys.exit(main())
