"""Rows that were set aside: they begin with what could be read of them, are mended here or elsewhere, and stay counted."""

import csv
import io
import json

import pyarrow.parquet
import pytest
from test_own_data import bring, reviews
from test_pages import leave, visit

from bigmodel import data_verbs
from bigmodel.core import catalog, limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import say
from bigmodel.data.own import broken
from bigmodel.studio import Studio, mending
from bigmodel.torture import bad_files
from bigmodel.ui import state


@pytest.fixture
def studio(home):
    one = Studio(home)
    yield one
    one.close()


def total(dataset):
    """Rows that were taken in, and those that were set aside."""
    manifest = dataset.version.manifest
    return sum(manifest["rows"].values()), manifest["aside"]


def json_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


# -- what could be read --------------------------------------------------------------------------------------
PO = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n' + "".join(
    f'msgid "Open file {n}"\nmsgstr "打开文件 {n}"\n\n' for n in range(20)
)
LINES = [{"text": f"text number {n}", "label": "ab"[n % 2]} for n in range(20)]


@pytest.mark.parametrize(
    ("name", "data", "cells"),
    [
        ("a.csv", reviews(30) + b"only the text of it\n", {"text": "only the text of it"}),
        ("a.csv", reviews(30) + b"so long, and thanks,good\n", {"text": "so long, and thanks", "label": "good"}),
        ("a.csv", reviews(30) + b'"never closed,good\n', {"text": "never closed", "label": "good"}),
        ("a.jsonl", json_lines([*LINES, {"text": "the text of it"}]), {"text": "the text of it"}),
        ("a.jsonl", json_lines([*LINES, {"text": "", "label": 1.0}]), {"label": "1"}),
        ("a.po", (PO + 'msgid "Not yet"\nmsgstr ""\n').encode(), {"source": "Not yet"}),
        ("a.po", (PO + '#, fuzzy\nmsgid "So"\nmsgstr "所以"\n').encode(), {"source": "So", "target": "所以"}),
        (
            "a.parquet",
            bad_files.parquet({"text": [f"text {n}" for n in range(9)], "label": [*"abababab", None]}),
            {"text": "text 8"},
        ),
    ],
)
def test_a_row_begins_with_what_could_be_read_of_it(studio, name, data, cells):
    (row,) = studio.set_aside(bring(studio, name, data).name)
    assert row["cells"] == cells


def test_a_question_without_an_answer_is_mended_by_its_answer_alone(studio):
    rows = [{"question": f"What is {n} + 1?", "answer": f"It is {n + 1}."} for n in range(30)]
    old = bring(studio, "a.jsonl", json_lines([*rows, {"question": "And 30 + 1?", "answer": ""}]))
    (row,) = studio.set_aside(old.name)
    assert mending.roles_of(old.version) == ["question", "answer"] and row["cells"] == {"question": "And 30 + 1?"}
    new = catalog.dataset(studio.derive(old.name, [{"mend": {row["row"]: row["cells"] | {"answer": "It is 31."}}}]))
    assert total(new) == (31, 0)
    assert any("It is 31." in one["messages"] for one in studio.peek(new.name))


def test_a_long_row_is_kept_whole_and_a_longer_one_says_that_it_was_cut(studio):
    lengths = 30_000, 2 * broken.RAW
    rows = [f'{{"text": "{"long " * (length // 5)}"' for length in lengths]  # not closed
    data = json_lines(LINES) + "\n".join(rows).encode()
    kept, cut = studio.set_aside(bring(studio, "a.jsonl", data).name)
    assert kept["raw"] == rows[0] and "Only its first" not in str(mending.reason_of(kept))
    assert cut["raw"] == rows[1][: broken.RAW] and "Only its first 65,536" in str(mending.reason_of(cut))


