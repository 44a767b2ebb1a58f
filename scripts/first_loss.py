"""How long after 'Start' the first loss is seen: beside a server whose spare worker is warm, and twice in a row.

python scripts/first_loss.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bigmodel.studio import Studio

ROUNDS = 3
WARM_SECONDS = 30.0  # in which the spare loads its libraries
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
                warm, cold = [], []
                for _round in range(ROUNDS):
                    time.sleep(WARM_SECONDS)
                    warm.append(first_loss(studio, names))
                    cold.append(first_loss(studio, names))  # at once after it: the next spare is not there yet
                told = (
                    f"spare warm {statistics.median(warm):.2f} s, right after another {statistics.median(cold):.2f} s"
                )
                print(f"{names[1]} on {names[2]}: {told} (medians of {ROUNDS})", flush=True)
        finally:
            studio.close()


if __name__ == "__main__":
    main()
