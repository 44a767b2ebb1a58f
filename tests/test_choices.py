"""What a person has chosen stays chosen: among things called alike, in another language, on a slow line."""

import sys
from pathlib import Path

import pytest
from conftest import HANG, digits, endless, wait_for
from test_own_data import reviews

from bigmodel.studio import Studio
from bigmodel.ui.stable_selectbox import disambiguate

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import screenshots

HOLDING = 2500  # milliseconds for which nothing comes through; the sidebar looks every two seconds


def test_only_what_is_called_alike_gets_more():
    assert disambiguate({"a": "mine", "b": "yours", "c": "mine"}) == {"a": "mine · a", "b": "yours", "c": "mine · c"}


def bring(desk, name, rows):
    parcel = desk.imports.receive(name, [reviews(rows)])
    return desk.imports.begin(parcel.id, desk.imports.preview(parcel.id).plan, wait=True).name


class Line:
    """What goes between the page and the server; `hold()` keeps what the server says for a while."""

    def __init__(self, page):
        self.page, self.kept, self.holding, self.way = page, [], False, None
        page.route_web_socket("**/_stcore/stream", self._open)

    def _open(self, way):
        self.way, server = way, way.connect_to_server()
        server.on_message(lambda message: self.kept.append(message) if self.holding else way.send(message))
        way.on_message(server.send)

    def hold(self):
        self.holding = True
        self.page.wait_for_timeout(HOLDING)
        while self.kept:
            self.way.send(self.kept.pop(0))
        self.holding = False


@pytest.fixture
def page(tmp_path):
    """(an open page, its server's address, the desk of its home)"""
    from playwright.sync_api import sync_playwright

    with screenshots.server(tmp_path, BIGMODEL_PREFETCH="0") as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=screenshots.chromium(), args=list(screenshots.FLAGS))
        page = browser.new_page(locale="en-US")
        page.set_default_timeout(1000 * HANG)
        yield page, address, Studio(tmp_path)
        browser.close()


@pytest.mark.skipif(screenshots.chromium() is None, reason="there is no Chromium")
def test_the_data_set_that_was_asked_for_on_a_slow_line(page):
    page, address, desk = page
    line = Line(page)
    named = [bring(desk, "mine.csv", 60), bring(desk, "mine.csv", 80)]
    assert {one.title for one in list(desk.data.registry.values())} == {"mine"}
    run = desk.runs.launch(endless())  # while something goes on the sidebar looks often
    wait_for(lambda: desk.runs.get(run).step)
    for name in named:
        page.goto(f"{address}/data?dataset={name}")
        button = page.get_by_role("button", name="Train with this data")
        button.wait_for()
        page.wait_for_timeout(500)
        button.click()
        line.hold()
        page.wait_for_url(f"**/train**dataset={name.replace('@', '%40')}**")
        page.get_by_text("Measuring a few steps").first.wait_for(state="detached")  # and the page drawn anew
        slug, _at, _hash = name.partition("@")
        radio = page.get_by_role("radio", name=f"mine · {slug}, version 1")
        wait_for(lambda radio=radio: radio.get_attribute("aria-checked") == "true")
        assert name.replace("@", "%40") in page.url


@pytest.mark.skipif(screenshots.chromium() is None, reason="there is no Chromium")
def test_another_language_changes_no_choice(page):
    page, address, desk = page
    first, _second = (desk.runs.launch(digits(name)) for name in ("first", "second"))
    page.goto(f"{address}/train?task=text-generation&dataset=poetry_zh&architecture=gpt")
    page.get_by_text("Advanced training settings").click()
    page.get_by_role("combobox", name="Optimizer").click()
    page.get_by_role("option", name="SGD").click()
    page.get_by_role("radio", name="中文").click()
    page.get_by_text("高级训练设置").click()
    optimizer = page.get_by_role("combobox", name="优化器")
    for epochs in ("3", "4"):
        page.wait_for_timeout(500)
        assert optimizer.input_value().startswith("SGD")
        number = page.locator("input[type=number]").first
        number.fill(epochs)
        number.press("Enter")
    page.wait_for_timeout(500)
    assert optimizer.input_value().startswith("SGD")

    wait_for(lambda: [run.state for run in desk.runs.all()] == ["finished"] * 2)
    page.goto(f"{address}/try?model={first}")
    page.get_by_role("radio", name="中文").click()
    for way in ("手绘", "上传", "手绘"):
        page.wait_for_timeout(500)
        assert first in page.url and page.get_by_role("combobox", name="模型").first.input_value().startswith(
            "first · "
        )
        page.get_by_role("radio", name=way).click()
