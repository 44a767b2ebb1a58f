"""Bringing data by the pages: what was found, corrected and taken in; and the route that takes files, in a real browser."""

import json
import random
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import HANG, wait_for
from test_own_data import WORDS, reviews
from test_pages import leave, said, visit

from bigmodel.core import catalog
from bigmodel.data_checks.run_checks import CheckReport
from bigmodel.studio import Studio
from bigmodel.ui import state
from tests.corpus import bad_files

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import screenshots


@pytest.fixture
def desk(home):
    yield state.studio()
    leave()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "name", ["whole.csv", "whole.json", "whole.txt", "whole.po", "whole.tmx", "whole.parquet", "whole.zip"]
)
def test_what_was_found_is_shown_for_every_kind_of_file(desk, name, language):
    parcel = desk.imports.receive(name, [bad_files.WHOLE[name]()])
    app = visit("data", language, parcel=parcel.id)
    assert not app.exception and not app.error, app.error
    assert app.title[0].value == name.replace(".", "\\.")
    assert any({"en": "What was found", "zh": "识别结果"}[language] in text for text in said(app))


@pytest.mark.parametrize("name", ["empty.zip", "pdf.csv", "bomb.zip", "cut.parquet"])
def test_a_file_that_cannot_be_read_says_why_on_the_page(desk, name):
    parcel = desk.imports.receive(name, [bad_files.broken()[name]])
    app = visit("data", "zh", parcel=parcel.id)
    assert not app.exception and len(app.error) == 1


def test_a_column_is_chosen_and_the_rows_are_taken_in(desk):
    parcel = desk.imports.receive("r.csv", [reviews(40, bad=1)])
    app = visit("data", parcel=parcel.id)
    suits = next(one for one in app.selectbox if one.label == "The rows are")
    suits.set_value(("text",)).run()
    next(one for one in app.button if one.label == "Take it in").click().run()
    wait_for(lambda: list(desk.data.registry.values()))
    (dataset,) = list(desk.data.registry.values())
    assert set(dataset.columns) == {"text"} and dataset.version.manifest["aside"] == 1


def test_the_column_of_parts_is_dropped_on_the_page(desk):
    lines = reviews(40).decode().splitlines()
    rows = [f"{line},{'test' if n % 2 else 'train'}" for n, line in enumerate(lines[1:])]
    parcel = desk.imports.receive("r.csv", ["\n".join([f"{lines[0]},set", *rows, ""]).encode()])
    app = visit("data", parcel=parcel.id)
    parts = next(one for one in app.selectbox if one.label == "Parts")
    assert parts.value == "set"
    parts.set_value("").run()
    next(one for one in app.button if one.label == "Take it in").click().run()
    wait_for(lambda: list(desk.data.registry.values()))
    assert next(iter(desk.data.registry.values())).version.manifest["rows"]["train"] > 30


