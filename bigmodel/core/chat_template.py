"""Renders chat templates, which are somebody else's programs: sandboxed, and metered so that each rendering ends.

What a template computes with is charged: an iteration, a call, the characters of a text. The tree of the template is
rewritten for that before it is compiled. Who reaches MAX_WORK gets RenderLimit, on any machine after the same work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache, wraps
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_WORK = 20_000_000
ITERATION_COST, CALL_COST, ENTRY_COST, CHARACTERS_PER_UNIT = 30, 400, 10, 4
MAX_NUMBER = 10**15  # beyond it arithmetic is that of long numbers
MAX_RANGE = 100_000
MAX_INDENT = 64
STRFTIME = re.compile(r"([^%]|%[-A-Za-z%]){0,100}")  # a width, as in %999999d, would be a bomb
FORMAT_FIELDS = re.compile(r"([^{}]|\{\{|\}\}|\{\w*\}){0,10000}")
# what a template may call of a text or a dict
METHODS = frozenset({
    "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "partition", "rpartition", "startswith", "endswith",
    "upper", "lower", "title", "capitalize", "replace", "find", "rfind", "index", "count", "join", "format", "isdigit",
    "isnumeric", "isalpha", "isalnum", "isspace", "isupper", "islower", "removeprefix", "removesuffix", "items", "keys",
    "values", "get", "copy", "cycle", "changed", "current", "next",
})  # fmt: skip
FILTERS = frozenset({
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "indent", "int", "items",
    "join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round",
    "safe", "select", "selectattr", "sort", "string", "title", "tojson", "trim", "unique", "upper",
})  # fmt: skip
CONSTANT_TIME = frozenset({"abs", "count", "d", "default", "first", "float", "last", "length", "round", "safe"})
PER_ITEM = frozenset({"map", "reject", "rejectattr", "select", "selectattr"})
FAILED = "it fails:"
ITEMS, TEXT, VALUE, SLICED = "__items", "__text", "__value", "__sliced"  # filters of ours that charge


class RenderLimit(TemplateError):
    """A template computes more than any conversation needs."""


@dataclass
class _Meter:
    work: int = 0

    def charge(self, work: float) -> None:
        self.work += int(work) + 1
        if self.work > MAX_WORK:
            raise RenderLimit("it computes without end")


_meter: ContextVar[_Meter] = ContextVar("meter")


@dataclass(frozen=True)
class Rendering:
    """text, and from where to where its {% generation %} blocks go."""

    text: str
    generations: tuple[tuple[int, int], ...] = ()


def render(template: str, messages: Sequence[Mapping], now: datetime | None = None, **variables: object) -> Rendering:
    """As transformers renders it. Raises TemplateError: RenderLimit for one that does not end, any other where the
    template refuses the conversation or fails."""
    program = _compile(template)
    chunks: list[str] = []
    generations: list[tuple[int, int]] = []
    state = _meter.set(_Meter()), _chunks.set((chunks, generations)), _now.set(now)
    try:
        context = {"messages": list(messages), "tools": None, "documents": None, "add_generation_prompt": False}
        for part in program.root_render_func(program.new_context(context | variables)):
            chunks.append(part)
    except TemplateError:
        raise
    except (RecursionError, MemoryError, OverflowError) as error:
        raise RenderLimit("it computes without end") from error
    except Exception as error:
        raise TemplateError(f"{FAILED} {type(error).__name__}") from error
    finally:
        _meter.reset(state[0])
        _chunks.reset(state[1])
        _now.reset(state[2])
    return Rendering("".join(chunks), tuple(generations))


_chunks: ContextVar[tuple[list[str], list[tuple[int, int]]]] = ContextVar("chunks")
_now: ContextVar[datetime | None] = ContextVar("now", default=None)


@lru_cache(maxsize=32)
def _compile(template: str) -> Any:
    try:
        return _environment(metered=True).from_string(template)
    except TemplateError:
        raise
    except Exception as error:  # numbers of ten thousand digits, expressions nested too deeply
        raise TemplateError(f"it cannot be read: {str(error)[:80]}") from error


def parse(template: str) -> nodes.Template:
    """The tree of a template. Raises TemplateError and what numbers too long or nesting too deep raise."""
    return _environment(metered=False).parse(template)


# -- what is charged ---------------------------------------------------------------------------------------
def _charge_size(value: object) -> None:
    """The characters and entries of a value, of all that is in it."""
    stack, meter = [value], _meter.get()
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            meter.charge(len(part) // CHARACTERS_PER_UNIT)
        elif isinstance(part, Mapping):
            meter.charge(2 * ENTRY_COST * len(part))
            stack += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            meter.charge(ENTRY_COST * len(part))
            stack += part


def _items(value: Any) -> Iterator:
    for item in value:
        _meter.get().charge(ITERATION_COST)
        yield item


def _charged(value: Any) -> Any:
    _charge_size(value)
    return value


def _sliced(value: Any) -> Any:
    _meter.get().charge(len(value) // CHARACTERS_PER_UNIT if isinstance(value, str | list | tuple) else 0)
    return value


def _charge_growth(name: str, value: object, arguments: Sequence[object]) -> None:
    """What comes out longer than what goes in, before it is made."""
    meter = _meter.get()
    if name == "replace" and len(arguments) >= 2 and isinstance(value, str):
        old, new = str(arguments[0]), str(arguments[1])
        count = value.count(old) if old else len(value) + 1
        meter.charge(count * len(new) / CHARACTERS_PER_UNIT)
    elif name == "join" and isinstance(value, list | tuple | str):
        separator = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        meter.charge(len(value) * len(separator) / CHARACTERS_PER_UNIT)


def _metered_filter(name: str, function: Callable) -> Callable:
    skipped = 1 if getattr(function, "jinja_pass_arg", None) is not None else 0

    @wraps(function)
    def metered(*arguments: Any, **options: Any) -> Any:
        meter = _meter.get()
        meter.charge(ITERATION_COST)
        value, *others = arguments[skipped:]
        if name not in CONSTANT_TIME:
            _charge_size([value, *others, *options.values()])
        if name in PER_ITEM and isinstance(value, list | tuple | str):
            sizes = sum(len(other) for other in others if isinstance(other, str | list | tuple | dict))
            meter.charge(len(value) * (CALL_COST + sizes // CHARACTERS_PER_UNIT))
        width = next((part for part in (*others[:1], options.get("width"), options.get("indent")) if part), 0)
        if name in ("indent", "tojson") and isinstance(width, int | str) and not 0 <= _width(width) <= MAX_INDENT:
            raise RenderLimit(f"it indents by {str(width)[:20]}")
        if name == "indent" and isinstance(value, str):
            meter.charge(value.count("\n") * _width(width or 4) / CHARACTERS_PER_UNIT)
        if name == "join" and not isinstance(value, list | tuple | str):
            value = list(_items(value))
            arguments = (*arguments[:skipped], value, *others)
            _charge_size(value)
        _charge_growth(name, value, others)
        result = function(*arguments, **options)
        if name not in CONSTANT_TIME:
            _charge_size(result)
        return result

    return metered


def _width(value: object) -> int:
    return len(value) if isinstance(value, str) else int(value)  # type: ignore[call-overload]


def _metered_test(function: Any) -> Callable:
    @wraps(function)
    def metered(*arguments: Any, **options: Any) -> Any:
        for argument in arguments[:3]:
            _sliced(argument)
        return function(*arguments, **options)

    return metered


def _instrument(node: nodes.Node) -> nodes.Node:
    """Put filters that charge round whatever takes work, or makes texts longer."""
    for child in list(node.iter_child_nodes()):
        _instrument(child)
    if isinstance(node, nodes.For):
        node.iter = _filter(node.iter, ITEMS)
    elif isinstance(node, nodes.Output | nodes.Concat):
        node.nodes = [_filter(part, TEXT) for part in node.nodes]
    elif isinstance(node, nodes.Compare):
        node.expr = _filter(node.expr, VALUE)
        for operand in node.ops:
            operand.expr = _filter(operand.expr, VALUE)
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        node.node = _filter(node.node, SLICED)
    return node


def _filter(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


# -- the environment ---------------------------------------------------------------------------------------
class _Generation(Extension):
    """The block that marks what an assistant says: '{% generation %} ... {% endgeneration %}'."""

    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

    def mark(self, caller: Macro) -> str:
        text = caller()
        chunks, generations = _chunks.get()
        start = sum(map(len, chunks))
        generations.append((start, start + len(text)))
        return text


class _MeteredEnvironment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _instrument(tree)
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        meter = _meter.get()
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise RenderLimit(f"it computes with {operator}")
        if operator == "+":
            _sliced(left)
            _sliced(right)
        if operator == "*" and not (_is_number(left) and _is_number(right)):
            length = next((len(part) for part in (left, right) if isinstance(part, str | list | tuple)), 1)
            times = next((part for part in (left, right) if _is_number(part)), 1)
            meter.charge(length * max(times, 0) / CHARACTERS_PER_UNIT)
        result = super().call_binop(context, operator, left, right)
        meter.charge(1)
        if _is_number(result) and abs(result) > MAX_NUMBER:
            raise RenderLimit("it computes with numbers too large")
        return result

    def call(__self, __context: Any, __callable: Any, *arguments: Any, **options: Any) -> Any:
        meter = _meter.get()
        meter.charge(CALL_COST)
        owner = getattr(getattr(__callable, "__wrapped__", __callable), "__self__", None)
        if isinstance(owner, str | bytes | list | tuple | dict):
            name = getattr(__callable, "__name__", "")
            if name not in METHODS:
                raise RenderLimit(f"it calls {name[:40]}")
            if name == "format" and not FORMAT_FIELDS.fullmatch(str(owner)):
                raise RenderLimit("it formats with widths")
            _sliced(owner)
            _charge_size([*arguments, *options.values()])
            if name == "replace":
                _charge_growth(name, owner, arguments)
            elif name == "join" and arguments:
                items = arguments[0] if isinstance(arguments[0], list | tuple | str) else list(_items(arguments[0]))
                _charge_growth(name, items, [owner])
                arguments = (items,)
        result = super().call(__context, __callable, *arguments, **options)
        _sliced(result)
        return result


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _raise_exception(message: str) -> None:
    raise TemplateError(str(message)[:1000])


def _strftime_now(form: str) -> str:
    if not STRFTIME.fullmatch(str(form)):
        raise RenderLimit(f"it formats a date by {str(form)[:40]}")
    return (_now.get() or datetime.now()).strftime(form)


def _range(*arguments: int) -> range:
    numbers = range(*arguments)
    if len(numbers) > MAX_RANGE:
        raise RenderLimit(f"it counts to {len(numbers)}")
    return numbers


def _to_json(value: object, ensure_ascii: bool = False, indent: int | None = None, separators: tuple | None = None,
             sort_keys: bool = False) -> str:  # fmt: skip
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


@cache
def _environment(metered: bool) -> ImmutableSandboxedEnvironment:
    """As transformers has it. Not optimized: what is constant would be computed when it is compiled, unmetered."""
    kind = _MeteredEnvironment if metered else ImmutableSandboxedEnvironment
    made = kind(trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[_Generation, loopcontrols])
    made.globals = {name: made.globals[name] for name in ("dict", "namespace", "cycler", "joiner")}
    made.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now, "range": _range}
    made.filters["tojson"] = _to_json
    made.filters = {name: function for name, function in made.filters.items() if name in FILTERS}
    if metered:
        made.filters = {name: _metered_filter(name, function) for name, function in made.filters.items()}
        made.filters |= {ITEMS: _items, TEXT: _charged, VALUE: _charged, SLICED: _sliced}
        made.tests = {name: _metered_test(function) for name, function in made.tests.items()}
    return made
