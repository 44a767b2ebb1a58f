"""What the documentation shows is true: generated parts, links, commands, figures, the task of the guide; and both READMEs
say the same."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import bigmodel
from benchmarks import __main__ as benchmarks
from bigmodel.cli import command as cli
from bigmodel.core import catalog
from bigmodel.core.spec import RunSpec

ROOT = Path(__file__).parents[1]
READMES = (ROOT / "README.md", ROOT / "README.zh.md")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = {page: page.read_text("utf-8") for page in PAGES}
IMAGE_BYTES = 2_000_000  # what a README may cost on a slow line


def commands(program):
    """What follows `python -m PROGRAM`, on a line of its own or between backticks, in README and docs/."""
    pages = [*READMES, *(page for page in PAGES if page.parent == ROOT / "docs" and page.name != "TREE.md")]
    lines = re.compile(rf"^python -m {program} (.*?)(?:\s+#.*)?$|`python -m {program} ([^`\n]*)`", re.MULTILINE)
    found = {next(filter(None, match)) for page in pages for match in lines.findall(TEXTS[page])}
    return sorted(command for command in found if "..." not in command)


def links(page):
    """(target, heading) of every link and image that leads to a file of the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", TEXTS[page])
    return [target.partition("#")[::2] for target in targets if "://" not in target]


def anchors(page):
    """The headings as GitHub names them in an address."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_generated_parts_are_those_of_the_files():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "tree.py", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, heading in links(page):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        assert not heading or heading in anchors(path), f"{target}#{heading}"


def test_files_that_the_architecture_names_exist():
    named = re.findall(r"`((?:[\w.]+/)*[\w.]+\.(?:py|md))`", TEXTS[ROOT / "ARCHITECTURE.md"])
    below = ("", "bigmodel", "bigmodel/training")
    assert not {name for name in named if not any((ROOT / folder / name).exists() for folder in below)}


@pytest.mark.parametrize("command", commands("bigmodel"))
def test_commands_are_understood(command):
    arguments = shlex.split(command)
    options = cli.parser(arguments).parse_args(arguments)
    if arguments[0] == "train":
        names = {"task": options.task, "architecture": options.architecture, "dataset": options.dataset}
        known = RunSpec.check(names).settings
        assert {name for name, _value in options.settings} <= set(known)
    if arguments[0] == "list" and options.task:
        assert catalog.task(options.task) and catalog.architecture(options.architecture)


@pytest.mark.parametrize("command", commands("benchmarks"))
def test_commands_of_the_benchmarks_are_understood(command):
    arguments = shlex.split(command)
    assert benchmarks._parser(arguments).parse_args(arguments).suite == arguments[0]


def test_the_readme_is_read_to_its_end():
    assert all(len(TEXTS[page].splitlines()) <= 200 for page in READMES)


def test_both_readmes_have_the_same_parts_in_the_same_order():
    english, chinese = (outline(TEXTS[page].replace(".zh.", ".").replace(".en.", ".")) for page in READMES)
    assert english == chinese


def outline(text):
    """All of a page but its words."""
    lines = text.splitlines()
    code = "\n".join(re.findall(r"```\w*\n(.*?)```", text, re.DOTALL))
    return {
        "headings": [line.split()[0] for line in lines if line.startswith("#")],
        "items": sum(line.startswith("- ") for line in lines),
        "rows": [line.count("|") for line in lines if line.startswith("|")],
        "figures": [figure for line in lines for figure in figures(line)],
        "code": [line.partition("#")[0].strip() for line in code.splitlines()],
        "commands": re.findall(r"`(python[^`]*)`", text),
        "links": sorted(re.findall(r"\]\(([^)]+)\)", text)),
    }


def figures(line):
    """What a table shows in bold, without its words."""
    bold = re.findall(r"\*\*([^*]*\d[^*]*)\*\*", line) if line.startswith("|") else []
    return [" ".join(text.split()) for text in bold]


@pytest.mark.parametrize("figure", sorted({bold for line in TEXTS[READMES[0]].splitlines() for bold in figures(line)}))
def test_figures_of_the_readme_stand_where_they_were_measured(figure):
    reports = [ROOT / "BENCHMARKS.md", ROOT / "RELIABILITY.md", *(ROOT / "docs" / "benchmarks").glob("*.md")]
    assert any(re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,]\d)", TEXTS[page]) for page in reports)


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_pictures_move_and_are_small(page):
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXTS[page])
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).stat().st_size <= IMAGE_BYTES
        with Image.open(ROOT / picture) as image:
            assert image.n_frames > 10


def test_the_version_is_the_newest_of_the_changelog():
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", TEXTS[ROOT / "CHANGELOG.md"], re.MULTILINE)
    assert releases[0][0] == bigmodel.__version__
    assert releases == sorted(releases, reverse=True)
