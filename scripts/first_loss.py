"""How long after 'Start' the first loss is seen: of a worker that is forked, and of one that imports its libraries.

python scripts/first_loss.py
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bigmodel.core import fork_server
from bigmodel.studio import Studio

ROUNDS = 3
CASES = (("image-classification", "cnn", "digits"), ("text-generation", "gpt", "poetry_zh"))


def first_loss(studio: Studio, names: tuple[str, str, str]) -> float:
    """Seconds from the launch to the first step event, at the recommended settings; the run is then stopped."""
    task, architecture, dataset = names
    begun = time.perf_counter()
    run = studio.runs.launch({"task": task, "architecture": architecture, "dataset": dataset})
    while not studio.runs.events(run, kinds=("step",))[1]:
        time.sleep(0.01)
    spent = time.perf_counter() - begun
    studio.runs.stop(run)
    while studio.runs.get(run).live:
        time.sleep(0.05)
    return spent


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        studio = Studio(Path(home))
        studio.serve()
        try:
            for names in CASES:
                first_loss(studio, names)  # encodes the data, which later runs find in the cache
                socket = os.environ[fork_server.VARIABLE]
                while not os.path.exists(socket):
                    time.sleep(0.1)
                forked, imported = [], []
                for _round in range(ROUNDS):
                    forked.append(first_loss(studio, names))
                    os.environ[fork_server.VARIABLE] = fork_server.OFF
                    imported.append(first_loss(studio, names))
                    os.environ[fork_server.VARIABLE] = socket
                told = f"forked {statistics.median(forked):.2f} s, importing {statistics.median(imported):.2f} s"
                print(f"{names[1]} on {names[2]}: {told} (medians of {ROUNDS})", flush=True)
        finally:
            studio.close()


if __name__ == "__main__":
    main()
