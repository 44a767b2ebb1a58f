"""The whole story in a real browser: choose, train, watch, close the tab, come back, try, switch the language.

Needs Chromium: BIGMODEL_CHROMIUM, or `chromium` on the PATH. Pictures are left in artefacts/.
"""

import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import pytest
from conftest import HANG, digits, wait_for

from bigmodel.core import events
from bigmodel.studio import Studio

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import screenshots  # noqa: E402

ARTEFACTS = ROOT / "artefacts"
PAGES = {
    "": "Train a model of your own, and see how it learns",
    "data": "Data",
    "train": "Train",
    "tune": "Tune",
    "runs": "Runs",
    "try": "Try it",
    "models": "Models",
}
HOSTILE = "<img src=x onerror=window.hit=1>**bold** $x$"
PLOT = ".live-plot .plot-container"
MANY = 1000 * HANG  # milliseconds

if screenshots.chromium() is None:
    if os.environ.get("CI"):
        raise RuntimeError("CI needs Chromium: install it, or set BIGMODEL_CHROMIUM to its path")
    warnings.warn(
        "NO BROWSER: the pages were not tried in Chromium. Install chromium or set BIGMODEL_CHROMIUM.", stacklevel=1
    )
    pytest.skip("there is no Chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def writer(folder):
    """A tiny model that writes text."""
    return screenshots.train(
        folder, "text-generation", "lstm", "prose_zh", max_steps=2, eval_every=2, batch_size=8, tokenizer="characters"
    )


@pytest.fixture(scope="module")
def address(folder, writer):
    with screenshots.server(folder, BIGMODEL_PREFETCH="0") as address:
        yield address
        stop_all(folder)


@pytest.fixture(autouse=True)
def device_is_free_again(folder, address):
    """The next test's run would wait for ever behind one that nobody stops."""
    yield
    stop_all(folder)


def stop_all(folder):
    studio = Studio(folder)
    for run in studio.runs.all(states=(*events.LIVE, events.QUEUED)):
        studio.runs.stop(run.id)
        wait_for(lambda run=run: studio.runs.get(run.id).state in events.ENDED)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=screenshots.chromium(), args=list(screenshots.FLAGS))
        yield chromium
        chromium.close()


class Visit:
    """A person with a browser window; notes what leaves the machine and what goes wrong in the page."""

    def __init__(self, browser, address, size=screenshots.DESK, locale="en-US"):
        self.address, self.abroad, self.errors = address, [], []
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, locale=locale, has_touch=size == screenshots.PHONE
        )
        self.context.set_default_timeout(MANY)
        self.context.on("request", self._request)
        self.open()

    def _request(self, request):
        if not request.url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:")):
            self.abroad.append(request.url)

    def open(self, place=None):
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        if place is not None:
            self.go(place)
        return self.page

    def go(self, place):
        self.page.goto(self.address + place)
        self.idle()
        return self.page

    def idle(self):
        self.page.wait_for_selector(screenshots.DONE)

    def picture(self, name):
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(ARTEFACTS / f"{name}.png"))

    def close(self):
        self.context.close()
        assert self.abroad == [], "nothing is loaded from elsewhere"
        assert self.errors == []


@pytest.fixture
def visit(browser, address):
    one = Visit(browser, address)
    yield one
    one.close()


def curve(page):
    """(points of the training curve, the part of the x axis that is shown)."""
    return page.evaluate(
        "() => { const plot = document.querySelector('.live-plot'); const line = plot.data.findLast(one => one.showlegend !== false);"
        " return [Math.max(...plot.data.map(one => one.x.length)), plot.layout.xaxis.range] }"
    )


def zoom(page):
    """Drag over the first chart. True where it shows a part now: what appears above may move it away under the pointer."""
    box = page.locator(".live-plot").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7, steps=5)
    page.mouse.up()
    return page.evaluate("document.querySelector('.live-plot').layout.xaxis.range[0] > 0")


