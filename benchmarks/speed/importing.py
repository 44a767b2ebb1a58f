"""Reading strangers' files: megabytes a second of one core, and the memory that it takes at most."""

from __future__ import annotations

import json
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from benchmarks.speed.report import alone
from benchmarks.speed.side import Side, alternate
from bigmodel.core import catalog
from bigmodel.data.prepare import head
from bigmodel.data.sandbox import run_in_sandbox
from bigmodel.importing.import_plan import ImportPlan
from bigmodel.studio import home

HERE = "benchmarks.speed.importing:"
ROUNDS = 3  # of reading a gigabyte
MEGABYTES = {"jsonl": 1000, "csv": 250, "text": 250}
KINDS = {"jsonl": "JSON lines with three columns", "csv": "CSV with three columns", "text": "plain text, a row a line"}
CLASSES = ("story", "letter", "news", "a play")
PLANS = {
    "jsonl": ImportPlan("jsonl", {"text": "body", "label": "kind"}),
    "csv": ImportPlan("csv", {"text": "body", "label": "kind"}),
    "text": ImportPlan("text", {"text": "text"}),
}


def importing(rounds: int) -> list[dict]:
    rows = []
    for kind, megabytes in MEGABYTES.items():
        found = alternate({"ours": Side(HERE + "reading", kind=kind)}, min(rounds, ROUNDS))["ours"]
        last = found[-1]
        size = f"{megabytes / 1000:g} GB" if megabytes >= 1000 else f"{megabytes} MB"
        note = (
            f"{last['rows']:,} rows; each is parsed, checked, cut into training, validation and test by its content and "
            f"written as Parquet; {last['seconds']:.1f} s of a core, {last['wall']:.1f} s by the clock"
        )
        work = f"import {size} of {KINDS[kind]}"
        rows.append(alone(work, [one["rate"] for one in found], "MB/s a core", ">= 100", note))
        rows.append(alone(f"{work}, memory at most", [one["memory"] for one in found], "MiB", "<= 1024"))
    return rows


def reading(kind: str, megabytes: float | None = None) -> Callable[[], dict]:
    """As an import does it, in the process of its own in which strangers' files are read. Wants to have no other
    children: the memory is that of the largest there has been."""
    path = file(kind, megabytes)
    size = path.stat().st_size / 1e6

    def measure() -> dict:
        import time

        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            request = {"do": "import", "path": str(path), "plan": PLANS[kind].to_json(), "folder": folder}
            written = run_in_sandbox(request)
            wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        rows = sum(written["rows"].values())
        return {
            "rate": size / seconds,
            "seconds": seconds,
            "wall": wall,
            "memory": after.ru_maxrss / 1024,
            "rows": rows,
        }

    return measure


def file(kind: str, megabytes: float | None = None) -> Path:
    """A file of that many megabytes in the home folder, written once."""
    wanted = MEGABYTES[kind] if megabytes is None else megabytes
    path = home() / "bench" / f"import-{wanted:g}.{kind}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_suffix(".part")
        with staging.open("w", encoding="utf-8") as out:
            left = wanted * 1e6
            for number, text in enumerate(_texts()):
                left -= out.write(_line(kind, number, text))  # of English mostly: a character is a byte
                if left <= 0:
                    break
        staging.rename(path)
    return path


def _texts() -> Iterator[str]:
    """The bundled passages over and over, each time in another order and cut at other places."""
    passages = [row["text"] for row in head(catalog.dataset("classics_en"), "train", 3000)]
    chance = Random(0)
    while True:
        chance.shuffle(passages)
        for passage in passages:
            at = chance.randrange(len(passage) // 2)
            yield " ".join(passage[at : at + chance.randrange(80, 1200)].split())


def _line(kind: str, number: int, text: str) -> str:
    if kind == "jsonl":
        return json.dumps({"id": number, "body": text, "kind": CLASSES[number % 4]}) + "\n"
    if kind == "csv":
        head = "id,body,kind\n" if not number else ""
        return head + f'{number},"{text.replace(chr(34), chr(34) * 2)}",{CLASSES[number % 4]}\n'
    return f"{text}\n"
