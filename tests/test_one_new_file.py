"""Adding a task, an architecture or a data set is one new file: dropped in, listed, trained and tried."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bigmodel

PACKAGE = Path(bigmodel.__file__).parent
SMALL = ["max_steps=5", "eval_every=5", "batch_size=8", "block_size=16", "vocabulary=500", "width=16"]

DATASET = '''
"""The days of the week."""
from pathlib import Path
from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _

class Days(Dataset):
    name = "days"
    title = _("Days")
    about = _("Sentences about the days of the week.")
    facts = DatasetInfo(licence="CC0", source="made here")
    columns = {"text": Column("text", _("Text"))}

    def path(self):
        return Path(__file__).with_name("days.parquet")
'''

ARCHITECTURE = '''
"""Llama, small."""
from bigmodel.core.contracts import Architecture
from bigmodel.core.fields import Number
from bigmodel.core.words import _

class Llama(Architecture):
    name = "llama"
    title = _("Llama")
    about = _("A decoder with rotary positions.")
    heads = frozenset({"causal-lm"})
    hyperparameters = (Number(name="width", label=_("Width"), help=_("Width."), integer=True, default=64, minimum=8, maximum=512),)

    def model(self, facts, settings):
        from transformers import LlamaConfig, LlamaForCausalLM
        width = settings["width"]
        return LlamaForCausalLM(LlamaConfig(
            vocab_size=facts["vocabulary"], hidden_size=width, intermediate_size=2 * width, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=settings["block_size"],
            bos_token_id=facts["end"], eos_token_id=facts["end"], pad_token_id=facts["pad"]))
'''

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

    command.folder = place / "bigmodel"
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


def test_a_task_is_one_new_file(package):
    (package.folder / "tasks" / "titles.py").write_text(TASK, "utf-8")
    train_and_try(package, "titles", "gpt", "poetry_zh")
