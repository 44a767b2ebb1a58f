"""What a chat template may do at most, proved on its tree before it is ever used.

Sizes are bounds in two numbers: characters or entries that are there in any case, and multiples of the conversation
(messages, tools, documents). A template is let in where its work is at most quadratic in the messages, linear in what
they say, and no text grows by multiplication. Each rendering is metered nevertheless (`chat_template.render`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from jinja2 import TemplateError, nodes

from bigmodel.core import chat_template

MAX_CHARACTERS = 64_000
MAX_NODES = 12_000
MAX_LOOP_DEPTH = 5  # loops within loops
MAX_NUMBER = 10_000  # larger constants are good for nothing but bombs
MAX_CONSTANT_ITERATIONS = 256
MAX_GROWTH = 10_000  # how often a value may hold the conversation
MAX_CONSTANT_TEXT = 1_000_000  # characters of a value that are there in any case
MAX_COST = (200_000, 500_000, 200_000)  # nodes that are computed: in any case, for each message, for each two
MAX_VISITS = 20_000  # nodes that the check itself looks at; real templates need a thousand
UNKNOWN_SIZE = 64.0  # characters of a special token, and of whatever else is handed in
ESCAPED = 6.0  # characters that an escaped one takes at most
INPUTS = frozenset({"messages", "tools", "documents"})
SAME_SIZE = frozenset({"abs", "capitalize", "d", "default", "dictsort", "first", "float", "int", "items", "last", "list",
                       "lower", "max", "min", "reject", "rejectattr", "reverse", "round", "safe", "select", "selectattr",
                       "sort", "string", "title", "trim", "unique", "upper"})  # fmt: skip
WHOLE_FILTERS = frozenset({"list", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "unique"})
ESCAPING_FILTERS = frozenset({"e", "escape", "tojson"})
LOOP_TEXTS = frozenset({"previtem", "nextitem", "cycle"})
NUMBER_METHODS = frozenset({"count", "find", "index", "rfind", "startswith", "endswith", "isdigit", "isnumeric", "isalpha",
                            "isalnum", "isspace", "isupper", "islower", "changed"})  # fmt: skip
FUNCTIONS = frozenset({"raise_exception", "strftime_now", "range", "namespace", "dict", "cycler", "joiner"})
SAMPLE_CONVERSATIONS = (
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be kind."}]
    + [{"role": role, "content": f"{role} {i}"} for i in range(12) for role in ("user", "assistant")],
)
SAMPLE_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
SAMPLE_TIME = datetime(2026, 1, 1)  # the verdict is the same on any day


def find_problem(template: str) -> str:
    """Why a template will not do, '' when it will."""
    return _static_problem(template) or _sample_problem(template)


def _sample_problem(template: str) -> str:
    """What it does with a few conversations; it may refuse them, system messages often are."""
    for messages in SAMPLE_CONVERSATIONS:
        try:
            chat_template.render(template, messages, SAMPLE_TIME, add_generation_prompt=True, **SAMPLE_TOKENS)
        except chat_template.RenderLimit as error:
            return str(error.message)
        except TemplateError as error:
            if str(error.message).startswith(chat_template.FAILED):
                return str(error.message)
    return ""


def _static_problem(template: str) -> str:
    """What its text says."""
    if len(template) > MAX_CHARACTERS:
        return f"it has {len(template)} characters"
    try:
        tree = chat_template.parse(template)
    except (TemplateError, RecursionError, MemoryError, ValueError) as error:
        return f"it cannot be read: {str(error)[:80]}"
    try:
        _refuse_constructs(tree)
        cost = _Bounds(tree).cost()
    except _Unbounded as problem:
        return str(problem)
    except RecursionError:
        return "it is nested too deeply"
    return "it computes too much" if any(work > most for work, most in zip(cost, MAX_COST, strict=True)) else ""


class _Unbounded(Exception):
    """What of a template has no bound."""


def _refuse_constructs(tree: nodes.Template) -> None:
    """What no chat template needs: other files, powers, recursion, names of Python's own."""
    if sum(1 for _node in tree.find_all(nodes.Node)) > MAX_NODES:
        raise _Unbounded("it is too large a program")
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, int | float) and abs(constant.value) > MAX_NUMBER:
            raise _Unbounded(f"it names the number {str(constant.value)[:40]}")
    for access in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Name, nodes.NSRef, nodes.Keyword)):
        name = getattr(access, "attr", None) or getattr(access, "name", None) or _text(getattr(access, "arg", None))
        name = getattr(access, "key", None) or name
        if isinstance(name, str) and name.startswith("__"):
            raise _Unbounded(f"it reaches for {name[:40]}")
    for kind in (nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends, nodes.Block):
        if tree.find(kind) is not None:
            raise _Unbounded("it wants other files")
    if tree.find(nodes.Pow) is not None:
        raise _Unbounded("it computes powers")
    if any(loop.recursive for loop in tree.find_all(nodes.For)) or _calls_itself(tree):
        raise _Unbounded("it calls itself")
    if _depth(tree) > MAX_LOOP_DEPTH:
        raise _Unbounded("it has too many loops within loops")


