"""Pages for everybody: what axe-core finds, what the keyboard reaches, what a phone's screen keeps at hand."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import wait_for
from test_browser import MANY, Visit, address, browser, folder, screenshots, writer  # noqa: F401
from test_own_data import bring, reviews

from bigmodel.core import events
from bigmodel.data_checks.run_checks import CheckReport
from bigmodel.studio import Studio

PLACES = {
    "home": "/",
    "data": "/data",
    "pictures": "/data?dataset=digits",
    "pairs": "/data?dataset=en_zh",
    "own": "/data?dataset=r",
    "arrived": "/data?parcel={parcel}",
    "train": "/train?task=text-generation",
    "fine-tune": "/train?base=poet",
    "runs": "/runs",
    "run": "/runs?run={writer}",
    "try": "/try?model={writer}",
    "try-pictures": "/try?model=starter.clothes",
    "compare": "/try?model={writer}&beside=starter:poet",
    "models": "/models",
}
FOLDED = {  # what is opened before it is looked at
    "fine-tune": ".st-key-base-bring",
    "compare": ".st-key-try-differences",
    "own": "[data-testid=stMain]",
}
LOOKS = {  # every page in each language, size and colour scheme, and each pair of these
    "en": ((screenshots.DESK, "light"), (screenshots.PHONE, "dark")),
    "zh": ((screenshots.DESK, "dark"), (screenshots.PHONE, "light")),
}
SHORT = {"width": 390, "height": 420}  # what a keyboard on the screen leaves of a phone, where it takes from the page
STREAMLITS_OWN: dict[str, str] = {}  # rule of axe-core -> why it is not ours to mend


@pytest.fixture(scope="module")
def places(folder, writer):  # noqa: F811
    studio = Studio(folder)
    pictures = next(model.id for model in studio.models.all("image-classification") if model.starter)
    bring(studio, "r.csv", reviews(40, bad=2) + reviews(5)[13:])  # with rows that are there twice, and some set aside
    studio.checks.begin("r")
    wait_for(lambda: isinstance(studio.checks.state("r"), CheckReport))
    parcel = studio.imports.receive("other.csv", [reviews(20, bad=1)]).id
    studio.close()
    return {name: place.format(writer=writer, parcel=parcel) for name, place in PLACES.items()} | {
        "try-pictures": f"/try?model={pictures}"
    }


@pytest.fixture
def page(browser, address):  # noqa: F811
    one = Visit(browser, address)
    yield one.open()
    one.close()


def go(page, address, place):  # noqa: F811
    page.goto(address + place)
    page.wait_for_selector(screenshots.DONE)
    page.wait_for_timeout(300)


def spread(page, size):
    """As high as the page is: axe-core passes over what has to be scrolled to."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_timeout(300)
    length = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size[0], "height": length + 20})
    page.wait_for_timeout(300)


def grave(page):
    """(rule, element, how it looks) of all that is serious or critical."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        (one["id"], node["html"][:200], node["failureSummary"][:200])
        for one in found
        if one["impact"] in ("serious", "critical") and one["id"] not in STREAMLITS_OWN
        for node in one["nodes"]
    ]


def lasting(page, looks=20):
    """What is grave and still there a moment later: what is being drawn anew is faint."""
    for _look in range(looks):
        page.wait_for_selector(screenshots.DONE)
        found = grave(page)
        if not found:
            break
        page.wait_for_timeout(1500)
    return found


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", PLACES)
def test_axe_finds_nothing_grave(page, address, places, name, language):  # noqa: F811
    place = places[name]
    go(page, address, f"{place}{'&' if '?' in place else '?'}lang={language}")
    page.add_style_tag(content="* { transition: none !important }")  # a colour on its way to another is neither
    if name in FOLDED:
        for one in page.locator(f"{FOLDED[name]} summary").all():
            one.click()
    found = {}
    for size, scheme in LOOKS[language]:
        page.emulate_media(color_scheme=scheme)
        spread(page, size)
        found[size[0], scheme] = lasting(page)
    assert not any(found.values()), found


def test_axe_sees_what_is_wrong(page, address):  # noqa: F811
    """The check itself: a picture without words and a faint text are found."""
    go(page, address, "/models")
    page.evaluate(
        "document.querySelector('[data-testid=stMainBlockContainer]').insertAdjacentHTML('beforeend',"
        ' \'<img src="data:,"><p style="color:#aaa;background:#fff">faint</p>\')'
    )
    spread(page, screenshots.DESK)
    assert {rule for rule, *_ in grave(page)} == {"image-alt", "color-contrast"}


def tab_to(page, target, most=90):
    """Press Tab until the element has the focus; whether it then shows."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("target => document.activeElement.matches(target)", target):
            look = "() => { const look = getComputedStyle(document.activeElement);"
            return page.evaluate(f"{look} return [look.outlineStyle, look.boxShadow] }}") != ["none", "none"]
    raise AssertionError(f"{target} is not reached")


def test_the_keyboard_starts_and_stops_a_run(page, address, folder):  # noqa: F811
    go(page, address, "/train?task=image-classification&dataset=digits&architecture=cnn")
    page.get_by_role("spinbutton", name="Epochs").fill("5000")
    page.keyboard.press("Tab")
    page.wait_for_selector(screenshots.DONE)
    page.evaluate("document.activeElement.blur()")
    assert tab_to(page, ".st-key-train-start button"), "Start shows that it has the focus"
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs?*run=*")
    run = page.url.split("run=")[1].split("&")[0]
    wait_for(lambda: Studio(folder).runs.get(run).step)
    assert tab_to(page, ".st-key-run-stop button"), "Stop shows that it has the focus"
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert tab_to(page, ".st-key-confirm-stop button"), "the question shows where the focus is"
    page.keyboard.press("Enter")
    wait_for(lambda: Studio(folder).runs.get(run).state in events.ENDED)