def test_parts_of_a_data_set_of_the_hub_are_offered_with_their_rows(desk):
    app = visit("data")
    app.session_state["bring.way"] = "hub"
    app.session_state["bring.hub.about"] = {
        "id": "me/reviews", "revision": "0" * 40, "card": "# Reviews <b>", "configs": {"default": {"train": 1200, "test": 0}},
    }  # fmt: skip
    app.run()
    assert not app.exception and app.multiselect[0].options == ["train (1,200)", "test"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_own_data_set_shows_its_rows_what_was_set_aside_and_its_versions(desk, language):
    parcel = desk.imports.receive("r.csv", [reviews(40, bad=1)])
    job = desk.imports.begin(parcel.id, desk.imports.preview(parcel.id).plan, wait=True)
    name = desk.versions.derive(job.name, [{"drop": [2]}])
    for one in (name, job.name):
        app = visit("data", language, dataset=one)
        assert not app.exception and not app.error
    app = visit("train", language, dataset=job.name)  # an older version, too
    assert not app.exception and app.query_params["dataset"] in (job.name, [job.name])


def test_a_remedy_leads_to_a_version_that_says_what_it_was_made_of(desk):
    parcel = desk.imports.receive("r.csv", [reviews(40) + reviews(40)[13:73]])  # a row or two once more
    job = desk.imports.begin(parcel.id, desk.imports.preview(parcel.id).plan, wait=True)
    desk.checks.begin(job.name)
    wait_for(lambda: isinstance(desk.checks.state(job.name), CheckReport))
    app = visit("data", dataset=job.name)
    next(one for one in app.button if "Keep one of each" in one.label).click().run()
    wait_for(lambda: desk.versions.jobs.get(job.name).name)
    new = catalog.dataset(desk.versions.jobs.get(job.name).name)
    fewer = sum(catalog.dataset(job.name).version.manifest["rows"].values()) - sum(
        new.version.manifest["rows"].values()
    )
    app = visit("data", dataset=new.name)
    assert fewer and any(f"{fewer} rows fewer" in text.replace("\\", "") for text in said(app))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_title_and_licence_are_put_right_on_the_page(desk, language):
    parcel = desk.imports.receive("r.csv", [reviews(40, bad=1)])
    job = desk.imports.begin(parcel.id, desk.imports.preview(parcel.id).plan, wait=True)
    app = visit("data", language, dataset=job.name)
    licence = next(one for one in app.text_input if one.label in ("Licence", "许可证"))
    licence.set_value("CC-BY-4.0")
    next(one for one in app.button if one.proto.form_id.startswith("own.")).click().run()
    wait_for(lambda: desk.versions.jobs.get(job.name).name)
    assert catalog.dataset(desk.versions.jobs.get(job.name).name).facts.licence == "CC-BY-4.0"


def test_a_parcel_that_is_gone_is_said(desk):
    app = visit("data", parcel="0" * 16)
    assert not app.exception and len(app.error) == 1


# -- in a browser ----------------------------------------------------------------------------------------
def questions(rows=60):
    """JSON lines in which no column is called what it is: a person has to say which is the class."""
    chance = random.Random(3)
    return (
        "".join(
            json.dumps({"a": " ".join(chance.choices(WORDS, k=8)), "b": chance.choice("xy"), "c": chance.choice("pqr")})
            + "\n"
            for _ in range(rows)
        )
        + "{broken\n"
    )


FILES = {  # name -> (content, the task it leads to)
    "mine.csv": (lambda: reviews(), "text-classification"),
    "mine.jsonl": (lambda: questions().encode(), "text-classification"),
    "pets.zip": (
        lambda: bad_files.archive({f"{'cats' if n % 2 else 'dogs'}/{n}.png": bad_files.picture(n) for n in range(40)}),
        "image-classification",
    ),
    "mine.tmx": (lambda: bad_files.tmx([(f"Open file {n}", f"打开第 {n} 个文件") for n in range(40)]), "translation"),
}


@pytest.mark.skipif(screenshots.chromium() is None, reason="there is no Chromium")
def test_every_kind_of_file_leads_by_its_buttons_to_a_training(home, tmp_path):
    from playwright.sync_api import sync_playwright

    with screenshots.server(home, BIGMODEL_PREFETCH="0") as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=screenshots.chromium(), args=list(screenshots.FLAGS))
        page = browser.new_page(locale="en-US")
        page.set_default_timeout(1000 * HANG)
        ready = []
        for name, (content, task) in FILES.items():
            (tmp_path / name).write_bytes(content())
            page.goto(f"{address}/data")
            page.locator("input[type=file]").set_input_files(str(tmp_path / name))
            page.wait_for_url("**parcel=**")
            if name == "mine.jsonl":  # another column is the class than the one that was found
                page.get_by_role("combobox", name="Class").click()
                page.get_by_role("option", name="c  ·").click()
                page.get_by_text("Class").first.wait_for()
            page.get_by_role("button", name="Take it in").click()
            page.wait_for_url("**dataset=**")
            if name == "mine.jsonl":
                page.get_by_text("1 of 61 rows could not be taken in").wait_for()
            if name == "pets.zip":
                page.get_by_text("checks of").first.wait_for()  # they began by themselves
            page.get_by_role("button", name="Train with this data").click()
            page.wait_for_url(f"**/train**task={task}**")
            page.get_by_text(f"rows from {name}").first.wait_for()
            ready.append(page.url)
        for address_of_training in ready:
            page.goto(address_of_training)
            epochs = page.get_by_role("spinbutton", name="Epochs", exact=True)
            epochs.fill("1")
            epochs.press("Enter")
            page.get_by_text("The same on the command line").click()
            page.get_by_text(re.compile(r"epochs=1\b")).wait_for()  # the server has heard of it
            page.get_by_role("button", name="Start training").click()
            page.wait_for_url("**/runs**run=**")
        wait_for(lambda: [run.state for run in Studio(home).runs.all()] == ["finished"] * len(FILES))
        browser.close()
        _refused_from_elsewhere(address)
    assert all(run.has_model and run.result for run in Studio(home).runs.all())
    mine = next(one for one in list(Studio(home).data.registry.values()) if one.title == "mine" and "label" in one.columns
                and one.version.manifest["source"]["name"] == "mine.jsonl")  # fmt: skip
    assert mine.columns["label"].names == ("p", "q", "r")


@pytest.mark.skipif(screenshots.chromium() is None, reason="there is no Chromium")
def test_a_file_on_its_way_is_stopped_and_nothing_of_it_is_kept(home, tmp_path):
    from playwright.sync_api import sync_playwright

    (tmp_path / "large.csv").write_bytes(reviews() * 2000)
    (tmp_path / "mine.csv").write_bytes(reviews())
    with screenshots.server(home, BIGMODEL_PREFETCH="0") as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=screenshots.chromium(), args=list(screenshots.FLAGS))
        page = browser.new_page(locale="en-US")
        page.goto(f"{address}/data")
        field, incoming = page.locator("input[type=file]"), lambda: list((home / "incoming" / "parcels").glob("*/file"))
        field.wait_for(state="attached")
        line = page.context.new_cdp_session(page)
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
        line.send("Network.emulateNetworkConditions", slow)
        field.set_input_files(str(tmp_path / "large.csv"))
        wait_for(incoming)
        page.get_by_role("button", name="Cancel").click()
        page.get_by_text("Sending was stopped; nothing was kept.").wait_for()
        wait_for(lambda: not incoming())
        line.send("Network.emulateNetworkConditions", slow | {"uploadThroughput": -1})
        field.set_input_files(str(tmp_path / "mine.csv"))
        page.wait_for_url("**parcel=**")
        browser.close()


def _refused_from_elsewhere(address):
    """A page of another site can neither send the header nor pretend to be from here."""
    evil = {"x-bigmodel": "file", "Origin": "http://evil.example"}
    for headers in ({}, evil, evil | {"Host": "evil.example"}):
        request = urllib.request.Request(f"{address}/receive?name=a.csv", b"text\na\n", headers, method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=HANG)
        assert refused.value.code == 403
