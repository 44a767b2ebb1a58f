"""What is true of a task, a head or an architecture stands with it: nothing else tells them apart by their names."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from bigmodel.core import catalog, contracts
from bigmodel.core.contracts import HEADS, Architecture, Task

ROOT = Path(__file__).parents[1]
FILES = sorted([ROOT / "app.py", *(path for room in ("bigmodel", "pages") for path in (ROOT / room).rglob("*.py"))])
LEAVES = {**catalog.tasks(), **catalog.architectures()}
NAMES = {*LEAVES, *HEADS}
MODEL_TYPES = NAMES & set(CONFIG_MAPPING_NAMES)  # 'bert' and 'vit' are also what transformers calls its networks

# Tables whose strings are other people's words, by what they are assigned to.
OTHER_VOCABULARIES = {
    "KNOWN_COLUMN_NAMES",  # what columns of files are called: 'translation', 'dialogue'
    "ROLE_ALIASES",  # who speaks in published conversations: 'gpt'
}


def mentions(tree, path):
    """(line, string) of every constant that is a name, outside what may say it."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in NAMES and not may_say(node, parents, path):
            yield node.lineno, node.value
        if is_suffix_test(node):
            yield node.lineno, ast.unparse(node)


def may_say(node, parents, path):
    name, lineage = node.value, [node]
    while lineage[-1] in parents:
        lineage.append(parents[lineage[-1]])
    if name in LEAVES and path == Path(inspect.getfile(type(LEAVES[name]))):
        return True  # its own leaf
    assigned = {target.id for one in lineage for target in targets(one)}
    owner = next((one for one in lineage if isinstance(one, ast.ClassDef)), None)
    if assigned & {"head", "heads", "base_heads"} and owner and is_leaf_class(owner, path):
        return True  # a task says which head it has, a network which it carries
    if assigned & {"HEADS"} and path == Path(contracts.__file__):
        return True
    if assigned & {"default_settings"} and path.parent.name == "datasets":
        return name in catalog.architectures()  # a data set says which settings suit it by which network: both vary
    if assigned & {"default_settings"} and owner and is_leaf_class(owner, path):
        return name in HEADS  # a network says which settings suit it with which head
    if name in MODEL_TYPES and "model_type" in said_with(lineage):
        return True
    return bool(assigned & OTHER_VOCABULARIES)


def said_with(lineage):
    """The text of the simple statement that a node is in, or of its expression in the head of a compound one."""
    number = next(number for number, one in enumerate(lineage) if isinstance(one, ast.stmt))
    return ast.unparse(lineage[number - 1 if hasattr(lineage[number], "body") else number])


def targets(node):
    found = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [one for one in found if isinstance(one, ast.Name)]


def is_leaf_class(owner, path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    found = getattr(importlib.import_module(module), owner.name, object)
    return issubclass(found, Task | Architecture)


def is_suffix_test(node):
    """`task.head.endswith("classification")` tells heads apart by a piece of their names."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    pieces = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    named = any(piece in name and len(piece) > 2 for piece in pieces for name in NAMES)
    return named and node.func.attr in ("endswith", "startswith")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_of_a_task_a_head_or_an_architecture_stands_elsewhere(path):
    found = list(mentions(ast.parse(path.read_text("utf-8")), path))
    assert not found, f"put what differs on the task, on the architecture or on the head's entry in HEADS: {found}"


@pytest.mark.parametrize(
    "line",
    [
        'if task.head == "causal-lm": pass',
        'TABLE = {"image-classification": 1}',
        'run.architecture == "pretrained"',
        'task.head.endswith("classification")',
        'default_settings = {"gpt": {}}',
        'class Runner:\n    head = "causal-lm"',
        'model = "bert"',
        'if name == "bert":\n    model_type = 1',
    ],
)
def test_a_name_that_is_planted_is_found(line):
    assert list(mentions(ast.parse(line), Path(catalog.__file__)))


def test_what_a_head_names_is_there():
    """Classes of transformers, and functions of our own."""
    from pkgutil import resolve_name

    import transformers

    for head in HEADS.values():
        assert hasattr(transformers, head.auto_class) and hasattr(transformers, head.processor_class)
        assert all(resolve_name(name) for name in (head.runner, head.tracer) if name)
