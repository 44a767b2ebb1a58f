"""What the documentation says of the files, generated: the tree in docs/TREE.md, each file with the sentence it opens with,
and the rooms in ARCHITECTURE.md, each with what it may import. `update` writes both, `check` fails when one is stale.

python scripts/tree.py update
python scripts/tree.py check
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP = ("app.py", "start.py", "pages", "bigmodel", "benchmarks", "scripts", "tests")
FOLDED = (
    "benchmarks/figures",
    "bigmodel/datasets/bundle",
    "bigmodel/locale",
    "bigmodel/starters",
    "bigmodel/ui/assets",
    "tests/corpus/home",
)
PHRASES = {
    "bigmodel/datasets/bundle": "the bundled rows, Parquet, with a manifest of their hashes",
    "bigmodel/locale": "the message catalogues: every sentence people see, in Chinese",
    "bigmodel/starters": "the models that answer at once, each a folder that plain transformers opens",
    "bigmodel/ui/assets": "icon and logo",
    "benchmarks/figures": "what was measured, as JSON: the pages show it",
    "pages": "One file a page, read from top to bottom as the screen is seen.",
    "scripts": "What makes and checks files that are kept.",
    "tests": "Facts, as tests.",
    "tests/corpus/home": "a small home folder written before 0.1.0",
}


def tree() -> str:
    """All files, in order, indented by their folder."""
    lines, shown = [], set()
    for file in files():
        folded = next((folder for folder in FOLDED if file.startswith(folder + "/")), "")
        for folder in [*reversed(Path(folded or file).parents)][1:]:
            _append(folder.as_posix() + "/", phrase(folder.as_posix()), shown, lines)
        if folded:
            _append(folded + "/", PHRASES[folded], shown, lines)
        elif (file.endswith(".py") and not file.endswith("__init__.py")) or file in PHRASES:
            _append(file, phrase(file), shown, lines)
    return "\n".join(["```text", *lines, "```"])


def files() -> list[str]:
    """Files below `TOP`, each folder's own files before its subfolders."""
    paths = [path for top in TOP for path in ([ROOT / top] if (ROOT / top).is_file() else (ROOT / top).rglob("*"))]
    names = [path.relative_to(ROOT).as_posix() for path in paths if path.is_file() and "__pycache__" not in path.parts]
    return sorted(names, key=lambda name: (TOP.index(name.split("/")[0]), *_files_first(name)))


def _files_first(name: str) -> list[tuple[bool, str]]:
    parts = name.split("/")
    return [(depth < len(parts) - 1, part) for depth, part in enumerate(parts)]


def phrase(path: str) -> str:
    """The first sentence of a module; of a folder that of its `__init__.py`."""
    if path in PHRASES:
        return PHRASES[path]
    source = ROOT / path / "__init__.py" if (ROOT / path).is_dir() else ROOT / path
    if not source.exists():
        return ""
    text = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def _append(path: str, text: str, shown: set[str], lines: list[str]) -> None:
    if path in shown:
        return
    shown.add(path)
    parts = path.rstrip("/").split("/")
    name = "    " * (len(parts) - 1) + parts[-1] + ("/" if path.endswith("/") else "")
    lines.append(f"{name:<32} {text}".rstrip())


def rooms() -> str:
    """The rooms in the order of `MAY_IMPORT`, each with its sentence and what it may import."""
    rows = [(_path(room), ", ".join(sorted(others)) or "nothing of ours") for room, others in may_import().items()]
    rows.append(("benchmarks/", "everything; nothing imports it"))
    lines = [f"| `{path.removeprefix('bigmodel/')}` | {phrase(path.rstrip('/'))} | {others} |" for path, others in rows]
    return "\n".join(["| room | what it holds | what it may import |", "|---|---|---|", *lines])


def may_import() -> dict[str, set[str]]:
    """The table that tests/test_layers.py enforces, read without running it."""
    for node in ast.parse((ROOT / "tests" / "test_layers.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MAY_IMPORT":
            return ast.literal_eval(node.value)
    raise LookupError("tests/test_layers.py has no MAY_IMPORT")


def _path(room: str) -> str:
    paths = (f"bigmodel/{room}/", f"bigmodel/{room}.py", f"{room}/")
    return next(path for path in paths if (ROOT / path).exists())


GENERATED = {"docs/TREE.md": ("tree", tree), "ARCHITECTURE.md": ("rooms", rooms)}


def with_part(text: str, name: str, part: str) -> str:
    """The page with what stands between the marks of `name` replaced."""
    begin, end = f"<!-- {name}: written by `python scripts/tree.py update` -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise LookupError(f"no place for the {name}: {begin} ... {end}")
    return f"{before}{begin}\n{part}\n{end}{after}"


def main(arguments: list[str]) -> int:
    if arguments not in (["update"], ["check"]):
        print(__doc__)
        return 2
    stale = 0
    for page, (name, make) in GENERATED.items():
        old = (ROOT / page).read_text("utf-8")
        new = with_part(old, name, make())
        if old != new and arguments == ["update"]:
            (ROOT / page).write_text(new, "utf-8")
        elif old != new:
            print(f"The {name} in {page} is stale: python scripts/tree.py update")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