def test_the_whole_story(visit, folder):
    page = visit.go("/")
    visit.picture("story-1-home")

    # choose: one click leads to a form that is filled in
    page.locator('[class*="st-key-home-train-image-classification"] button').click()
    page.wait_for_url("**/train?*")
    visit.idle()
    page.get_by_role("spinbutton", name="Epochs").fill("400")
    page.get_by_role("textbox", name="Name of the run").fill(HOSTILE)
    page.keyboard.press("Tab")
    visit.idle()
    visit.picture("story-2-train")

    # start: a double click is one run
    page.get_by_role("button", name="Start training").dblclick()
    page.wait_for_url("**/runs?*run=*")
    page.wait_for_selector(PLOT)
    run = re.search(r"run=([^&]+)", page.url).group(1)
    assert [one.id for one in Studio(folder).runs.all(states=(*events.LIVE, events.QUEUED))] == [run]
    assert page.get_by_role("heading", name=HOSTILE).count() == 1, "a name is shown as it is"
    assert page.evaluate("window.hit") is None

    # watch: the curve grows, the zoom stays, the chart is never built anew
    wait_for(lambda: Studio(folder).runs.get(run).best_step and curve(page)[0] > 5)
    mark = "document.querySelector('.live-plot .main-svg').dataset.mark"
    wait_for(lambda: page.evaluate(f"{mark} = 'the same'") and zoom(page) and page.evaluate(mark))
    points, zoomed = curve(page)
    wait_for(lambda: curve(page)[0] > points + 5)
    assert curve(page)[1] == zoomed
    assert page.evaluate(mark) == "the same"
    visit.picture("story-3-watch")
    page.get_by_text("Samples", exact=True).click()
    page.get_by_role("img", name="The picture that was asked about").first.wait_for()
    visit.picture("story-4-samples")

    # close the tab: training goes on; come back by the address
    address = page.url.removeprefix(visit.address)
    before = Studio(folder).runs.get(run).step
    page.close()
    wait_for(lambda: Studio(folder).runs.get(run).step > before)
    page = visit.open(address)
    page.wait_for_selector(PLOT)
    assert curve(page)[0] > points, "the whole curve is there again"

    # stop keeps the weights; try them
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop this run").click()
    page.get_by_role("button", name="Try it").click()
    page.wait_for_url("**/try?*")
    page.locator(".gallery button").first.click()
    page.wait_for_selector(PLOT)
    visit.picture("story-5-try")
    assert page.get_by_role("group", name=re.compile("^Probabilities: ")).count() == 1

    # the other language: at once, in the address, for screen readers
    page.get_by_text("中文", exact=True).click()
    page.get_by_role("heading", name="试用").wait_for()
    wait_for(lambda: "lang=zh" in page.url)
    wait_for(lambda: page.evaluate("document.documentElement.lang") == "zh-CN")
    visit.picture("story-6-chinese")
    page.get_by_role("link", name="模型").click()
    page.get_by_role("heading", name="在这里训练的").wait_for()
    assert "lang=zh" in page.url


def test_a_drawing_is_recognised_stroke_by_stroke(visit, folder):
    run = next(run.id for run in Studio(folder).runs.all() if run.has_model and run.spec.dataset == "digits")
    page = visit.go(f"/try?model={run}")
    page.get_by_text("Draw", exact=True).click()
    board = page.locator("canvas").first
    board.wait_for()
    box = board.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.15)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.85, steps=10)
    page.mouse.up()
    page.wait_for_selector(PLOT)
    visit.picture("draw")
    assert page.get_by_role("group", name=re.compile("^Probabilities: ")).count() == 1


def test_an_uploaded_picture_is_asked_about_and_a_broken_one_refused(visit, folder, tmp_path):
    studio = Studio(folder)
    run = next(run.id for run in studio.runs.all() if run.has_model and run.spec.dataset == "digits")
    good, broken = tmp_path / "good.png", tmp_path / "broken.png"
    good.write_bytes(studio.data.peek("digits", "test", 0, 1)[0]["image"])
    broken.write_bytes(b"\x89PNG not a picture")
    page = visit.go(f"/try?model={run}")
    page.locator("input[type=file]").set_input_files(str(broken))
    page.get_by_text("This file is not a picture that can be read").first.wait_for()
    page.locator("input[type=file]").set_input_files(str(good))
    page.wait_for_selector(PLOT)
    assert page.get_by_text("This file is not a picture that can be read").count() == 0


