"""An engine: a loaded model that answers with a generator of blocks."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bigmodel.core import catalog
from bigmodel.core.blocks import Block
from bigmodel.core.contracts import Architecture, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import check_inputs
from bigmodel.core.words import _

KEPT = 3  # models held in memory; the least recently used leaves


def load_model(folder: Path, architecture: Architecture, head: str) -> Any:
    """The model in a folder, in fp32, on the CPU; only safetensors are read and no code of the folder runs."""
    import torch
    import transformers

    architecture.register()
    auto = {
        "causal-lm": transformers.AutoModelForCausalLM,
        "seq2seq-lm": transformers.AutoModelForSeq2SeqLM,
        "image-classification": transformers.AutoModelForImageClassification,
    }[head]
    model = auto.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    return model.eval()


class Engine:
    """A task's answers with one model."""

    def __init__(self, folder: Path):
        from bigmodel.data.prepare import load_processor

        try:
            about = json.loads((folder / "bigmodel.json").read_text("utf-8"))
        except (OSError, ValueError):
            what = _("There is no model in {folder}.", folder=str(folder))
            raise Refusal(what, do=_("Choose another one."), field="model") from None
        self.task: Task = catalog.task(about["spec"]["task"])
        architecture = catalog.architecture(about["spec"]["architecture"])
        self.model = load_model(folder, architecture, self.task.head)
        self.processor = load_processor(folder)

    def answer(self, inputs: Mapping) -> Iterator[Block]:
        """Blocks as they come; inputs are checked and filled up with defaults first."""
        yield from self.task.answer(self.model, self.processor, check_inputs(self.task, inputs))


class Engines:
    """Engines by folder, a few at a time."""

    def __init__(self) -> None:
        self.loaded: OrderedDict[tuple, Engine] = OrderedDict()

    def get(self, folder: Path) -> Engine:
        about = folder / "bigmodel.json"
        key = (folder, about.stat().st_mtime_ns if about.exists() else 0)  # a run that goes on writes a new model
        if key not in self.loaded:
            self.loaded[key] = Engine(folder)
        self.loaded.move_to_end(key)
        while len(self.loaded) > KEPT:
            self.loaded.popitem(last=False)
        return self.loaded[key]
