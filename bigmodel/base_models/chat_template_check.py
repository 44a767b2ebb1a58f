"""A chat template, looked over before it is ever used: it is a small program, and a program may never end.

As a program, `python -I chat_template_check.py` reads one from stdin and renders conversations by it, in a process that has
little time and memory; what it prints is why a template will not do.
"""

from __future__ import annotations

import subprocess
import sys

MAX_CHARACTERS = 64_000
MAX_NODES = 6_000
MAX_LOOP_DEPTH = 5  # loops within loops
MAX_NUMBER = 10_000  # larger constants are good for nothing but bombs
CPU_SECONDS = 1  # of CPU for one conversation
MEMORY_BYTES = 512 * 2**20
WALL_SECONDS = 1.6
SAMPLE_CONVERSATIONS = (
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be kind."}]
    + [{"role": role, "content": f"{role} {i}"} for i in range(12) for role in ("user", "assistant")],
)


def find_problem(template: str) -> str:
    """Why a template will not do, '' when it will."""
    return _static_problem(template) or _runtime_problem(template)


def _static_problem(template: str) -> str:
    """What its text says."""
    if len(template) > MAX_CHARACTERS:
        return f"it has {len(template)} characters"
    from jinja2 import TemplateError, nodes

    try:
        tree = environment().parse(template)
    except (TemplateError, RecursionError, MemoryError) as error:
        return f"it cannot be read: {str(error)[:80]}"
    if sum(1 for _node in tree.find_all(nodes.Node)) > MAX_NODES:
        return "it is too large a program"
    for constant in tree.find_all(nodes.Const):
        if isinstance(constant.value, int | float) and abs(constant.value) > MAX_NUMBER:
            return f"it names the number {constant.value}"
    for access in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Name)):
        name = getattr(access, "attr", None) or getattr(access, "name", None) or _text(getattr(access, "arg", None))
        if isinstance(name, str) and name.startswith("__"):
            return f"it reaches for {name[:40]}"
    for kind in (nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends):
        if tree.find(kind) is not None:
            return "it wants other files"
    if tree.find(nodes.Pow) is not None:
        return "it computes powers"
    if any(_text(call.node) == "lipsum" for call in tree.find_all(nodes.Call)):
        return "it writes text without end"
    if any(loop.recursive for loop in tree.find_all(nodes.For)) or _calls_itself(tree):
        return "it calls itself"
    return "it has too many loops within loops" if _depth(tree) > MAX_LOOP_DEPTH else ""


def _text(node: object) -> str:
    from jinja2 import nodes

    if isinstance(node, nodes.Name):
        return node.name
    return str(node.value) if isinstance(node, nodes.Const) else ""


def _calls_itself(tree: object) -> bool:
    """Macros that reach themselves, by others or at once."""
    from jinja2 import nodes

    calls = {
        macro.name: {_text(call.node) for call in macro.find_all(nodes.Call)} for macro in tree.find_all(nodes.Macro)
    }
    for start in calls:
        seen, open_ = set(), [start]
        while open_:
            for name in calls.get(open_.pop(), ()):
                if name == start:
                    return True
                if name not in seen:
                    seen.add(name)
                    open_.append(name)
    return False


def _depth(node: object) -> int:
    from jinja2 import nodes

    deepest = max((_depth(child) for child in node.iter_child_nodes()), default=0)
    return deepest + isinstance(node, nodes.For)


def environment():
    """As transformers has it: sandboxed, nothing of Python's own to be reached."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    found = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_generation_extension(), loopcontrols]
    )

    def refuse(words: str) -> None:
        from jinja2 import TemplateError

        raise TemplateError(words)

    found.globals |= {"raise_exception": refuse, "strftime_now": lambda form: "2026-01-01"}
    found.filters["tojson"] = lambda value, **_more: __import__("json").dumps(value, ensure_ascii=False)
    return found


def _generation_extension() -> type:
    """The block that marks what an assistant says: '{% generation %} ... {% endgeneration %}'."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return Generation


def _runtime_problem(template: str) -> str:
    """What it does, in a process of its own."""
    from bigmodel.core import child_process  # not at the top: as a program this file stands alone

    with child_process.start(__file__, isolated=True) as process:
        try:
            printed, _errors = process.communicate(template.encode(), WALL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return "it does not come to an end"
    if process.returncode == 0:
        return ""
    reason = printed.decode(errors="replace").strip().rpartition("\n")[2]
    return reason[:120] if process.returncode == 1 and reason else "it needs too much time or memory"


def _render() -> int:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):  # a system without such limits; the clock still ends it
        pass
    from jinja2 import TemplateError

    try:
        program = environment().from_string(sys.stdin.buffer.read().decode())
    except Exception as error:
        print(f"it cannot be read: {error}"[:120])
        return 1
    for messages in SAMPLE_CONVERSATIONS:
        count = 0
        try:
            for part in program.generate(
                messages=messages, add_generation_prompt=True, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                unk_token="<unk>", tools=None, documents=None,
            ):  # fmt: skip
                count += len(part)
                if count > 200_000:
                    print("it writes without end")
                    return 1
        except TemplateError:
            continue  # a template may refuse a conversation; system messages often are
        except (MemoryError, RecursionError, OverflowError):
            print("it needs too much memory")
            return 1
        except Exception as error:
            print(f"it fails: {type(error).__name__}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_render())
