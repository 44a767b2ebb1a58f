"""The moving pictures of README.md and README.zh.md: choose data and network, train, watch the loss fall, try the model.

    python scripts/moving_picture.py [FOLDER]    (else docs/, one picture a language)

Every frame is a screenshot of Chromium while a real run trains; only the mouse pointer is drawn in, since screenshots
have none. Needs Chromium (BIGMODEL_CHROMIUM or on the PATH).
"""

from __future__ import annotations

import io
import math
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw
from screenshots import DONE, FLAGS, ROOT, chromium, server

sys.path.insert(0, str(ROOT))

from bigmodel.core.words import Words, say

LOCALES = {"en": "en-US", "zh": "zh-CN"}
SIZE, SCALE = (1120, 800), 1.25  # CSS pixels, and device pixels for each
QUALITY, LIMIT = 84, 2_000_000  # of WebP; bytes of a picture
POINTER = ((0, 0), (0, 24), (6, 18), (10, 28), (14, 26), (10, 17), (17, 17))  # CSS pixels from the tip
PLOT = ".live-plot .plot-container"
LAPSE = 250  # milliseconds that a frame of the training is shown; it is taken every 350 or more


def bow(x: float, y: float, radius: float, begin: int, end: int) -> list[tuple[float, float]]:
    """Points on an arc, clockwise, in parts of the canvas; angles in degrees from the right."""
    angles = [math.radians(angle) for angle in range(begin, end + 1, 30)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


THREE = [*bow(0.48, 0.31, 0.18, -150, 90), *bow(0.48, 0.68, 0.21, -60, 150)]


class Film:
    """Screenshots of a page with the time each one is shown, in milliseconds."""

    def __init__(self, page, language: str):
        self.page, self.language = page, language
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []
        self.mouse = (SIZE[0] * 0.62, SIZE[1] * 0.6)

    def label(self, text: str) -> str:
        """What the app calls it in the language of the film."""
        return say(Words(text), self.language)

    def shoot(self, milliseconds: int) -> None:
        """A frame; where nothing has changed the one before is shown longer."""
        frame = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        outline = [((x + self.mouse[0]) * SCALE, (y + self.mouse[1]) * SCALE) for x, y in POINTER]
        ImageDraw.Draw(frame).polygon(outline, fill="black", outline="white", width=2)
        if self.frames and ImageChops.difference(frame, self.frames[-1]).getbbox() is None:
            self.durations[-1] += milliseconds
            return
        self.frames.append(frame)
        self.durations.append(milliseconds)

    def move(self, x: float, y: float, steps: int = 5) -> None:
        (x0, y0) = self.mouse
        for step in range(1, steps + 1):
            part = step / steps
            part = part * part * (3 - 2 * part)  # smoothstep: hands begin and end slowly
            self.mouse = (x0 + (x - x0) * part, y0 + (y - y0) * part)
            self.page.mouse.move(*self.mouse)
            self.shoot(50)

    def click(self, target, rest: int = 700) -> None:
        """Go there, click, and look at what it did for `rest` milliseconds."""
        target.scroll_into_view_if_needed()
        box = target.bounding_box()
        self.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6)
        self.shoot(150)
        self.page.mouse.down()
        self.page.mouse.up()
        self.page.wait_for_timeout(150)
        self.page.wait_for_selector(DONE, state="attached")
        self.page.wait_for_timeout(300)
        self.shoot(rest)

    def scroll(self, pixels: int, steps: int = 4) -> None:
        for _step in range(steps):
            self.page.mouse.wheel(0, pixels / steps)
            self.page.wait_for_timeout(100)
            self.shoot(50)

    def draw(self, board, points) -> None:
        """One stroke on a canvas."""
        board.scroll_into_view_if_needed()
        box = board.bounding_box()
        first, *others = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
        self.move(*first)
        self.page.mouse.down()
        for point in others:
            self.move(*point, steps=1)
        self.page.mouse.up()

    def save(self, path: Path) -> None:
        self.frames[0].save(
            path,
            save_all=True,
            append_images=self.frames[1:],
            duration=self.durations,
            loop=0,
            quality=QUALITY,
            method=6,
            minimize_size=True,
        )
        size = path.stat().st_size
        print(f"{path}: {len(self.frames)} frames, {sum(self.durations) / 1000:.0f} s, {size / 1e6:.2f} MB")
        if size > LIMIT:
            sys.exit(f"{path} is larger than {LIMIT / 1e6:.0f} MB")


def settled(page) -> None:
    """Wait until the Train page has its forecast, which comes last."""
    page.wait_for_timeout(1500)
    page.get_by_text("…", exact=True).first.wait_for(state="detached")
    page.wait_for_timeout(300)


def story(page, address: str, language: str) -> Film:
    film = Film(page, language)
    page.goto(f"{address}/train?task=text-generation")
    page.wait_for_selector(DONE, state="attached")
    settled(page)
    film.shoot(1200)

    def option(text: str):
        return page.get_by_role("radio", name=re.compile(re.escape(film.label(text)) + "$"))

    film.click(option("Image classification"))
    film.click(option("Handwritten digits"))
    film.click(option("Convolutional network"))
    settled(page)
    film.shoot(1500)

    start = page.get_by_role("button", name=film.label("Start training"))
    film.click(start, rest=50)
    page.wait_for_selector(PLOT, state="attached")
    ended = page.get_by_role("button", name=film.label("Try it"))
    film.scroll(245)
    while not ended.count():
        film.shoot(LAPSE)
        page.wait_for_timeout(350)
    page.wait_for_timeout(800)
    film.shoot(1800)
    film.scroll(-245)

    film.click(ended.first, rest=600)
    film.click(page.get_by_text(film.label("Draw"), exact=True), rest=500)
    film.draw(page.locator("canvas").first, THREE)
    page.wait_for_selector(PLOT, state="attached")
    page.wait_for_timeout(1500)
    film.shoot(3500)
    return film


def main(folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    for language, locale in LOCALES.items():
        with tempfile.TemporaryDirectory() as home, sync_playwright() as play, server(Path(home)) as address:
            browser = play.chromium.launch(executable_path=chromium(), args=list(FLAGS))
            page = browser.new_page(
                viewport={"width": SIZE[0], "height": SIZE[1]}, device_scale_factor=SCALE, locale=locale
            )
            page.set_default_timeout(120_000)
            film = story(page, address, language)
            browser.close()
        film.save(folder / f"training.{language}.webp")


if __name__ == "__main__":
    if not chromium():
        sys.exit("There is no Chromium: install it, or set BIGMODEL_CHROMIUM to its path.")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
