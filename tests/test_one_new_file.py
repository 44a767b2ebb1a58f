"""Adding a task, an architecture or a data set is one new file, as docs/adding.md shows: dropped in, listed, trained and tried."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import bigmodel
from bigmodel.core.fork_server import VARIABLE

PACKAGE = Path(bigmodel.__file__).parent
SMALL = ["max_steps=5", "eval_every=5", "batch_size=8", "block_size=16", "vocabulary=500", "width=16"]

GUIDE = (PACKAGE.parent / "docs" / "adding.md").read_text("utf-8")
DATASET = re.search(r'```python\n("""The days of the week.*?)```', GUIDE, re.DOTALL)[1]
TASK = re.search(r'```python\n("""Verse to order.*?)```', GUIDE, re.DOTALL)[1]
ARCHITECTURE = re.search(r'```python\n("""Llama, small.*?)```', GUIDE, re.DOTALL)[1]

OWN_LOSS = '''
"""Digits by margin: a picture counts as much as its digit and one more."""
from bigmodel.core.contracts import Loss
from bigmodel.core.words import _
from bigmodel.tasks.image_classification import ImageClassification

class Margins(ImageClassification):
    name = "margins"
    title = _("Margins")
    about = _("The right digit is to lead by a margin, and no answer is to be loud.")
    losses = ()

    def loss(self, outputs, targets, settings):
        logits, labels = outputs.logits.float(), targets["labels"]
        counts = (labels + 1.0) / (labels + 1.0).sum()
        lead = logits.gather(1, labels[:, None]) - logits
        margin = ((1 - lead).clamp_min(0).sum(1) * counts).sum()
        loudness = 0.1 * (logits.square().mean(1) * counts).sum()
        return Loss(margin + loudness, {"margin": margin, "loudness": loudness})

    def loss_weight(self, batch):
        return float((batch["labels"] + 1).sum())
'''


HEAD = """
    "token-classification": Head(
        inputs=("input_ids",),
        logits="batch, tokens, classes",
        labels="batch, tokens",
        auto_class="AutoModelForTokenClassification",
        classifies=True,
    ),
"""

TAGGER = '''
"""BERT with an answer for each token."""
from bigmodel.core.contracts import Architecture
from bigmodel.core.fields import Number
from bigmodel.core.words import _

class Tagger(Architecture):
    name = "tagger"
    title = _("Tagger")
    about = _("An encoder that names a class for each token.")
    heads = frozenset({"token-classification"})
    hyperparameters = (Number(name="width", label=_("Width"), help=_("Width."), integer=True, default=64, minimum=8, maximum=512),)

    def model(self, facts, settings):
        from transformers import BertConfig, BertForTokenClassification
        width = settings["width"]
        return BertForTokenClassification(BertConfig(
            vocab_size=facts["vocabulary"], hidden_size=width, intermediate_size=2 * width, num_hidden_layers=1,
            num_attention_heads=2, pad_token_id=facts["pad"], max_position_embeddings=settings["block_size"],
            id2label=dict(enumerate(facts["classes"]))))
'''

PUNCTUATION = '''
"""Punctuation: the model learns where a line without marks breaks."""
from bigmodel.core.blocks import Scores
from bigmodel.core.words import _
from bigmodel.tasks.text_generation import TextGeneration

MARKS = "\\uff0c\\u3002\\uff1f\\uff01"

class Punctuation(TextGeneration):
    name = "punctuation"
    title = _("Punctuation")
    about = _("The model learns where marks belong.")
    head = "token-classification"

    def facts(self, rows, processor, settings):
        return super().facts(rows, processor, settings) | {"classes": ["none", "mark"]}

    def encode(self, rows, processor, settings):
        """tokens without marks, and whether a mark stands behind each."""
        import numpy as np
        text = "".join(rows["text"])
        places = [i for i, sign in enumerate(text) if sign not in MARKS]
        marked = [text[i + 1 : i + 2] in MARKS and i + 1 < len(text) for i in places]
        ids = [processor.convert_tokens_to_ids(text[i]) for i in places]
        ids = [processor.unk_token_id if one is None else one for one in ids]
        return {"tokens": np.asarray(ids), "marked": np.asarray(marked, dtype=np.int64)}

    def batch(self, arrays, indices, settings, epoch):
        import torch
        spans = [slice(i, i + settings["block_size"]) for i in indices]
        spans = [span for span in spans if span.stop <= len(arrays["tokens"])] or [slice(-settings["block_size"], None)]
        return {"input_ids": torch.stack([torch.from_numpy(arrays["tokens"][span]) for span in spans]),
                "labels": torch.stack([torch.from_numpy(arrays["marked"][span]) for span in spans])}

    def measure(self, model, processor, arrays, settings, final=False):
        import torch
        from torch.nn.functional import cross_entropy
        batch = self.batch(arrays, self.batch_indices(arrays, settings, None)[0], settings, None)
        with torch.inference_mode():
            logits = model(input_ids=batch["input_ids"]).logits
        return {"loss": cross_entropy(logits.flatten(0, 1), batch["labels"].flatten()).item()}

    def answer(self, model, processor, inputs):
        import torch
        ids = processor(inputs["prompt"], add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            chances = model(input_ids=ids).logits[0, -1].softmax(-1)
        yield Scores(tuple(model.config.id2label.values()), tuple(chances.tolist()))
'''

FORECAST = """
from bigmodel.studio import Studio
studio = Studio()
settings = {"block_size": 16, "vocabulary": 500, "width": 16}
spec = {"task": "punctuation", "architecture": "tagger", "dataset": "poetry_zh", "settings": settings}
print(studio.models.forecast(spec).seconds)
studio.close()
"""

FILES = {
    "datasets/days.py": DATASET,
    "architectures/llama.py": ARCHITECTURE,
    "architectures/tagger.py": TAGGER,
    "tasks/verse_to_order.py": TASK,
    "tasks/margins.py": OWN_LOSS,
    "tasks/punctuation.py": PUNCTUATION,
}

SERVER = """
import os, sys
from bigmodel import studio
from bigmodel.core import child_process
with child_process.preloading(studio.LIBRARIES):
    print(os.environ["BIGMODEL_FORK_SERVER"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package with every new file dropped in, its command line, and a fork server of its own."""
    place = tmp_path_factory.mktemp("app")
    shutil.copytree(PACKAGE, place / "bigmodel", ignore=shutil.ignore_patterns("__pycache__", "starters"))
    for name, text in FILES.items():
        (place / "bigmodel" / name).write_text(text, "utf-8")
    _write_days(place / "bigmodel" / "datasets" / "days.parquet")
    contracts = place / "bigmodel" / "core" / "contracts.py"
    opening = "HEADS: Mapping[str, Head] = {"
    contracts.write_text(contracts.read_text("utf-8").replace(opening, opening + HEAD), "utf-8")
    environment = os.environ | {"PYTHONPATH": str(place), "BIGMODEL_HOME": str(place / "home"), VARIABLE: ""}
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", SERVER],
        cwd=place,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", *command], cwd=place, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    environment[VARIABLE] = server.stdout.readline().strip()
    package = SimpleNamespace(home=place / "home", run=run)
    package.bigmodel = lambda *words: json.loads(run("-m", "bigmodel", *words, "--json"))
    package.listed = json.dumps(package.bigmodel("list"))
    yield package
    server.communicate()  # its stdin ends, and so does it


def _write_days(path: Path) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    texts = [f"{first} is not {second}, and {third} is neither." for first in days for second in days for third in days]
    splits = ["train"] * 300 + ["validation"] * 20 + ["test"] * 23
    parquet.write_table(pyarrow.table({"text": texts, "split": splits}), path)


def train_and_try(package, task: str, architecture: str, dataset: str, prompt: str = "A") -> str:
    """Listed, trained to the end, and answering: the answer."""
    settings = [word for one in SMALL for word in ("--set", one)]
    assert all(f'"{name}"' in package.listed for name in (task, architecture, dataset))
    names = ("--task", task, "--architecture", architecture, "--dataset", dataset)
    run = package.bigmodel("train", *names, *settings, "--wait")
    assert run["state"] == "finished"
    answer = package.bigmodel("try", run["id"], "--set", f"prompt={prompt}", "--set", "max_new_tokens=3")
    assert answer
    return json.dumps(answer, ensure_ascii=False)


def test_a_data_set_is_one_new_file(package):
    train_and_try(package, "text-generation", "gpt", "days")


def test_an_architecture_is_one_new_file(package):
    train_and_try(package, "text-generation", "llama", "prose_zh")


def test_a_task_is_one_new_file(package):
    assert "春望" in train_and_try(package, "verse-to-order", "gpt", "poetry_zh", prompt="春望")


def test_a_head_is_one_entry_and_a_task_and_an_architecture_one_new_file_each(package):
    train_and_try(package, "punctuation", "tagger", "poetry_zh")
    assert float(package.run("-c", FORECAST)) > 0


def test_a_loss_of_its_own_is_part_of_that_file_and_accumulated_batches_are_one_large_batch(package):
    exact = {
        "max_steps": 3,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "clip": 0,
        "augment": "none",
        "precision": "fp32",
    }
    small = {"width": 16, "layers": 1, "attention_heads": 2, "schedule": "constant", "warmup": 0, "weight_decay": 0}

    def steps(**sizes) -> list[dict]:
        settings = [word for name, value in (exact | small | sizes).items() for word in ("--set", f"{name}={value}")]
        names = ["--task", "margins", "--architecture", "vit", "--dataset", "digits"]
        run = package.bigmodel("train", *names, *settings, "--wait")
        folder = package.home / "runs" / run["id"]
        known = json.loads((folder / "spec.json").read_text("utf-8"))["settings"].keys()
        assert run["state"] == "finished" and not {"loss", "label_smoothing"} & known
        lines = (folder / "events.jsonl").read_text("utf-8").splitlines()
        return [event for event in map(json.loads, lines) if event["kind"] == "step"]

    large, accumulated = steps(batch_size=16), steps(batch_size=8, accumulation=2)
    assert len(large) == len(accumulated) == 3
    for one, other in zip(large, accumulated, strict=True):
        assert one["loss_parts"].keys() == {"margin", "loudness"}
        assert sum(one["loss_parts"].values()) == pytest.approx(one["loss"], rel=1e-5)
        assert other["loss_parts"] == pytest.approx(one["loss_parts"], rel=1e-4)
        assert (other["loss"], other["gradient_norm"]) == pytest.approx((one["loss"], one["gradient_norm"]), rel=1e-4)