def test_stopping_keeps_the_text_and_so_does_another_page(visit, writer):
    page = visit.go(f"/try?model={writer}")
    page.get_by_role("spinbutton", name="Length").fill("2000")
    page.keyboard.press("Tab")
    visit.idle()
    page.get_by_role("button", name="Ask the model").click()
    text = page.locator(".prose .text").first
    wait_for(lambda: text.count() and len(text.inner_text()) > 20)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("Stopped; this is what was there.").wait_for()
    kept = text.inner_text()
    assert len(kept) > 20
    visit.picture("stopped")
    page.get_by_role("link", name="Models").click()
    page.get_by_role("heading", name="Trained here").wait_for()
    page.get_by_role("link", name="Try it").first.click()
    page.get_by_text("Stopped; this is what was there.").wait_for()
    assert page.locator(".prose .text").first.inner_text() == kept


@pytest.mark.parametrize("place", ["", "train", "try"])  # each needs a server of its own
def test_a_cold_deep_link_finds_its_page(browser, tmp_path, place):
    """The very first visit of a server: before anybody has opened its front page."""
    with screenshots.server(tmp_path, BIGMODEL_PREFETCH="0") as address:
        one = Visit(browser, address)
        page = one.go(f"/{place}")
        page.get_by_role("heading", name=PAGES[place], exact=True).wait_for()
        assert page.get_by_role("link", name="Models").count() >= 1, "the frame is there"
        one.picture(f"cold-{place or 'home'}")
        one.close()


@pytest.mark.parametrize("place", PAGES)
def test_a_phone_shows_every_page_without_scrolling_sideways(browser, address, place):
    one = Visit(browser, address, size=screenshots.PHONE, locale="zh-CN")
    page = one.go(f"/{place}")
    page.wait_for_timeout(500)
    wide = page.evaluate(
        "() => { const main = document.querySelector('[data-testid=stMain]'); return main.scrollWidth - main.clientWidth }"
    )
    one.picture(f"phone-{place or 'home'}")
    one.close()
    assert wide <= 1


def test_a_phones_menu_closes_behind_the_person(browser, address):
    one = Visit(browser, address, size=screenshots.PHONE)
    page = one.go("/")
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_role("link", name="Models").click()
    page.get_by_role("heading", name="Trained here").wait_for()
    wait_for(lambda: page.locator("[data-testid=stSidebar][aria-expanded=true]").count() == 0)
    one.close()


def test_the_keyboard_reaches_and_starts_the_language_switch(visit):
    page = visit.go("/models")
    page.get_by_role("radio", name="中文").or_(page.get_by_role("button", name="中文")).first.focus()
    page.keyboard.press("Space")
    page.get_by_role("heading", name="模型", exact=True).wait_for()


FRIENDLY = {"en": "This page met an error of its own", "zh": "页面自身出错了"}


FAULTS = """
from bigmodel.ui.models import facts
from bigmodel.ui.runs import monitor

facts.selectable_models = monitor.settings = lambda *_: 1 + "one"
app = st.App("""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, folder, writer):
    """The app's home and address, with an error of its own on the page of models and among a run's settings."""
    home = tmp_path_factory.mktemp("faulty")
    shutil.copytree(folder / "runs" / writer, home / "runs" / writer)
    program = (ROOT / "app.py").read_text("utf-8").replace("Path(__file__).resolve().parent", f"Path({str(ROOT)!r})")
    (home / "app.py").write_text(program.replace("\napp = st.App(", FAULTS), "utf-8")
    with screenshots.server(home, home / "app.py", BIGMODEL_PREFETCH="0") as address:
        yield home, address


@pytest.mark.parametrize("language", FRIENDLY)
def test_an_unforeseen_error_is_friendly_and_its_number_leads_to_the_log(browser, faulty, language):
    home, address = faulty
    one = Visit(browser, address)
    page = one.go(f"/models?lang={language}")
    page.get_by_text(FRIENDLY[language]).wait_for()
    number = re.search(r"\b[0-9a-f]{8}\b", page.get_by_test_id("stAlert").inner_text())[0]
    text = page.locator("body").inner_text()
    one.picture(f"trouble-{language}")
    assert not re.search(r"Traceback|TypeError|\.py\b|File \"", text), text
    log = (home / "server.log").read_text("utf-8")
    assert re.search(rf"trouble {number}\nTraceback.*?\nTypeError: ", log, re.DOTALL), "the mark, then the cause"
    assert page.get_by_role("link").count() > 3, "the way to the other pages is there"
    one.close()


