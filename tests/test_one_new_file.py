"""Adding a task, an architecture or a data set is one new file, as docs/adding.md shows: dropped in, listed, trained and tried."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bigmodel

PACKAGE = Path(bigmodel.__file__).parent
SMALL = ["max_steps=5", "eval_every=5", "batch_size=8", "block_size=16", "vocabulary=500", "width=16"]

GUIDE = (PACKAGE.parent / "docs" / "adding.md").read_text("utf-8")
DATASET = re.search(r'```python\n("""The days of the week.*?)```', GUIDE, re.DOTALL)[1]
ARCHITECTURE = re.search(r'```python\n("""Llama, small.*?)```', GUIDE, re.DOTALL)[1]

TASK = '''
"""Titles: the model learns to name things."""
from bigmodel.core.words import _
from bigmodel.tasks.text_generation import TextGeneration

class Titles(TextGeneration):
    name = "titles"
    title = _("Titles")
    about = _("The model learns to write titles.")
    required_columns = frozenset({"title"})

    def processor(self, rows, settings):
        return super().processor(_titles(rows), settings)

    def encode(self, rows, processor, settings):
        return super().encode(_titles(rows), processor, settings)

    def examples(self, rows, settings):
        return [{"prompt": row["title"][:1]} for row in rows[:3]]

def _titles(rows):
    return rows.select_columns("title").rename_column("title", "text")
'''


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


@pytest.fixture
def package(tmp_path):
    """A copy of the package that files can be dropped into, and its command line."""
    place = tmp_path / "app"
    shutil.copytree(PACKAGE, place / "bigmodel", ignore=shutil.ignore_patterns("__pycache__", "starters"))

    def command(*words: str) -> dict | list:
        environment = os.environ | {"PYTHONPATH": str(place), "BIGMODEL_HOME": str(tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bigmodel", *words, "--json"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    command.folder, command.home = place / "bigmodel", tmp_path / "home"
    return command


def train_and_try(command, task: str, architecture: str, dataset: str) -> None:
    """Listed, trained to the end, and answering."""
    settings = [word for one in SMALL for word in ("--set", one)]
    found = json.dumps(command("list"))
    assert all(f'"{name}"' in found for name in (task, architecture, dataset))
    run = command("train", "--task", task, "--architecture", architecture, "--dataset", dataset, *settings, "--wait")
    assert run["state"] == "finished"
    answer = command("try", run["id"], "--set", "prompt=A", "--set", "max_new_tokens=3")
    assert answer


def test_a_data_set_is_one_new_file(package):
    import pyarrow
    import pyarrow.parquet as parquet

    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    texts = [f"{first} is not {second}, and {third} is neither." for first in days for second in days for third in days]
    splits = ["train"] * 300 + ["validation"] * 20 + ["test"] * 23
    parquet.write_table(pyarrow.table({"text": texts, "split": splits}), package.folder / "datasets" / "days.parquet")
    (package.folder / "datasets" / "days.py").write_text(DATASET, "utf-8")
    train_and_try(package, "text-generation", "gpt", "days")


def test_an_architecture_is_one_new_file(package):
    (package.folder / "architectures" / "llama.py").write_text(ARCHITECTURE, "utf-8")
    train_and_try(package, "text-generation", "llama", "prose_zh")


def test_a_loss_of_its_own_is_part_of_that_file_and_accumulated_batches_are_one_large_batch(package):
    (package.folder / "tasks" / "margins.py").write_text(OWN_LOSS, "utf-8")
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
        run = package("train", *names, *settings, "--wait")
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


def test_a_task_is_one_new_file(package):
    (package.folder / "tasks" / "titles.py").write_text(TASK, "utf-8")
    train_and_try(package, "titles", "gpt", "poetry_zh")


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
import json, sys
from pathlib import Path
from bigmodel.core.spec import RunSpec
from bigmodel.training.forecast import forecast
spec = RunSpec.check({"task": "punctuation", "architecture": "tagger", "dataset": "poetry_zh", "settings": json.loads(sys.argv[1])})
print(json.dumps(list(forecast(spec, Path(sys.argv[2])))[-1]))
"""


def test_a_head_is_one_entry_and_a_task_and_an_architecture_one_new_file_each(package, tmp_path):
    contracts = package.folder / "core" / "contracts.py"
    opening = "HEADS: Mapping[str, Head] = {"
    contracts.write_text(contracts.read_text("utf-8").replace(opening, opening + HEAD), "utf-8")
    (package.folder / "architectures" / "tagger.py").write_text(TAGGER, "utf-8")
    (package.folder / "tasks" / "punctuation.py").write_text(PUNCTUATION, "utf-8")
    train_and_try(package, "punctuation", "tagger", "poetry_zh")
    settings = json.dumps({"block_size": 16, "vocabulary": 500, "width": 16})
    command = [sys.executable, "-P", "-c", FORECAST, settings, str(tmp_path / "cache")]
    environment = os.environ | {"PYTHONPATH": str(package.folder.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["seconds"] > 0