def test_a_text_that_is_too_long_to_be_kept_does_not_begin_with_half_of_it(studio):
    long = {"text": "x " * broken.RAW}
    (row,) = studio.set_aside(bring(studio, "a.jsonl", json_lines([*LINES, long])).name)
    assert not row["cells"]


def test_a_line_in_chinese_is_kept_in_its_own_encoding(studio):
    good = "".join(f"这个电影的情节很好看{n}\n" for n in range(40))
    data = good.encode("gb18030") + "后来".encode("gb18030") + b"\xff\xff\n"
    (row,) = studio.set_aside(bring(studio, "a.txt", data, unit="lines").name)
    assert row["raw"].startswith("后来")


# -- counted ---------------------------------------------------------------------------------------------------
def damaged_parquet():
    """Of 100 rows in five parts the third part, rows 41 to 60, cannot be read."""
    out = io.BytesIO()
    table = pyarrow.table({"text": [f"a text with the number {n}" for n in range(100)]})
    pyarrow.parquet.write_table(table, out, row_group_size=20, compression="zstd", use_dictionary=False)
    data = bytearray(out.getvalue())
    chunk = pyarrow.parquet.ParquetFile(io.BytesIO(data)).metadata.row_group(2).column(0)
    data[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = bytes(
        chunk.total_compressed_size
    )
    return bytes(data)


def test_mending_one_of_several_rows_that_are_lost_together_leaves_the_others_set_aside(studio):
    old = bring(studio, "a.parquet", damaged_parquet())
    assert [(one["row"], one["count"]) for one in studio.set_aside(old.name)] == [(41, 20)]
    new = catalog.dataset(studio.derive(old.name, [{"mend": {45: {"text": "what it said"}}}]))
    assert total(old) == (80, 20) and total(new) == (81, 19)
    assert [(one["row"], one["count"]) for one in studio.set_aside(new.name)] == [(41, 4), (46, 15)]
    last = catalog.dataset(studio.derive(new.name, [{"mend": {41: {"text": "so"}, 60: {"text": "it was"}}}]))
    assert total(last) == (83, 17)


# -- mended elsewhere ------------------------------------------------------------------------------------------
def handed_out(studio, dataset):
    """The table as a program opens it: a list of rows."""
    return list(csv.DictReader(io.StringIO(studio.set_aside_table(dataset.name, "zh").decode("utf-8-sig"))))


def given_back(studio, dataset, rows, encoding="utf-8-sig", delimiter=","):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    parcel = studio.imports.receive("mended.csv", [out.getvalue().encode(encoding)])
    return studio.mended(dataset.name, parcel.id)


@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-8-sig", ","), ("gb18030", ";"), ("utf-16", "\t")])
def test_a_table_that_was_mended_elsewhere_is_taken_in(studio, encoding, delimiter):
    texts = ["=1+1, said she", "它说：\n好，看", "'tis so", "as it was"]
    old = bring(studio, "a.jsonl", json_lines([*LINES, *({"text": text} for text in texts)]))
    rows = handed_out(studio, old)
    assert [row["text"] for row in rows] == ["'=1+1, said she", *texts[1:]]  # no program takes it for a formula
    for row in rows[:3]:
        row["label"] = "好"
    found = given_back(studio, old, rows, encoding, delimiter)
    assert (len(found["mends"]), found["left"]) == (3, 0)
    new = catalog.dataset(studio.derive(old.name, [{"mend": found["mends"]}]))
    assert total(new) == (23, 1)
    assert set(texts[:3]) <= {row["text"] for row in studio.peek(new.name, count=100)}


def test_a_row_that_was_right_as_it_stood_is_taken_in_when_it_is_ticked(studio):
    old = bring(studio, "a.po", (PO + '#, fuzzy\nmsgid "So"\nmsgstr "所以"\n').encode())
    rows = handed_out(studio, old)
    assert not given_back(studio, old, rows)["mends"]
    rows[0]["take"] = "x"
    assert list(given_back(studio, old, rows)["mends"].values()) == [{"source": "So", "target": "所以"}]


def test_a_row_that_still_will_not_do_is_told_and_the_others_are_taken_in(studio):
    old = bring(studio, "r.csv", reviews(60, bad=3))
    rows = handed_out(studio, old)
    rows[0]["label"], rows[1]["text"] = "good", "changed, and no class"
    rows.append(rows[0] | {"row": "5"})
    found = given_back(studio, old, rows)
    assert set(found["mends"]) == {"62"} and found["left"] == 2
    assert [one["row"] for one in found["reasons"]] == [63, 5]


@pytest.mark.parametrize("data", [reviews(20), bad_files.parquet(), b"row,take,reason,text,label,content\n62,,a\n"])
def test_a_table_that_is_none_of_ours_is_refused_whole(studio, data):
    old = bring(studio, "r.csv", reviews(60, bad=3))
    with pytest.raises(Refusal) as refused:
        studio.mended(old.name, studio.imports.receive("mended.csv", [data]).id)
    assert say(refused.value.what, "en") in (
        "This is no table of rows that were set aside.",
        "Nothing of this table was taken in.",
    )


def test_the_table_goes_out_and_comes_back_at_the_terminal(studio, tmp_path, capsys):
    old, path = bring(studio, "r.csv", reviews(60, bad=2)), tmp_path / "aside.csv"
    home = ["--home", str(studio.home)]
    assert data_verbs.main(["aside", old.name, "--table", str(path), *home]) == 0
    assert data_verbs.main(["mend", old.name, str(path), *home]) == 1  # nothing has been mended yet
    text = path.read_text("utf-8-sig")
    assert text.count(",broken,,broken") == 2  # text, class, content
    path.write_text(text.replace(",broken,,broken", ",mended,good,broken", 1), "utf-8")
    capsys.readouterr()
    assert data_verbs.main(["mend", old.name, str(path), *home]) == 0
    assert total(catalog.dataset(capsys.readouterr().out.strip())) == (61, 1)


def test_a_mended_row_that_will_not_do_is_named(studio):
    old = bring(studio, "r.csv", reviews(60, bad=3))
    with pytest.raises(Refusal, match="row 63 cannot be taken in"):
        studio.derive(old.name, [{"mend": {62: {"text": "a", "label": "good"}, 63: {"text": " ", "label": "good"}}}])


# -- on the page -----------------------------------------------------------------------------------------------
@pytest.fixture
def desk(home):
    yield state.studio()
    leave()


def editor(app):
    return next(one for one in app.dataframe if "reason" in one.value.columns and "text" in one.value.columns)


def edited(app, cells):
    """As if somebody had typed into the table: {place: {column: value}}."""
    states = app._tree.get_widget_states()
    typed = states.widgets.add()
    typed.id = editor(app).proto.id
    typed.string_value = json.dumps({"edited_rows": cells, "added_rows": [], "deleted_rows": []})
    return app._run(states)


def button(app, label):
    return next(one for one in app.button if one.label == label)


def test_all_rows_that_were_set_aside_can_be_paged_through_and_what_was_typed_is_kept(desk):
    dataset = bring(desk, "r.csv", reviews(60, bad=limits.TABLE_ROWS + 3))
    app = visit("data", dataset=dataset.name)
    assert list(editor(app).value["text"]) == ["broken"] * limits.TABLE_ROWS
    assert button(app, "Take rows in").disabled
    app = edited(app, {"0": {"label": "good"}, "1": {"label": "bad"}})
    assert not app.exception and not button(app, "Take 2 rows in").disabled
    next(one for one in app.button if (one.key or "").endswith("aside.after")).click()
    app = app.run()
    assert len(editor(app).value) == 3 and not button(app, "Take 2 rows in").disabled
    next(one for one in app.button if (one.key or "").endswith("aside.before")).click()
    app = app.run()
    assert list(editor(app).value["label"][:3]) == ["good", "bad", ""]