def _text(node: object) -> str:
    if isinstance(node, nodes.Name):
        return node.name
    return str(node.value) if isinstance(node, nodes.Const) else ""


def _calls_itself(tree: nodes.Template) -> bool:
    """Macros that reach themselves, by others or at once."""
    calls = {
        macro.name: {_text(call.node) for call in macro.find_all(nodes.Call)} for macro in tree.find_all(nodes.Macro)
    }
    for start in calls:
        seen: set[str] = set()
        open_ = [start]
        while open_:
            for name in calls.get(open_.pop(), ()):
                if name == start:
                    return True
                if name not in seen:
                    seen.add(name)
                    open_.append(name)
    return False


def _depth(node: nodes.Node) -> int:
    deepest = max((_depth(child) for child in node.iter_child_nodes()), default=0)
    return deepest + isinstance(node, nodes.For)


# -- sizes -------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Size:
    """A bound of a value: `constant` plus `linear` times the size of the conversation.

    origins: the inputs or loop variables that it is a part of. whole: it is the list itself, not an entry's part.
    carried: how often it holds what a namespace held when the loop's round began, by attribute.
    """

    constant: float = 1.0
    linear: float = 0.0
    origins: frozenset[str] = frozenset()
    whole: bool = False
    number: bool = False
    literal: str | None = None
    carried: Mapping[str, float] = field(default_factory=dict)

    @property
    def fixed(self) -> bool:
        return not self.linear and not self.carried


NOTHING = _Size(0.0)
NUMBER = _Size(1.0, 1.0, number=True)


def _check_growth(size: _Size) -> _Size:
    if max(size.linear, *size.carried.values(), 0) > MAX_GROWTH or size.constant > MAX_CONSTANT_TEXT:
        raise _Unbounded("a text in it grows without bound")
    return size


def _sum(sizes: Iterable[_Size]) -> _Size:
    """Of what is put together."""
    sizes = list(sizes)
    carried: dict[str, float] = {}
    for size in sizes:
        for name, weight in size.carried.items():
            carried[name] = carried.get(name, 0) + weight
    return _check_growth(_Size(
        sum(size.constant for size in sizes), sum(size.linear for size in sizes),
        frozenset().union(*(size.origins for size in sizes)), False, all(size.number for size in sizes), None, carried,
    ))  # fmt: skip


def _either(*sizes: _Size) -> _Size:
    """Of what is the one or the other."""
    carried: dict[str, float] = {}
    for size in sizes:
        for name, weight in size.carried.items():
            carried[name] = max(carried.get(name, 0), weight)
    lists = [size for size in sizes if size.origins]
    return _Size(
        max(size.constant for size in sizes), max(size.linear for size in sizes),
        frozenset().union(*(size.origins for size in sizes)), all(size.whole for size in lists), all(size.number for size in sizes),
        sizes[0].literal if len({size.literal for size in sizes}) == 1 else None, carried,
    )  # fmt: skip


def _scaled(size: _Size, factor: float) -> _Size:
    carried = {name: weight * factor for name, weight in size.carried.items()}
    return _check_growth(
        replace(size, constant=size.constant * factor, linear=size.linear * factor, literal=None, carried=carried)
    )


def _product(left: _Size, right: _Size, what: str) -> _Size:
    if left.number and right.number and not left.carried and not right.carried:
        return replace(NUMBER, linear=min(left.linear + right.linear, 1.0), constant=left.constant * right.constant)
    if not left.fixed and not right.fixed:
        raise _Unbounded(what)
    fixed, other = (left, right) if left.fixed else (right, left)
    return _scaled(other, max(fixed.constant, 1.0))


