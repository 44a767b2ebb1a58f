"""The foundations pass a strict type checker; which rooms and how strictly stands in pyproject.toml."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def mypy(*arguments):
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_core_and_runs_pass_the_type_checker(tmp_path):
    checked = mypy("--cache-dir", str(tmp_path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_wrong_type_is_reported(tmp_path):
    module = tmp_path / "planted.py"
    module.write_text(
        "def double(number: int) -> int:\n    return str(2 * number)\n\n\ndef untyped(value):\n    return value\n"
    )
    checked = mypy("--cache-dir", str(tmp_path / "cache"), str(module))
    assert checked.returncode == 1
    assert "[return-value]" in checked.stdout and "[no-untyped-def]" in checked.stdout
