"""The tree in README.md: each file with the sentence it opens with. `update` writes it, `check` fails when it is stale.

python scripts/tree.py update
python scripts/tree.py check
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "README.md"
BEGIN, END = "<!-- tree: written by `python scripts/tree.py update` -->", "<!-- end of tree -->"
ROOMS = ("app.py", "start.py", "pages", "bigmodel", "benchmarks", "scripts", "tests")
SEVERAL = (
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
    "tests/corpus/home": "a home folder of before 0.1.0, which must be opened for ever",
}


def tree() -> str:
    """All files, in order, indented by their folder."""
    lines, shown = [], set()
    for file in known():
        several = next((folder for folder in SEVERAL if file.startswith(folder + "/")), "")
        for folder in [*reversed(Path(several or file).parents)][1:]:
            _show(str(folder.as_posix()) + "/", phrase(folder.as_posix()), shown, lines)
        if several:
            _show(several + "/", PHRASES[several], shown, lines)
        elif (file.endswith(".py") and not file.endswith("__init__.py")) or file in PHRASES:
            _show(file, phrase(file), shown, lines)
    return "\n".join(["```text", *lines, "```"])


def known() -> list[str]:
    """Files of the rooms, each room's own files before its sub-rooms."""
    found = [
        file for room in ROOMS for file in ([ROOT / room] if (ROOT / room).is_file() else (ROOT / room).rglob("*"))
    ]
    files = [file.relative_to(ROOT).as_posix() for file in found if file.is_file() and "__pycache__" not in file.parts]
    return sorted(files, key=lambda file: (ROOMS.index(file.split("/")[0]), *_order(file)))


def _order(file: str) -> list[tuple[bool, str]]:
    parts = file.split("/")
    return [(place < len(parts) - 1, part) for place, part in enumerate(parts)]


def phrase(path: str) -> str:
    """The first sentence of a module; of a folder that of its `__init__.py`."""
    if path in PHRASES:
        return PHRASES[path]
    source = ROOT / path / "__init__.py" if (ROOT / path).is_dir() else ROOT / path
    text = ast.get_docstring(ast.parse(source.read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def _show(path: str, text: str, shown: set[str], lines: list[str]) -> None:
    if path in shown:
        return
    shown.add(path)
    inside = path.rstrip("/").split("/")
    name = "    " * (len(inside) - 1) + inside[-1] + ("/" if path.endswith("/") else "")
    lines.append(f"{name:<32} {text}".rstrip())


def page(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{tree()}\n{END}{rest.partition(END)[2]}"


def main(arguments: list[str]) -> int:
    if arguments not in (["update"], ["check"]):
        print(__doc__)
        return 2
    old = PAGE.read_text("utf-8")
    new = page(old)
    if arguments == ["update"]:
        PAGE.write_text(new, "utf-8")
        return 0
    if old != new:
        print("The tree in README.md is stale: python scripts/tree.py update")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
