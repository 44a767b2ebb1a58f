"""Figures of the code itself: lines, functions, import circles, names that occur twice.

python scripts/code_figures.py [FOLDER]     of the checkout in FOLDER, by default this one
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT, BESIDE = ("bigmodel", "pages"), ("benchmarks", "tests", "scripts")


def files(root: Path, *rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (root / room).rglob("*.py"))


def lines(paths: list[Path]) -> int:
    return sum(path.read_text("utf-8").count("\n") for path in paths)


def functions(paths: list[Path]) -> list[int]:
    """Lines of each function, from `def` to its last statement."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return sorted(node.end_lineno - node.lineno + 1 for node in nodes if isinstance(node, kinds))


def imports(root: Path, paths: list[Path]) -> Mapping[Path, set[Path]]:
    """File -> files that it imports when it runs, also inside functions; not for type checkers alone."""
    modules = {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    return {path: set(_imported(ast.parse(path.read_text("utf-8")), modules)) - {path} for path in paths}


def _imported(tree: ast.AST, modules: Mapping[str, Path]) -> Iterator[Path]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (modules[name.name] for name in node.names if name.name in modules)
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                found = modules.get(f"{node.module}.{name.name}") or modules.get(node.module or "")
                if found:
                    yield found
        else:
            yield from _imported(node, modules)


def circles(graph: Mapping[Path, set[Path]]) -> list[list[Path]]:
    """Strongly connected components of more than one file (Tarjan 1972)."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found = []

    def visit(file: Path) -> None:
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in graph[file]:
            if other not in index:
                visit(other)
            if other in stack:
                low[file] = min(low[file], low[other])
        if low[file] == index[file]:
            at = stack.index(file)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for file in graph:
        if file not in index:
            visit(file)
    return found


def same_names(paths: list[Path]) -> dict[str, int]:
    """Base names that several files bear, `__init__.py` and `__main__.py` aside."""
    counts = Counter(path.name for path in paths if not path.name.startswith("__"))
    return {name: count for name, count in counts.items() if count > 1}


def methods(root: Path, name: str = "Studio") -> int:
    """Public methods and properties of the studio."""
    tree = ast.parse((root / "bigmodel" / "studio.py").read_text("utf-8"))
    (studio,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return sum(isinstance(node, ast.FunctionDef) and not node.name.startswith("_") for node in studio.body)


def files_that_name(paths: list[Path], names: set[str]) -> list[Path]:
    """Files in which one of these names stands as a string of its own."""
    texts = {path: ast.walk(ast.parse(path.read_text("utf-8"))) for path in paths}
    return [
        path
        for path, nodes in texts.items()
        if any(
            isinstance(n, ast.Constant) and n.value in names
            for n in nodes
            if isinstance(getattr(n, "value", None), str)
        )
    ]


def main(root: Path) -> int:
    product = files(root, *PRODUCT)
    sizes = functions(product)
    sys.path.insert(0, str(ROOT))
    from bigmodel.core.contracts import HEADS

    print(
        "lines:",
        ", ".join(f"{room} {lines(files(root, room))}" for room in (*PRODUCT, *BESIDE) if (root / room).exists()),
    )
    print("product:", lines(product), "lines,", len(product), "files")
    print(
        "functions:", f"median {statistics.median(sizes):.0f}, p90 {sizes[int(0.9 * len(sizes))]}, longest {sizes[-1]}"
    )
    print(
        "import circles, lazy imports counted:",
        [[str(file.relative_to(root)) for file in circle] for circle in circles(imports(root, product))],
    )
    print("public methods of Studio:", methods(root))
    print("files that name a head:", len(files_that_name(product, set(HEADS))))
    print("base names that occur twice:", same_names(product))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if sys.argv[1:] else ROOT))