# -- what a template computes ------------------------------------------------------------------------------
Cost = tuple[float, float, float]
FREE: Cost = (0.0, 0.0, 0.0)


def _added(left: Cost, right: Cost) -> Cost:
    return left[0] + right[0], left[1] + right[1], left[2] + right[2]


@dataclass(frozen=True)
class _Frame:
    """Where in the loops a statement stands. degree: how often over the messages. variables: of the loops round it;
    used: those of them whose parts a loop goes over already."""

    degree: int = 0
    variables: tuple[str, ...] = ()
    used: frozenset[str] = frozenset()


class _Bounds:
    """Walks a template as it would be computed, with bounds in the place of values."""

    def __init__(self, tree: nodes.Template):
        self.tree = tree
        self.macros = {macro.name: macro for macro in tree.find_all(nodes.Macro)}
        self.namespaces = {
            _text(assign.target) for assign in tree.find_all(nodes.Assign)
            if isinstance(assign.node, nodes.Call) and _text(assign.node.node) == "namespace"
        }  # fmt: skip
        self.values: dict[str, _Size] = {}
        self.visits = 0
        self.spent: Cost = FREE
        self.frame = _Frame()

    def cost(self) -> Cost:
        self._run(self.tree.body)
        return self.spent

    def _spend(self, node: nodes.Node) -> None:
        self.visits += 1
        if self.visits > MAX_VISITS:
            raise _Unbounded("it is too large a program")
        degree = min(self.frame.degree, 2)
        spent = list(self.spent)
        spent[degree] += self._repeats
        self.spent = (spent[0], spent[1], spent[2])

    _repeats = 1.0  # of the constant loops round a statement

    # -- statements ------------------------------------------------------------------------------------
    def _run(self, body: Iterable[nodes.Node]) -> _Size:
        """The text that statements write."""
        return _sum([NOTHING, *(self._statement(node) for node in body)])

    def _statement(self, node: nodes.Node) -> _Size:
        self._spend(node)
        if isinstance(node, nodes.Output):
            return _sum([NOTHING, *(self._size(part) for part in node.nodes)])
        if isinstance(node, nodes.For):
            return self._loop(node)
        if isinstance(node, nodes.If):
            return self._branches(node)
        if isinstance(node, nodes.Assign):
            self._assign(node.target, self._size(node.node))
        elif isinstance(node, nodes.AssignBlock):
            size = self._run(node.body)
            self._assign(node.target, self._filtered(node.filter, size) if node.filter else size)
        elif isinstance(node, nodes.FilterBlock):
            return self._filtered(node.filter, self._run(node.body))
        elif isinstance(node, nodes.CallBlock):
            if not isinstance(node.call.node, nodes.ExtensionAttribute):
                raise _Unbounded("it calls by blocks")
            return self._run(node.body)
        elif isinstance(node, nodes.ExprStmt):
            self._size(node.node)
        elif isinstance(node, nodes.With):
            for target, value in zip(node.targets, node.values, strict=True):
                self._assign(target, self._size(value))
            return self._run(node.body)
        elif isinstance(node, nodes.Scope | nodes.ScopedEvalContextModifier):
            return self._run(node.body)
        elif not isinstance(node, nodes.Macro | nodes.Continue | nodes.Break):
            raise _Unbounded(f"it uses {type(node).__name__}")
        return NOTHING

    def _branches(self, node: nodes.If) -> _Size:
        self._size(node.test)
        before, texts, after = dict(self.values), [], []
        for body in (node.body, node.elif_, node.else_):
            self.values = dict(before)
            texts.append(self._run(body))
            after.append(self.values)
        self.values = _joined(*after)
        return _either(*texts)

    def _assign(self, target: nodes.Node, size: _Size) -> None:
        if isinstance(target, nodes.Tuple):
            for part in target.items:
                self._assign(part, replace(size, whole=False, literal=None))
        elif isinstance(target, nodes.NSRef):
            if target.name not in self.namespaces:
                raise _Unbounded(f"it sets something of {target.name[:40]}")
            self.values[f"{target.name}.{target.attr}"] = size
        elif isinstance(target, nodes.Name):
            self.values[target.name] = size

    def _loop(self, node: nodes.For) -> _Size:
        over = self._size(node.iter)
        variables = [name.name for name in node.target.find_all(nodes.Name)] or [_text(node.target)]
        outer, repeats, frame = dict(self.values), self._repeats, self.frame
        times = self._enter(over, variables)
        linear = over.linear if over.linear or not over.origins else 1.0
        item = _Size(UNKNOWN_SIZE, linear, frozenset({variables[0]}) if linear else frozenset())
        self.values |= dict.fromkeys(variables, item)
        carried = _namespace_targets(node)
        for name in carried:
            self.values[name] = _Size(0.0, carried={name: 1.0})
        spent = self.spent
        self._run_filtered(node)
        growth = {name: self.values.get(name, NOTHING) for name in carried}
        after = _after_loop(growth, outer, times)
        self.values = outer | after  # what else is set in a loop is gone after it
        # once more with what the namespaces hold then: their bounds count in what is written, and in other loops
        self.spent = spent
        self.values |= dict.fromkeys(variables, item)
        text = self._run_filtered(node)
        self._repeats, self.frame = repeats, frame
        self.values = outer | after
        other = self._run(node.else_)
        text = _Size(times * text.constant if times else 0.0, text.linear + (0.0 if times else 1.0), text.origins)
        return _either(replace(text, constant=min(text.constant, MAX_CONSTANT_TEXT)), other)

    def _run_filtered(self, node: nodes.For) -> _Size:
        if node.test is not None:
            self._size(node.test)
        return self._run(node.body)

    def _enter(self, over: _Size, variables: list[str]) -> float:
        """Count a loop in; how often it goes round, 0 for as often as there are messages or parts of them."""
        frame = self.frame
        if not over.linear and not over.origins:
            if over.constant > MAX_CONSTANT_ITERATIONS:
                raise _Unbounded(f"a loop in it goes round {int(over.constant)} times")
            self._repeats *= max(over.constant, 1.0)
            self.frame = replace(frame, variables=(*frame.variables, variables[0]))
            return over.constant
        parent = next(iter(over.origins)) if len(over.origins) == 1 else ""
        if frame.degree and parent in frame.variables and parent not in frame.used and not over.number:
            self.frame = replace(frame, variables=(*frame.variables, variables[0]), used=frame.used | {parent})
            return 0.0
        if frame.degree and not over.whole and not over.number:
            raise _Unbounded("it goes over what is said within a loop over it")
        if frame.degree >= 2:
            raise _Unbounded("it goes over the messages in loops within loops")
        self.frame = replace(frame, degree=frame.degree + 1, variables=(*frame.variables, variables[0]))
        return 0.0

    # -- expressions -----------------------------------------------------------------------------------
    def _size(self, node: nodes.Node | None) -> _Size:
        if node is None:
            return NOTHING
        self._spend(node)
        if isinstance(node, nodes.TemplateData):
            return _Size(len(node.data), literal=node.data)
        if isinstance(node, nodes.Const):
            if isinstance(node.value, str):
                return _Size(len(node.value), literal=node.value)
            is_number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
            return _Size(abs(node.value) if is_number else 1.0, number=True)
        if isinstance(node, nodes.Name):
            return self._variable(node.name)
        if isinstance(node, nodes.Getattr | nodes.Getitem):
            return self._attribute(node)
        if isinstance(node, nodes.Call):
            return self._call(node)
        if isinstance(node, nodes.Filter):
            return self._filtered(node, self._size(node.node))
        if isinstance(node, nodes.Test | nodes.Compare | nodes.Not):
            for child in node.iter_child_nodes():
                self._size(child)
            return _Size(number=True)
        if isinstance(node, nodes.Operand):
            return self._size(node.expr)
        if isinstance(node, nodes.CondExpr):
            self._size(node.test)
            return _either(self._size(node.expr1), self._size(node.expr2))
        if isinstance(node, nodes.And | nodes.Or):
            return _either(self._size(node.left), self._size(node.right))
        if isinstance(node, nodes.Mul):
            return _product(self._size(node.left), self._size(node.right), "it multiplies what is said")
        if isinstance(node, nodes.Mod):
            left, right = self._size(node.left), self._size(node.right)
            if left.literal is not None:
                raise _Unbounded("it computes with %")
            return _either(left, right)
        if isinstance(node, nodes.Add | nodes.Sub | nodes.Concat | nodes.Div | nodes.FloorDiv):
            return _sum([self._size(child) for child in node.iter_child_nodes()])
        if isinstance(node, nodes.Neg | nodes.Pos):
            return self._size(node.node)
        if isinstance(node, nodes.List | nodes.Tuple | nodes.Dict | nodes.Pair | nodes.Keyword):
            parts = [self._size(child) for child in node.iter_child_nodes()]
            return replace(_sum([_Size(len(parts)), *parts]), number=False)
        raise _Unbounded(f"it uses {type(node).__name__}")

    def _variable(self, name: str) -> _Size:
        if name in self.values:
            return self.values[name]
        if name in INPUTS:
            return _Size(1.0, 1.0, frozenset({name}), whole=True)
        if name in self.macros or name in self.namespaces:
            raise _Unbounded(f"it hands {name[:40]} on")
        return _Size(UNKNOWN_SIZE, 0.0, frozenset({name}), whole=True)  # a special token, or what is not handed in

    def _attribute(self, node: nodes.Getattr | nodes.Getitem) -> _Size:
        name = (
            node.attr
            if isinstance(node, nodes.Getattr)
            else _text(node.arg)
            if isinstance(node.arg, nodes.Const)
            else ""
        )
        owner = _text(node.node) if isinstance(node.node, nodes.Name) else ""
        if owner == "loop" and self.frame.variables:
            return self.values[self.frame.variables[-1]] if name in LOOP_TEXTS else NUMBER
        if owner in self.namespaces:
            return self.values.get(f"{owner}.{name}", _Size(UNKNOWN_SIZE))
        size = self._size(node.node)
        if isinstance(node, nodes.Getitem):
            arguments = (
                [node.arg.start, node.arg.stop, node.arg.step] if isinstance(node.arg, nodes.Slice) else [node.arg]
            )
            for argument in arguments:
                self._size(argument)
        sliced = isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)
        return replace(size, whole=size.whole and sliced, literal=None)

    def _call(self, node: nodes.Call) -> _Size:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise _Unbounded("it calls with lists of arguments")
        if isinstance(node.node, nodes.Getattr):
            return self._method(node, node.node)
        name = _text(node.node) if isinstance(node.node, nodes.Name) else ""
        arguments = [self._size(argument) for argument in node.args]
        named = {keyword.key: self._size(keyword.value) for keyword in node.kwargs}
        if name in self.macros:
            return self._macro(self.macros[name], arguments, named)
        if name not in FUNCTIONS:
            raise _Unbounded(f"it calls {name[:40] or 'what it computes'}")
        if name == "range":
            if any(size.carried for size in arguments):
                raise _Unbounded("it counts to a number that grows")
            return replace(_sum([NOTHING, *arguments]), origins=frozenset(), number=True)
        if name == "strftime_now":
            return _Size(UNKNOWN_SIZE)
        if name == "raise_exception":
            return NOTHING
        return replace(_sum([NOTHING, *arguments, *named.values()]), number=False)

    def _method(self, node: nodes.Call, access: nodes.Getattr) -> _Size:
        arguments = [self._size(argument) for argument in node.args]
        arguments += [self._size(keyword.value) for keyword in node.kwargs]
        if access.attr not in chat_template.METHODS:
            raise _Unbounded(f"it calls {access.attr[:40]}")
        if _text(access.node) == "loop" and self.frame.variables:
            return NUMBER if access.attr == "changed" else _sum([NOTHING, *arguments])
        owner = self._size(access.node)
        if access.attr in NUMBER_METHODS:
            return NUMBER
        if access.attr == "replace":
            return _replaced(owner, arguments)
        if access.attr == "join":
            return _joined_by(arguments[0] if arguments else NOTHING, owner)
        if access.attr in ("format", "get"):
            return _sum([owner, *arguments]) if access.attr == "format" else _either(owner, *arguments)
        return replace(owner, whole=owner.whole and access.attr in ("items", "values", "keys", "copy"), literal=None)

    def _macro(self, macro: nodes.Macro, arguments: list[_Size], named: Mapping[str, _Size]) -> _Size:
        """Its body, computed where it is called."""
        names = [argument.name for argument in macro.args]
        defaults = dict(zip(reversed(names), map(self._size, reversed(macro.defaults)), strict=False))
        outer = dict(self.values)
        self.values |= defaults | dict(zip(names, arguments, strict=False)) | dict(named)
        text = self._run(macro.body)
        kept = {name: size for name, size in self.values.items() if "." in name}
        self.values = outer | kept
        return replace(text, literal=None)

    def _filtered(self, node: nodes.Filter, size: _Size) -> _Size:
        """What comes out of a filter, of what goes in."""
        arguments = [self._size(argument) for argument in node.args]
        named = {keyword.key: self._size(keyword.value) for keyword in node.kwargs}
        if isinstance(node.node, nodes.Filter):  # of a block: the filters before it
            size = self._filtered(node.node, size) if node.node.node is None else size
        if node.name not in chat_template.FILTERS:
            raise _Unbounded(f"it uses the filter {node.name[:40]}")
        if node.name in ("length", "count"):
            return replace(NUMBER, constant=size.constant, linear=min(size.linear or bool(size.origins), 1.0))
        if node.name == "replace":
            return _replaced(size, arguments)
        if node.name == "join":
            return _joined_by(size, arguments[0] if arguments else NOTHING)
        if node.name in ESCAPING_FILTERS:
            indent = max([part.constant for part in (*arguments, *named.values())], default=0)
            return _scaled(size, ESCAPED + min(indent, chat_template.MAX_INDENT))
        if node.name == "indent":
            return _scaled(size, 1 + max([part.constant for part in (*arguments, *named.values())], default=4))
        if node.name == "map":
            return self._mapped(node, size, arguments)
        if node.name in ("d", "default", "int", "float"):
            return _either(size, *arguments)
        return replace(size, whole=size.whole and node.name in WHOLE_FILTERS, literal=None)

    def _mapped(self, node: nodes.Filter, size: _Size, arguments: list[_Size]) -> _Size:
        """map(attribute=...), or map with a filter that makes nothing longer."""
        if node.args and (arguments[0].literal or "") not in SAME_SIZE | {"length", "count", "tojson"}:
            raise _Unbounded(f"it maps by {(arguments[0].literal or 'a filter')[:40]}")
        return _scaled(replace(size, whole=False), ESCAPED if node.args else 1.0)


