"""One check's training in a process of its own: `python -m benchmarks.quality.trial FOLDER CACHE`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.quality import fetched, weights
from bigmodel.core import events
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.training.forecast import forecast
from bigmodel.training.loop import train


def main(arguments: list[str]) -> None:
    folder, cache = map(Path, arguments)
    fetched.register()
    weights.register()
    try:
        spec = RunSpec.check(json.loads((folder / "spec.json").read_text("utf-8")))
        if spec.settings["max_minutes"]:  # as on the Train page: a forecast stands before the start
            *_earlier, figures = forecast(spec, cache)
            (folder / "forecast.json").write_text(json.dumps(figures), "utf-8")
        for event in train(spec, folder, lambda: False, cache):
            events.append(folder / "events.jsonl", [event])
    except Refusal as refusal:
        sys.exit(str(refusal))


if __name__ == "__main__":
    main(sys.argv[1:])
