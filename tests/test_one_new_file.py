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
