"""The list of runs as a table: filtered, sorted, chosen to be compared; tags and notes in a run's folder."""

import pytest
from conftest import digits
from test_compare import answers, write_run
from test_pages import leave, said, visit

from bigmodel.core.errors import Refusal
from bigmodel.runs.run_annotations import FILE, Annotations
from bigmodel.studio import Studio
from bigmodel.ui.runs.run_filter import matches


def test_tags_and_a_note_lie_in_the_runs_folder_and_not_in_its_spec(home):
    runs = Studio(home).runs
    id = runs.launch(digits())
    before = runs.get(id).spec.fingerprint()
    runs.annotate(id, ["good", " good ", "第一次", ""], "lower rate\nnext time")
    assert Studio(home).runs.annotations(id) == Annotations(("good", "第一次"), "lower rate\nnext time")
    assert runs.get(id).spec.fingerprint() == before


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"\xff\xfe", b"[]", b'{"tags": "good", "note": ""}', b'{"tags": [1], "note": 2}']
)
def test_garbage_beside_a_run_is_no_note(home, garbage):
    runs = Studio(home).runs
    id = runs.launch(digits())
    (home / "runs" / id / FILE).write_bytes(garbage)
    app = visit("runs", run=id)
    leave()
    assert runs.annotations(id) == Annotations() and not app.exception and not app.error


def test_tags_that_cannot_be_shown_are_refused_with_the_tag(home):
    runs = Studio(home).runs
    id = runs.launch(digits())
    with pytest.raises(Refusal, match="This tag will not do: xxxx"):
        runs.annotate(id, ["x" * 41], "")
    with pytest.raises(Refusal, match="21 tags"):
        runs.annotate(id, map(str, range(21)), "")
    with pytest.raises(Refusal, match="too long"):
        runs.annotate(id, [], "x" * 10_001)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", True), ("digits", True), ("手写", True), ("accuracy>40%", True), ("accuracy>0.6", False), ("channels=8", True),
        ("channels=8 seed=3", True), ("channels=8 seed=4", False), ("tag=good", True), ("tag!=good", False),
        ("state=finished", True), ("bleu>3", False), ("optimizer=adam", False), ("nothing", False), ("a<b>c", False),
    ],
)  # fmt: skip
def test_the_filter_takes_words_and_conditions(home, asked, found):
    id = write_run(home, channels=8, seed=3)
    assert matches(Studio(home).runs.get(id), Annotations(("good",)), "手写数字", asked) == found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_table_has_the_settings_that_differ_and_the_metrics(home, language):
    ids = [write_run(home, answers(0.8), channels=channels) for channels in (4, 8)]
    Studio(home).runs.annotate(ids[0], ["good"], "")
    app = visit("runs", language, view="table")
    leave()
    table = app.dataframe[0].value
    assert not app.exception and sorted(table["channels"]) == [4, 8]
    assert (table[{"en": "Accuracy", "zh": "准确率"}[language]] == 50.0).all()
    assert app.button("runs.compare").disabled


def test_a_filter_that_nothing_fits_says_so_and_keeps_the_page(home):
    write_run(home), write_run(home, channels=8)
    app = visit("runs", view="table")
    app.text_input("runs.filter").set_value("channels=9").run()
    leave()
    assert not app.exception and "No run is like that." in said(app)


def test_the_page_of_a_run_shows_its_tags_and_note_and_offers_to_change_them(home):
    id = write_run(home)
    Studio(home).runs.annotate(id, ["good"], "try a *lower* rate")
    app = visit("runs", run=id)
    assert ":blue-badge[good]" in said(app) and "try a \\*lower\\* rate" in said(app)
    app.button("run.annotate").click().run()
    leave()
    assert app.text_area("annotate.note").value == "try a *lower* rate" and not app.exception