@pytest.mark.parametrize("target", [".gallery button", "canvas", ".upload input"])
def test_our_own_widgets_show_their_focus(page, address, places, target):  # noqa: F811
    go(page, address, places["try-pictures"])
    if target == "canvas":
        page.get_by_text("Draw", exact=True).click()
    page.locator(target).first.wait_for(state="attached")
    page.keyboard.press("Tab")  # from now on the focus is the keyboard's
    page.locator(target).first.focus()
    shown = "element => getComputedStyle(element.closest('label') ?? element).outlineStyle"
    assert page.locator(target).first.evaluate(shown) != "none"


def test_a_charts_words_are_read_and_its_ticks_are_not(page, address, places):  # noqa: F811
    go(page, address, places["run"])
    chart = page.get_by_role("group", name="Loss over the course of training")
    chart.locator(".plot-container").wait_for(timeout=MANY)
    wait_for(lambda: chart.locator(".main-svg").count() == chart.locator(".main-svg[aria-hidden=true]").count() > 0)


# -- Start is at hand ---------------------------------------------------------------------------------
def box(page, target):
    found = page.locator(target).first.bounding_box()
    return found["y"], found["y"] + found["height"]


def inside(found, top, bottom):
    return top < found[0] and found[1] < bottom


def scroll(page, to):
    page.evaluate(f"document.querySelector('[data-testid=stMain]').scrollTo(0, {to})")
    page.wait_for_timeout(300)


@pytest.fixture
def phone(browser, address):  # noqa: F811
    one = Visit(browser, address, size=screenshots.PHONE)
    yield one.go("/train?task=text-generation&dataset=poetry_zh")
    one.close()


def test_start_is_seen_at_a_desk_without_scrolling(page, address):  # noqa: F811
    page.set_viewport_size({"width": 1280, "height": 800})
    for task in ("text-generation", "translation", "image-classification"):
        go(page, address, f"/train?task={task}")
        wait_for(lambda: inside(box(page, ".st-key-train-start button"), 0, 800))  # once all is drawn
        assert page.locator(".st-key-train-line").is_hidden()


def test_start_stays_at_hand_on_a_phone_and_covers_nothing(phone):
    height = screenshots.PHONE[1]
    for place in (0, 700, 10**6):
        scroll(phone, place)
        wait_for(lambda: inside(box(phone, ".st-key-train-start button"), height - 90, height + 1))
    assert box(phone, "[data-testid=stExpander]:last-of-type")[1] < box(phone, ".st-key-train-bar")[0]
    last = phone.get_by_text("The same on the command line").bounding_box()
    assert last["y"] + last["height"] < box(phone, ".st-key-train-bar")[0], "the last row stands above it"


def test_the_bar_says_what_the_run_will_take(phone):
    line = phone.locator(".st-key-train-line")
    line.get_by_text("parameters").wait_for(timeout=MANY)
    time, memory, parameters = line.inner_text().split(" · ")
    assert time[0].isdigit() and memory.endswith("B") and parameters.endswith("parameters")


def _above(bounds, bar):
    return bounds["y"] + bounds["height"] <= bar[0]


def test_a_field_with_the_focus_is_above_the_bar(phone):
    scroll(phone, 0)
    for field in phone.locator("[data-testid=stMain] input[type=number], [data-testid=stMain] input[type=text]").all():
        if field.is_visible():
            field.focus()
            wait_for(lambda field=field: _above(field.bounding_box(), box(phone, ".st-key-train-bar")))  # it scrolls


def test_the_bar_gives_way_to_a_keyboard_that_takes_from_the_page(phone):
    phone.set_viewport_size(SHORT)
    assert phone.locator(".st-key-train-bar").evaluate("element => getComputedStyle(element).position") != "fixed"
    phone.locator(".st-key-train-line").wait_for(state="hidden", timeout=MANY)  # the page may be drawing


def test_the_menu_stands_above_the_bar(phone):
    phone.get_by_test_id("stExpandSidebarButton").click()
    phone.get_by_role("link", name="Models").wait_for()
    at = "document.elementFromPoint(20, innerHeight - 30).closest('[data-testid=stSidebar]') !== null"
    wait_for(lambda: phone.evaluate(at))  # it slides in


def test_an_answer_comes_into_view_on_a_phone(browser, address, writer):  # noqa: F811
    one = Visit(browser, address, size=screenshots.PHONE)
    page = one.go(f"/try?model={writer}")
    page.locator('[class*="example-0"] button').first.click()
    page.locator(".prose .text:not(:empty)").first.wait_for()
    wait_for(lambda: 0 < box(page, ".st-key-try-answer")[0] < screenshots.PHONE[1] / 2)
    one.close()


def test_the_bars_colours_are_the_themes():
    """A style sheet of the page cannot ask for the theme's colours."""
    import tomllib

    theme = tomllib.loads((screenshots.ROOT / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
    css = (screenshots.ROOT / "bigmodel" / "ui" / "style.css").read_text("utf-8")
    for name in ("backgroundColor", "borderColor"):
        assert f"light-dark({theme['light'][name]}, {theme['dark'][name]})".lower() in css
