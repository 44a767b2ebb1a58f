"""Who may import whom, read from the source: downwards only, and nothing heavy where the pages are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("bigmodel", "pages") for path in (ROOT / folder).rglob("*.py"))

# room -> the rooms it may import from, beside itself
MAY_IMPORT = {
    "core": set(),
    "tasks": {"core", "data", "training", "metrics", "inference"},
    "architectures": {"core", "base_models"},
    "base_models": {"core"},
    "datasets": {"core"},
    "data": {"core"},
    "importing": {"core", "data"},
    "data_checks": {"core", "data", "importing"},
    "metrics": {"core", "data"},
    "training": {"core", "data", "metrics"},
    "inference": {"core", "base_models", "data", "importing", "runs", "training"},
    "evaluation": {"core", "base_models", "data", "importing", "inference", "metrics", "training"},
    "doctor": {"core"},
    "runs": {"core", "base_models", "data", "importing", "training"},
    "tuning": {"core", "base_models", "data", "importing", "runs", "training"},
    "studio": {"core", "base_models", "runs", "importing", "data_checks", "evaluation", "inference", "tuning"},
    "ui": {"core", "doctor", "studio"},
    "pages": {"core", "ui", "studio"},
    "cli": {"core", "runs", "studio"},
    "__main__": {"cli"},
}
# what the pages and the command line show: values of the rooms below, taken from where they are defined
SHOW_VALUES = {"ui", "pages", "cli"}
VALUES = {
    "base_models.fetch_process",
    "base_models.store",
    "base_models.suggestions",
    "data.browse",
    "data.model_view",
    "data_checks.check_jobs",
    "data_checks.finding",
    "data_checks.run_checks",
    "evaluation.comparison",
    "evaluation.evaluation",
    "evaluation.service",
    "metrics.paired_test",
    "metrics.slices",
    "importing.formats.chat_formats",
    "importing.import_jobs",
    "importing.import_plan",
    "importing.store.originals",
    "importing.store.registry",
    "importing.store.repair_rows",
    "importing.store.version_jobs",
    "runs.curve_sample",
    "runs.run",
    "runs.run_annotations",
    "runs.service",
    "training.forecast",
    "tuning.learning_rate_finder",
    "tuning.search_space",
    "tuning.study",
    "tuning.study_spec",
}
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "sklearn",
    "tokenizers",
    "accelerate",
    "evaluate",
    "sacrebleu",
    "safetensors",
    "optuna",
}


def room(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "pages" else parts[1]


def imports(tree):
    """(module, whether it is imported as soon as the file is) of every import that is made when code runs."""
    for node, at_once in _walk(tree, True):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, at_once
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield f"{node.module}.{name.name}", at_once


def _walk(node, at_once):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue  # for readers and type checkers only
        yield child, at_once
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, at_once and not function)


def read(path):
    return list(imports(ast.parse(path.read_text("utf-8"))))


def own(module):
    """The room of one of our modules, None for somebody else's."""
    parts = module.split(".")
    return parts[1] if parts[0] == "bigmodel" and len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_downwards_only(path):
    here = room(path)
    if here == "__init__":
        assert not read(path)
        return
    assert here in MAY_IMPORT or path.parent == ROOT / "bigmodel", f"a room without its line in MAY_IMPORT: {here}"
    allowed = MAY_IMPORT.get(here, {"core", "runs", "studio", "data", "training", "inference"}) | {here}
    upwards = {module for module, _at_once in read(path) if own(module) and own(module) not in allowed}
    if here in SHOW_VALUES:
        upwards = {module for module in upwards if not _is_value(module)}
    assert not upwards, f"{here} may import {sorted(allowed)}"


def _is_value(module):
    name = module.removeprefix("bigmodel.")
    return name in VALUES or name.rpartition(".")[0] in VALUES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_streamlit_is_imported_by_ui_and_pages_only(path):
    streamlit = [module for module, _at_once in read(path) if module.split(".")[0] == "streamlit"]
    assert not streamlit or room(path) in ("ui", "pages")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_imports_nothing_of_the_benchmarks(path):
    assert not [module for module, _at_once in read(path) if module.split(".")[0] == "benchmarks"]


def test_benchmarks_take_of_the_tests_only_the_corpus_which_takes_nothing_of_them():
    for path in (ROOT / "benchmarks").rglob("*.py"):
        of_tests = [module for module, _at_once in read(path) if module.split(".")[0] == "tests"]
        assert all(module.startswith("tests.corpus") for module in of_tests), path
    for path in (ROOT / "tests" / "corpus").rglob("*.py"):
        assert not [module for module, _at_once in read(path) if module.split(".")[0] == "benchmarks"], path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_are_imported_inside_functions(path):
    """Also in modules that only workers use: a leaf is looked at by the pages, and looking must not load torch."""
    heavy = {module for module, at_once in read(path) if at_once and module.split(".")[0] in HEAVY}
    assert not heavy


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_core_imports_neither_torch_nor_streamlit_anywhere(path):
    if room(path) == "core":
        assert not [
            module for module, _at_once in read(path) if module.split(".")[0] in {"torch", "streamlit", "transformers"}
        ]


def test_no_file_imports_itself_by_way_of_others():
    """Imports inside functions counted: a circle that only a late import hides is one all the same."""
    sys.path.insert(0, str(ROOT / "scripts"))
    import code_figures

    assert not code_figures.circles(code_figures.imports(ROOT, FILES))


def test_the_studio_and_the_whole_catalogue_load_no_torch():
    code = """
import sys
from pathlib import Path
from bigmodel.core import catalog, spec
from bigmodel.studio import Studio
import bigmodel.cli.command
studio = Studio(Path(sys.argv[1]))
for task in catalog.tasks().values():
    for architecture in catalog.architectures_for(task).values():
        spec.fields_for(task, architecture)
for name in catalog.datasets():
    studio.data.peek(name), studio.data.stats(name)
studio.runs.all(), studio.models.all(), studio.device()
print(sorted({name.split(".")[0] for name in sys.modules} & set(sys.argv[2].split(","))))
"""
    command = [sys.executable, "-c", code, "home", ",".join(HEAVY | {"streamlit"})]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert found.stdout.strip() == "[]", found.stdout + found.stderr
