"""What README.md shows is true: its tree, its links, its commands, and the task it adds."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.quality.checks import CHECKS
from benchmarks.speed.command import COMPARISONS
from bigmodel.cli import base_models, datasets, runs
from bigmodel.core import catalog
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import say

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"]
COMMANDS = re.findall(r"^python -m bigmodel (.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_the_tree_is_that_of_the_files():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "tree.py", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")) if "://" not in link]
    assert not [link for link in links if not (ROOT / link).exists()]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_readme_are_understood(command):
    verb, *rest = shlex.split(command)
    if verb == "quality":
        assert set(rest) <= set(CHECKS)
        return
    if verb == "bench":
        assert set(rest) <= set(COMPARISONS)
        return
    if verb == "data":
        datasets._parser("en").parse_args(rest)
        return
    if verb == "bases":
        base_models._parser("en").parse_args(rest)
        return
    asked = runs._parser(lambda words: say(words, "en")).parse_args([verb, *rest])
    if verb == "train":
        names = {"task": asked.task, "architecture": asked.architecture, "dataset": asked.dataset}
        known = RunSpec.check(names).settings
        assert {name for name, _value in asked.settings} <= set(known)
    if verb == "list" and asked.task:
        assert catalog.task(asked.task) and catalog.architecture(asked.architecture)


def test_the_task_of_the_readme_is_found_trained_and_tried(tmp_path):
    without = shutil.ignore_patterns("starters", "__pycache__")
    shutil.copytree(ROOT / "bigmodel", tmp_path / "bigmodel", ignore=without)
    code = re.search(r'```python\n("""Verse to order.*?)```', README, re.DOTALL)[1]
    (tmp_path / "bigmodel" / "tasks" / "verse_to_order.py").write_text(code, "utf-8")

    def bigmodel(*arguments):
        command = [sys.executable, "-m", "bigmodel", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=250)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "gpt" in bigmodel("list", "--task", "verse-to-order")
    small = ["layers=1", "width=32", "attention_heads=2", "block_size=32", "max_steps=3"]
    names = ["--task", "verse-to-order", "--architecture", "gpt", "--dataset", "poetry_zh"]
    run = bigmodel("train", *names, *(part for one in small for part in ("--set", one)), "--wait").splitlines()[0]
    assert "春望" in bigmodel("try", run, "--set", "prompt=春望", "--set", "max_new_tokens=4")
