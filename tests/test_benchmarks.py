"""The command frame of the benchmarks, and the pages: they show what is kept, and their commands are understood."""

import re
import shlex
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import SUITES, _parser, main, reports, suite_module

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "BENCHMARKS.md", ROOT / "RELIABILITY.md", *(ROOT / "docs" / "benchmarks").glob("*.md")]
PLACEHOLDERS = {"quality": ("NAME", "digits-cnn"), "speed": ("NAME", "gpt")}


@pytest.mark.parametrize("suite", SUITES)
def test_the_page_says_what_the_figures_say(suite):
    kept = suite_module(suite).REPORT
    assert kept.figures() and kept.updated_page() == kept.page.read_text("utf-8")


def test_the_overview_says_what_the_figures_say():
    assert report.overview(reports()) == report.OVERVIEW.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_pages_are_understood(page):
    commands = set(re.findall(r"`python -m benchmarks ([^`]+)`", page.read_text("utf-8")))
    assert commands
    for command in commands:
        suite, *rest = shlex.split(command)
        word, name = PLACEHOLDERS.get(suite, ("", ""))
        arguments = [suite, *(name if part == word else part for part in rest)]
        assert _parser(arguments).parse_args(arguments).suite == suite


@pytest.mark.parametrize("arguments", [[], ["dance"], ["speed", "--dance"], ["forecasts", "--write"]])
def test_wrong_usage_ends_with_2(arguments):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2


def test_ctrl_c_ends_with_130(monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(suite_module("doctor"), "run", interrupted)
    assert main(["doctor", "--dry"]) == 130
