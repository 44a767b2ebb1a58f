"""`try`: a model's answer, written as it comes; beside it, if asked, that of another model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from bigmodel.cli.runs import resolve_run_id
from bigmodel.cli.terminal import Terminal
from bigmodel.cli.verbs import Verbs, parse_settings
from bigmodel.core import blocks, catalog
from bigmodel.core.blocks import Note, Picture, Prose, Scores, Table
from bigmodel.core.errors import Refusal
from bigmodel.core.model import BASE_PREFIX, STARTER_PREFIX, STARTERS, Model
from bigmodel.core.words import _
from bigmodel.studio import Studio


def add_verbs(verbs: Verbs) -> None:
    verb = verbs.add("try", _try, _("use a model"))
    verb.add_argument(
        "model", metavar="MODEL", help=_("the id of a run, of a starter: starter:NAME, or of a base: base:NAME")
    )
    verb.add_argument(
        "--beside", metavar="OTHER", default="",
        help=_("ask another model the same; 'base': the one that MODEL was fine-tuned from"),
    )  # fmt: skip
    verb.add_set(_("an input, as often as needed: prompt=TEXT, image=FILE ..."))


def _try(terminal: Terminal) -> None:
    options, studio = terminal.options, terminal.studio
    model = resolve_model(studio, options.model)
    models = [model, *([_comparison_model(studio, model, options.beside)] if options.beside else [])]
    inputs = parse_settings(options.settings, catalog.task(model.task).inputs, _("input"))
    answers = []
    try:
        for asked in models:
            if len(models) > 1 and not options.json:
                print(f"== {asked.id}", flush=True)
            answers.append(_ask_model(terminal, asked, inputs))
    finally:
        studio.close()
    if options.json:
        first, *others = answers
        terminal.print_json(first | ({"beside": others[0]} if others else {}))


def _ask_model(terminal: Terminal, model: Model, inputs: Mapping) -> dict:
    """What a model answers; written as it comes, unless it is to be JSON."""
    last: dict[str, blocks.Block] = {}
    printer = _AnswerPrinter(terminal)
    with closing(terminal.studio.models.ask(model.id, inputs, model.task)) as stream:
        for number, block in enumerate(stream):
            last["prose" if isinstance(block, Prose) else str(number)] = block
            if not terminal.options.json:
                printer.show(block)
    return {"model": model.id, "blocks": [blocks.to_json(block) for block in last.values()]}


def _comparison_model(studio: Studio, model: Model, text: str) -> Model:
    """Who is asked the same."""
    name_another = _("Name another model to compare it with.")
    if text == "base":
        if not model.base:
            what = _("{model} was not fine-tuned from a base model.", model=model.id)
            raise Refusal(what, do=name_another, field="beside")
        return studio.models.base_of(model.id)
    other = studio.models.get(text, model.task) if text.startswith(BASE_PREFIX) else resolve_model(studio, text)
    if other.task != model.task:
        what = _("{other} has learnt another task than {model}.", other=other.id, model=model.id)
        raise Refusal(what, do=name_another, field="beside")
    return other


def resolve_model(studio: Studio, text: str) -> Model:
    if text.startswith((BASE_PREFIX, STARTER_PREFIX)):
        return studio.models.get(text)
    if text in {path.name for path in STARTERS.glob("*") if path.is_dir()}:
        return studio.models.get(f"{STARTER_PREFIX}{text}")
    id = resolve_run_id(text, studio.runs.ids())
    if not studio.runs.folder(id).has_model():
        what = _("The run {run} has no model.", run=id)
        raise Refusal(what, do=_("Wait until it has ended, or take another one."), field="model")
    return studio.models.get(id)


class _AnswerPrinter:
    """Blocks as text. A text that grows is written as it grows."""

    def __init__(self, terminal: Terminal):
        self.terminal = terminal
        self.written = ""

    def show(self, block: blocks.Block) -> None:
        if isinstance(block, Prose):
            self._prose(block)
        elif isinstance(block, Scores):
            pairs = zip(block.names, block.values, strict=True)
            self.terminal.print_table((f"{100 * value:6.2f} %", self.terminal.say(name)) for name, value in pairs)
        elif isinstance(block, Table):
            self.terminal.print_table([block.columns, *block.rows])
        elif isinstance(block, Picture):
            self.terminal.print_message(_("(a picture: {caption})", caption=block.caption))
        elif isinstance(block, Note):
            self.terminal.print_message(block.words)

    def _prose(self, block: Prose) -> None:
        text = block.prompt + block.text
        if not text.startswith(self.written):  # what was written has been taken back: begin again below
            print()
            self.written = ""
        print(text[len(self.written) :], end="\n" if block.done else "", flush=True)
        self.written = text
