"""How often plain transformers, in a process without bigmodel, answers rows of the test split as bigmodel does."""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.options import name_of
from benchmarks.quality import plain_transformers
from benchmarks.report import Headline, Report, progress
from bigmodel.core import catalog
from bigmodel.core.blocks import Scores
from bigmodel.core.contracts import HEADS, Task
from bigmodel.core.model import STARTERS, read_model
from bigmodel.data.prepare import head
from bigmodel.inference.kv_cache import context_length
from bigmodel.inference.translate import encode_sentences, max_positions
from bigmodel.studio import home

GOAL = 1.0  # share of the answers that are equal
NEW_TOKENS = 100  # of a text: beyond its context transformers cannot go on, where bigmodel does
SPARE_ROWS = 4  # times as many as are asked: some ask nothing that can be compared
PACKAGES = ("torch", "transformers", "tokenizers", "pillow")


def request(folder: Path, count: int, cache: Path | None = None, **limits: int) -> tuple[dict, list[str]]:
    """(what plain transformers is to be asked, the answers here) of the first rows of the test split, greedy and else as
    they are by default. limits: such as max_new_tokens, for both."""
    from bigmodel.inference.engine import Engine

    model = read_model("", folder)
    task = catalog.task(model.task)
    engine = Engine(folder, cache)
    inputs = questions(task, model.settings, head(catalog.dataset(model.dataset), "test", SPARE_ROWS * count))
    inputs = [one for one in inputs if _fits(engine, task, one, limits.get("max_new_tokens", 0))][:count]
    answered = [_answer_here(engine, task, one | limits) for one in inputs]
    asked = {"folder": str(folder), "auto_class": HEADS[task.head].auto_class, "rows": list(map(_plain_row, inputs))}
    return asked | {"more": limits}, answered


def questions(task: Task, settings: Mapping, rows: Sequence[Mapping]) -> list[dict]:
    """What a person would ask of each row; none of one that is too long to be offered."""
    columns = task.language_columns(settings)
    if columns:
        return [{"text": row[columns[0]]} for row in rows]
    return [example for row in rows for example in task.examples([row], settings)]


def _fits(engine: Any, task: Task, inputs: Mapping, new: int) -> bool:
    """Whether a network reads a question as a whole: the context of a writer has room for the answer too, and a line is
    not so long that it is translated sentence by sentence, which transformers does not do."""
    if HEADS[task.head].encoder_decoder:
        return len(encode_sentences(engine.processor, inputs["text"], max_positions(engine.model.config))) == 1
    if task.head != "causal-lm":
        return True
    context = context_length(engine.model.config)
    return len(task.prompt_and_stop_ids(engine.processor, inputs, context)[0]) + new <= context


def _answer_here(engine: Any, task: Task, inputs: Mapping) -> str:
    greedy = {"temperature": 0.0, "beams": 1}
    known = {field.name for field in task.inputs}
    blocks = list(engine.answer({name: value for name, value in (greedy | dict(inputs)).items() if name in known}))
    return blocks[0].names[0] if isinstance(blocks[0], Scores) else blocks[-1].text


def _plain_row(inputs: Mapping) -> Any:
    if "message" in inputs:
        system = [{"role": "system", "content": inputs["system"]}] if inputs.get("system") else []
        return [*system, {"role": "user", "content": inputs["message"]}]
    if "image" in inputs:
        return {"image": base64.b64encode(inputs["image"]).decode()}
    return inputs.get("text", inputs.get("prompt"))


def ask_plain(asked: Sequence[Mapping]) -> list[list[str]]:
    """By a process in which bigmodel cannot be imported."""
    command = [sys.executable, "-P", plain_transformers.__file__]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout)


def same(here: str, plain: str) -> bool:
    """But for space around an answer and a character that its end cuts in two, which bigmodel does not show."""
    return here.strip() == plain.replace("\ufffd", "").strip()


def add_options(parser: argparse.ArgumentParser) -> None:
    starters = {folder.name: folder for folder in sorted(STARTERS.iterdir()) if folder.is_dir()}
    parser.add_argument("names", nargs="*", metavar="NAME", type=name_of("starter", starters))
    parser.add_argument("--rows", type=int, default=200, help="of the test split (%(default)s)")


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    figures = {}
    for name in options.names or sorted(folder.name for folder in STARTERS.iterdir() if folder.is_dir()):
        figures[name] = _measure(name, options.rows)
        progress(f"{name}: {figures[name]['equal']} of {figures[name]['rows']} answers are equal")
        if not options.dry:
            REPORT.save_entry(name, figures[name], sorted(figures))
    return figures, all(one["equal"] >= GOAL * one["rows"] for one in figures.values())


def _measure(name: str, count: int) -> dict:
    folder = STARTERS / name
    own = json.loads((folder / "config.json").read_text("utf-8"))["model_type"].startswith("bigmodel")
    task = catalog.task(read_model("", folder).task)
    limits = {"max_new_tokens": NEW_TOKENS} if task.head == "causal-lm" else {}
    asked, here = request(folder, count, home() / "cache", **limits)
    plain = plain_transformers.answers(asked) if own else ask_plain([asked])[0]
    return {
        "rows": len(here),
        "equal": sum(map(same, here, plain)),
        "own": own,
        "environment": report.environment(PACKAGES),
    }


def _render(figures: Mapping[str, Mapping]) -> str:
    rows = [
        (f"`{name}`", read_model("", STARTERS / name).task, "bigmodel's class" if one["own"] else "transformers alone",
         f"**{one['equal']} of {one['rows']}**") for name, one in figures.items()
    ]  # fmt: skip
    environments = [(f"`{name}`", one["environment"]) for name, one in figures.items()]
    return "\n".join(
        [*report.table(("starter", "task", "network", "equal answers"), rows), "", *report.measured_on(environments)]
    )


def _headlines(figures: Mapping[str, Mapping]) -> list[Headline]:
    equal, rows = (sum(one[name] for one in figures.values()) for name in ("equal", "rows"))
    what = "answers of the starters in plain transformers that equal those here"
    return [Headline(what, f"{equal} of {rows}", "all", "export")] if figures else []


REPORT = Report("export", report.ROOT / "docs" / "benchmarks" / "export.md", _render, _headlines)
