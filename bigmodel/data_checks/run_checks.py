"""Looking for faults: every check that suits the data, one after the other; what was found is kept."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bigmodel.core import files
from bigmodel.core.contracts import Dataset
from bigmodel.core.files import write_atomic
from bigmodel.core.words import Words
from bigmodel.data_checks import checks as leaves
from bigmodel.data_checks.finding import SEVERITIES, Check, Fact, Finding
from bigmodel.data_checks.row_batches import Rows


@dataclass(frozen=True)
class Progress:
    """How far it is: which check is at work, and how much of all is done, from 0 to 1."""

    title: Words
    share: float


@dataclass(frozen=True)
class CheckReport:
    """What was looked for in a data set, and what was found."""

    dataset: str
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    facts: Mapping[str, object] = field(default_factory=dict)
    rows: int = 0  # that were looked at
    total: int = 0  # that there are
    seconds: float = 0.0

    def to_json(self) -> dict:
        return vars(self) | {"findings": [finding.to_json() for finding in self.findings]}

    @staticmethod
    def from_json(data: Mapping) -> CheckReport:
        findings = tuple(Finding.from_json(finding) for finding in data["findings"])
        return CheckReport(**data | {"checks": tuple(data["checks"]), "findings": findings})


@cache
def checks() -> Mapping[str, Check]:
    """One of each class that a module of `checks` defines under a name."""
    found = {}
    for iter_module in pkgutil.iter_modules(leaves.__path__):
        module = importlib.import_module(f"{leaves.__name__}.{iter_module.name}")
        for thing in vars(module).values():
            own = isinstance(thing, type) and issubclass(thing, Check) and thing.__module__ == module.__name__
            if own and "name" in vars(thing):
                found[thing.name] = thing()
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def run_checks(data: Dataset, only: tuple[str, ...] = ()) -> Iterator[Progress | CheckReport]:
    """How far it is, again and again, and at last what was found. `only` names the checks to be made."""
    begun = time.monotonic()
    rows = Rows(data)
    made = [check for check in checks().values() if check.applies_to(rows) and (not only or check.name in only)]
    findings: list[Finding] = []
    facts: dict[str, object] = {}
    for number, check in enumerate(made):
        yield Progress(check.title, number / len(made))
        for part in check.run(rows) if len(rows) else ():
            if isinstance(part, Finding):
                findings.append(part)
            elif isinstance(part, Fact):
                facts[part.name] = part.value
            else:
                yield Progress(check.title, (number + part) / len(made))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    names = tuple(check.name for check in made)
    spent = time.monotonic() - begun
    yield CheckReport(data.name, names, tuple(findings), facts, len(rows), rows.total, round(spent, 2))


def load_report(data: Dataset, cache: Path) -> CheckReport | None:
    """What was found in these very rows by these very checks; None where nobody has looked yet."""
    try:
        return CheckReport.from_json(json.loads(_report_file(data, cache).read_text("utf-8")))
    except FileNotFoundError:
        return None


def save_report(data: Dataset, cache: Path, found: CheckReport) -> None:
    file = _report_file(data, cache)
    files.make_folder(file.parent)
    write_atomic(file, json.dumps(found.to_json(), ensure_ascii=False))


def _report_file(data: Dataset, cache: Path) -> Path:
    return cache / "lint" / f"{data.fingerprint()[:32]}-{_code_hash()}.json"


@cache
def _code_hash() -> str:
    """Changes when a check does."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
