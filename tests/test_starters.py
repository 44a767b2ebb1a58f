"""The script that builds the starter models: it runs from the root, and every starter has a recipe and Chinese words."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.quality.checks import CHECKS
from bigmodel.core.model import STARTERS
from bigmodel.core.words import say
from scripts import train_starters

ROOT = Path(__file__).parents[1]


def run(*arguments):
    command = [sys.executable, "scripts/train_starters.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=120)


def test_the_script_lists_every_starter_with_its_recipe():
    done = run("list")
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(train_starters.ALL)
    assert all(starter.check in CHECKS and starter.check in done.stdout for starter in train_starters.ALL.values())


def test_an_unknown_starter_is_refused():
    done = run("build", "nobody")
    assert done.returncode == 2 and "Choose from: poet" in done.stderr


def test_starters_say_in_chinese_who_they_are():
    for starter in train_starters.ALL.values():
        for words in (starter.title, starter.about):
            assert say(words, "zh") != say(words, "en")


def test_the_starters_that_ship_are_those_of_the_script():
    for folder in STARTERS.iterdir():
        page = json.loads((folder / "bigmodel.json").read_text("utf-8"))
        assert page["title"] == train_starters.ALL[folder.name].title.to_json()