def _joined(*values: Mapping[str, _Size]) -> dict[str, _Size]:
    """What variables may hold after branches."""
    names = set().union(*values)
    return {name: _either(*(each[name] for each in values if name in each)) for name in names}


def _replaced(size: _Size, arguments: list[_Size]) -> _Size:
    """A text in which each of `old` becomes `new`."""
    if len(arguments) < 2:
        return size
    old, new = arguments[:2]
    if not size.fixed and not new.fixed:
        raise _Unbounded("it replaces parts of what is said by what is said")
    shortest = max(len(old.literal or ""), 1)
    if size.fixed:
        return _sum([size, _scaled(new, max(size.constant / shortest, 1.0))])
    return _scaled(size, max(new.constant / shortest, 1.0))


def _joined_by(size: _Size, separator: _Size) -> _Size:
    if not separator.fixed and not size.fixed:
        raise _Unbounded("it joins what is said by what is said")
    return _sum([replace(size, whole=False), _product(size, separator, "") if separator.constant else NOTHING])


def _namespace_targets(node: nodes.For) -> list[str]:
    return sorted({f"{target.name}.{target.attr}" for target in node.find_all(nodes.NSRef)})


def _after_loop(growth: Mapping[str, _Size], outer: Mapping[str, _Size], times: float) -> dict[str, _Size]:
    """What namespaces hold after a loop, from what one round makes of what they held. Refuses what multiplies: an
    attribute that comes back to itself, by others or at once, must hold what was there once at most."""
    reach = {name: set(size.carried) & set(growth) for name, size in growth.items()}
    for _step in growth:
        reach = {name: near.union(*(reach[other] for other in near)) for name, near in reach.items()}
    after = {}
    for name, size in growth.items():
        cycle = {other for other in size.carried if name in reach.get(other, ())}
        if sum(size.carried[other] for other in cycle) > 1 + 1e-9 and not size.number:
            raise _Unbounded("a text in it grows with each round of a loop")
        begun = [outer.get(other, _Size(UNKNOWN_SIZE)) for other in reach[name] | {name}]
        before = _either(*begun)
        grows = bool(cycle) and (size.constant or size.linear)
        after[name] = replace(
            _either(before, size), constant=max(before.constant, size.constant),
            linear=max(before.linear, size.linear, 1.0 if grows else 0.0), carried=before.carried, literal=None,
        )  # fmt: skip
    return after