def test_an_unforeseen_error_while_watching_is_friendly_too(browser, faulty, writer):
    """The part of the page that is looked at each second has its own way to fail."""
    one = Visit(browser, faulty[1])
    page = one.go(f"/runs?run={writer}")
    page.get_by_text("Settings", exact=True).click()
    page.get_by_text(FRIENDLY["en"]).wait_for()
    assert "Traceback" not in page.locator("body").inner_text()
    page.get_by_role("link", name="Data").click()
    page.get_by_role("heading", name="Data", exact=True).wait_for()
    one.close()


def test_a_stopped_run_is_resumed_and_a_double_click_branches_off_once(visit, folder):
    studio = Studio(folder)
    run = studio.runs.launch(digits(epochs=10_000, max_steps=0, eval_every=20))
    page = visit.go(f"/runs?run={run}")
    wait_for(lambda: studio.runs.get(run).best_step)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop this run").click()
    resume = page.get_by_role("button", name="Resume from step")
    resume.wait_for()
    before = studio.runs.checkpoints(run)[0].step

    resume.dblclick()
    page.get_by_text(re.compile(r"^Step [\d,]+ of [\d,]+")).wait_for()
    wait_for(lambda: studio.runs.get(run).step > before + 20)
    told = [event["state"] for event in studio.runs.events(run, kinds=("state",))[1]]
    assert told.count(events.QUEUED) == 2 and told.count(events.RUNNING) == 2

    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop this run").click()
    page.get_by_role("button", name="Branch off").click()
    page.get_by_role("dialog").get_by_role("spinbutton", name="Epochs").fill("9000")
    page.keyboard.press("Tab")
    visit.idle()
    page.get_by_role("button", name="Start the branch").dblclick()
    page.get_by_role("link", name=f"Branched from {run} at step").wait_for()
    (child,) = (one for one in studio.runs.all() if one.spec.parent)
    assert f"run={child.id}" in page.url and child.spec.settings["epochs"] == 9000
    visit.picture("branch")
    page.get_by_role("link", name=f"Branched from {run} at step").click()
    page.get_by_role("link", name="Branch at step").wait_for()


def test_a_pretrained_model_is_fine_tuned_and_answers_beside_what_it_was(visit):
    page = visit.go("/models")
    page.locator('[class*="st-key-tune-starter-poet"] button').click()
    page.wait_for_url("**/train?*architecture=pretrained*")
    page.get_by_text("Chinese prose", exact=True).click()
    page.wait_for_url("**dataset=prose_zh**")
    page.get_by_text("Poems of the Tang").wait_for(state="detached")
    visit.idle()
    page.get_by_text("Advanced training settings").click()
    page.get_by_role("spinbutton", name="Stop after steps").fill("2")
    page.keyboard.press("Tab")
    page.get_by_text("The same on the command line").click()
    page.get_by_text("max_steps=2").wait_for()  # the server has heard of it
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/runs?*run=*")
    page.get_by_role("button", name="Try it").click()
    page.wait_for_url("**/try?*")
    page.locator('[class*="example-0"] button').first.click()
    page.locator(".prose .text:not(:empty)").nth(1).wait_for()
    told = page.get_by_text(re.compile(r"^Loss [\d.]+ on held-out rows$")).all_inner_texts()
    assert len(set(told)) == 2, "what each was measured by"
    visit.picture("beside")
    left, right = (page.locator(".prose").nth(number).bounding_box() for number in range(2))
    assert left["x"] + left["width"] <= right["x"] and abs(left["y"] - right["y"]) < 40, "beside each other"
    page.set_viewport_size({"width": screenshots.PHONE[0], "height": screenshots.PHONE[1]})
    wait_for(
        lambda: page.locator(".prose").nth(1).bounding_box()["x"] == page.locator(".prose").first.bounding_box()["x"]
    )


def test_two_windows_see_the_same_run(browser, address, folder):
    run = Studio(folder).runs.launch(digits(epochs=10_000, max_steps=0, eval_every=20))
    one, two = Visit(browser, address), Visit(browser, address, locale="zh-CN")
    for visit in (one, two):
        visit.go(f"/runs?run={run}").wait_for_selector(PLOT)
    begun = [curve(visit.page)[0] for visit in (one, two)]
    wait_for(lambda: all(curve(visit.page)[0] > points for visit, points in zip((one, two), begun, strict=True)))
    stop_all(folder)  # while it goes, each looks at its own moment
    wait_for(lambda: curve(one.page)[0] == curve(two.page)[0])
    one.close()
    two.close()
