"""Pictures of every page, at desk and phone width, in both languages, light and dark, over really trained runs.

    python scripts/screenshots.py [FOLDER]

Starts the app with a home of its own on a free port. Needs Chromium (BIGMODEL_CHROMIUM or on the PATH).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
ARTEFACTS = ROOT / "artefacts"
DESK, PHONE = (1280, 900), (390, 844)
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
DONE = "[data-testid=stApp][data-test-script-state=notRunning]"
LONGEST = 5000  # pixels of a page that are still shown


def chromium() -> str | None:
    return os.environ.get("BIGMODEL_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def server(home: Path, app: Path = ROOT / "app.py", **environment: str) -> Iterator[str]:
    """The app over a home folder; its address. Ended when left."""
    port, log = free_port(), home / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(app), f"--server.port={port}"],
            cwd=tempfile.gettempdir(),  # from any folder
            env={
                **os.environ,
                "BIGMODEL_HOME": str(home),
                "BIGMODEL_NO_TOKEN": "1",
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            stdout=out,
            stderr=out,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process, log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(address: str, process: subprocess.Popen, log: Path, seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the app did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")


def train(home: Path, task: str, architecture: str, dataset: str, **settings: object) -> str:
    """A run trained to its end by the command line; its id."""
    words = ["--task", task, "--architecture", architecture, "--dataset", dataset, "--wait"]
    name = settings.pop("name", "")
    words += ["--name", str(name)] if name else []
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    environment = {**os.environ, "BIGMODEL_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bigmodel", "train", *words],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()[0]


def picture(page, address: str, path: Path, wait: float = 1.2) -> None:
    """The whole length of a page as it stands when it is done."""
    page.goto(address)
    page.wait_for_selector(DONE, timeout=60_000)
    page.wait_for_timeout(1000 * wait)
    width = page.viewport_size["width"]
    length = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(length + 10, DESK[1]), LONGEST)})
    page.wait_for_timeout(700)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(path))


def views(runs: dict[str, str]) -> dict[str, str]:
    """What is photographed: name -> address."""
    return {
        "home": "/",
        "data": "/data",
        "data-pictures": "/data?dataset=fashion_mnist",
        "data-pairs": "/data?dataset=en_zh",
        "train": "/train?task=text-generation",
        "train-translation": "/train?task=translation",
        "train-pictures": "/train?task=image-classification",
        "runs": "/runs",
        "run": f"/runs?run={runs['pictures']}",
        "run-text": f"/runs?run={runs['text']}",
        "try-text": f"/try?model={runs['text']}",
        "try-pictures": f"/try?model={runs['pictures']}",
        "models": "/models",
    }


def main(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as home, sync_playwright() as play:
        runs = {
            "pictures": train(Path(home), "image-classification", "cnn", "digits", epochs=8),
            "text": train(
                Path(home),
                "text-generation",
                "gpt",
                "poetry_zh",
                name="小诗人",
                max_steps=80,
                eval_every=20,
                layers=2,
                width=96,
            ),
        }
        browser = play.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        with server(Path(home)) as address:
            for size, scheme, language in (
                (DESK, "light", "en"),
                (DESK, "light", "zh"),
                (PHONE, "light", "zh"),
                (PHONE, "light", "en"),
                (DESK, "dark", "zh"),
            ):
                kind = f"{size[0]}-{scheme}-{language}"
                for name, place in views(runs).items():
                    context = browser.new_context(
                        viewport={"width": size[0], "height": size[1]},
                        color_scheme=scheme,
                        locale={"en": "en-US", "zh": "zh-CN"}[language],
                        has_touch=size == PHONE,
                    )
                    picture(context.new_page(), address + place, folder / kind / f"{name}.png")
                    context.close()
                print(kind)
        browser.close()


if __name__ == "__main__":
    if not chromium():
        sys.exit("There is no Chromium: install it, or set BIGMODEL_CHROMIUM to its path.")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ARTEFACTS / "screenshots")
