"""Rows that were set aside: they begin with what could be read of them, are mended here or elsewhere, and stay counted."""

import csv
import io
import json

import pyarrow.parquet
import pytest
from conftest import wait_for
from PIL import Image
from test_own_data import bring, reviews
from test_pages import leave, said, visit

from bigmodel.cli import command
from bigmodel.core import catalog, limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, say
from bigmodel.importing.formats import bad_record, chat_formats
from bigmodel.importing.store import repair_rows
from bigmodel.studio import Studio
from bigmodel.ui import state
from tests.corpus import bad_files


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
    (row,) = studio.data.rejected_rows(bring(studio, name, data).name)
    assert row["cells"] == cells


def test_a_question_without_an_answer_is_mended_by_its_answer_alone(studio):
    rows = [{"question": f"What is {n} + 1?", "answer": f"It is {n + 1}."} for n in range(30)]
    old = bring(studio, "a.jsonl", json_lines([*rows, {"question": "And 30 + 1?", "answer": ""}]))
    (row,) = studio.data.rejected_rows(old.name)
    assert repair_rows.editable_roles(old.version) == ["question", "answer"] and row["cells"] == {
        "question": "And 30 + 1?"
    }
    new = catalog.dataset(
        studio.versions.derive(old.name, [{"mend": {row["row"]: row["cells"] | {"answer": "It is 31."}}}])
    )
    assert total(new) == (31, 0)
    assert any("It is 31." in one["messages"] for one in studio.data.peek(new.name))


def test_a_long_row_is_kept_whole_and_a_longer_one_says_that_it_was_cut(studio):
    lengths = 30_000, 2 * bad_record.MAX_RAW_CHARACTERS
    rows = [f'{{"text": "{"long " * (length // 5)}"' for length in lengths]  # not closed
    data = json_lines(LINES) + "\n".join(rows).encode()
    kept, cut = studio.data.rejected_rows(bring(studio, "a.jsonl", data).name)
    assert kept["raw"] == rows[0] and "Only its first" not in str(repair_rows.reject_reason(kept))
    assert cut["raw"] == rows[1][: bad_record.MAX_RAW_CHARACTERS] and "Only its first 65,536" in str(
        repair_rows.reject_reason(cut)
    )


def test_a_text_that_is_too_long_to_be_kept_does_not_begin_with_half_of_it(studio):
    long = {"text": "x " * bad_record.MAX_RAW_CHARACTERS}
    (row,) = studio.data.rejected_rows(bring(studio, "a.jsonl", json_lines([*LINES, long])).name)
    assert not row["cells"]


def test_a_line_in_chinese_is_kept_in_its_own_encoding(studio):
    good = "".join(f"这个电影的情节很好看{n}\n" for n in range(40))
    data = good.encode("gb18030") + "后来".encode("gb18030") + b"\xff\xff\n"
    (row,) = studio.data.rejected_rows(bring(studio, "a.txt", data, unit="lines").name)
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
    assert [(rejected_row["row"], rejected_row["count"]) for rejected_row in studio.data.rejected_rows(old.name)] == [
        (41, 20)
    ]
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": {45: {"text": "what it said"}}}]))
    assert total(old) == (80, 20) and total(new) == (81, 19)
    assert [(rejected_row["row"], rejected_row["count"]) for rejected_row in studio.data.rejected_rows(new.name)] == [
        (41, 4),
        (46, 15),
    ]
    last = catalog.dataset(studio.versions.derive(new.name, [{"mend": {41: {"text": "so"}, 60: {"text": "it was"}}}]))
    assert total(last) == (83, 17)


# -- mended elsewhere ------------------------------------------------------------------------------------------
def handed_out(studio, dataset):
    """The table as a program opens it: a list of rows."""
    return list(csv.DictReader(io.StringIO(studio.data.rejected_csv(dataset.name, "zh").decode("utf-8-sig"))))


def given_back(studio, dataset, rows, encoding="utf-8-sig", delimiter=","):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    parcel = studio.imports.receive("mended.csv", [out.getvalue().encode(encoding)])
    return studio.imports.parse_repairs(dataset.name, parcel.id)


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
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": found["mends"]}]))
    assert total(new) == (23, 1)
    assert set(texts[:3]) <= {row["text"] for row in studio.data.peek(new.name, count=100)}


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
    assert [reason["row"] for reason in found["reasons"]] == [63, 5]


@pytest.mark.parametrize("data", [reviews(20), bad_files.parquet(), b"row,take,reason,text,label,content\n62,,a\n"])
def test_a_table_that_is_none_of_ours_is_refused_whole(studio, data):
    old = bring(studio, "r.csv", reviews(60, bad=3))
    with pytest.raises(Refusal) as refused:
        studio.imports.parse_repairs(old.name, studio.imports.receive("mended.csv", [data]).id)
    assert say(refused.value.what, "en") in (
        "This is no table of rows that were set aside.",
        "Nothing of this table was taken in.",
    )


def test_the_table_goes_out_and_comes_back_at_the_terminal(studio, tmp_path, capsys):
    old, path = bring(studio, "r.csv", reviews(60, bad=2)), tmp_path / "aside.csv"
    home = ["--home", str(studio.home)]
    assert command.main(["data", "aside", old.name, "--table", str(path), *home]) == 0
    assert command.main(["data", "mend", old.name, str(path), *home]) == 1  # nothing has been mended yet
    text = path.read_text("utf-8-sig")
    assert text.count(",broken,,broken") == 2  # text, class, content
    path.write_text(text.replace(",broken,,broken", ",mended,good,broken", 1), "utf-8")
    capsys.readouterr()
    assert command.main(["data", "mend", old.name, str(path), *home]) == 0
    assert total(catalog.dataset(capsys.readouterr().out.strip())) == (61, 1)


def test_a_mended_row_that_will_not_do_is_named(studio):
    old = bring(studio, "r.csv", reviews(60, bad=3))
    with pytest.raises(Refusal, match="row 63 cannot be taken in"):
        studio.versions.derive(
            old.name, [{"mend": {62: {"text": "a", "label": "good"}, 63: {"text": " ", "label": "good"}}}]
        )


# -- pictures --------------------------------------------------------------------------------------------------
BROKEN = bad_files.picture(99)[:60]


def pets(**more):
    """An archive in which the 21st and the 22nd picture lie in no folder, and the 23rd is cut off."""
    shown = {f"{'cats' if n % 2 else 'dogs'}/{n}.png": bad_files.picture(n) for n in range(20)}
    loose = {"a.png": bad_files.picture(50), "b.png": bad_files.picture(51, side=400), "cats/c.png": BROKEN}
    return bad_files.archive({**shown, **loose, **more})


def pictures_of(dataset):
    """{row: (picture, name of its class)}"""
    rows, names = pyarrow.parquet.read_table(dataset.path()).to_pylist(), dataset.columns["label"].names
    return {row["row"]: (row["image"]["bytes"], names[row["label"]]) for row in rows}


def test_a_picture_without_a_class_is_kept_small_and_a_broken_one_is_not(studio):
    old = bring(studio, "pets.zip", pets())
    assert [
        (rejected_row["row"], rejected_row.get("picture", False))
        for rejected_row in studio.data.rejected_rows(old.name)
    ] == [
        (21, True),
        (22, True),
        (23, False),
    ]
    kept = studio.data.rejected_images(old.name, [21, 22, 23])
    assert kept[21] == bad_files.picture(50) and set(kept) == {21, 22}
    assert max(Image.open(io.BytesIO(kept[22])).size) == 256
    assert "aside.parquet" in old.version.manifest["files"]


def test_pictures_are_taken_in_one_after_the_other_with_an_old_class_and_a_new_one(studio):
    old = bring(studio, "pets.zip", pets())
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": {21: {"label": "cats"}}}]))
    assert total(new) == (21, 2) and pictures_of(new)[21] == (bad_files.picture(50), "cats")
    about = catalog.dataset(studio.versions.derive(new.name, [{"about": {"title": "Pets"}}]))
    last = catalog.dataset(studio.versions.derive(about.name, [{"mend": {22: {"label": " a  bird "}}}]))
    assert total(last) == (22, 1) and last.columns["label"].names == ("a bird", "cats", "dogs")
    assert pictures_of(last)[22] == (studio.data.rejected_images(old.name, [22])[22], "a bird")
    assert pictures_of(last)[1][1] == "dogs" and "aside.parquet" not in last.version.manifest["files"]
    assert total(old) == (20, 3) and not repair_rows.editable_roles(last.version)


@pytest.mark.parametrize(
    ("mend", "why"),
    [
        ({23: {"label": "cats"}}, "23 cannot be taken in"),
        ({21: {"label": "cats"}, 23: {"label": "cats"}}, "23 cannot be taken in"),
        ({5: {"label": "cats"}}, "5 has not been set aside"),
        ({21: {"label": " "}}, "21 cannot be taken in"),
        ({21: {"label": "cats", "image": "aGVsbG8="}}, "not the columns of the data: image"),
        ({21: {"image": "aGVsbG8="}}, "not the columns of the data"),
    ],
)
def test_what_is_no_class_of_a_picture_that_was_kept_is_refused(studio, mend, why):
    old = bring(studio, "pets.zip", pets())
    with pytest.raises(Refusal, match=why):
        studio.versions.derive(old.name, [{"mend": mend}])
    assert len(studio.data.registry.versions(old.version.slug)) == 1


def test_pictures_that_a_file_of_labels_does_not_name_or_gives_no_class_are_mended(studio):
    shown = {f"{n}.png": bad_files.picture(n) for n in range(14)} | {"14.png": BROKEN}
    lines = [f"{n}.png,{'odd' if n % 2 else 'even'}" for n in range(12)]
    labels = "\n".join(["file,class", "gone.png,odd", *lines, "12.png,"]).encode()  # 13 and 14 are not named
    old = bring(studio, "labels.zip", bad_files.archive({**shown, "labels.csv": labels}))
    found = [
        (rejected_row["row"], rejected_row.get("picture", False))
        for rejected_row in studio.data.rejected_rows(old.name)
    ]
    assert found == [(13, True), (14, True), (15, False), (2, False)]  # the last is the line of gone.png
    with pytest.raises(Refusal, match="2 cannot be taken in"):  # picture 2 has been taken in long ago
        studio.versions.derive(old.name, [{"mend": {2: {"label": "odd"}}}])
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": {13: {"label": "even"}, 14: {"label": "odd"}}}]))
    assert total(new) == (14, 2)
    assert [pictures_of(new)[row] for row in (13, 14)] == [
        (bad_files.picture(12), "even"),
        (bad_files.picture(13), "odd"),
    ]


def test_a_picture_of_a_part_that_is_not_known_begins_with_its_class(studio):
    parts = [f"{part}/{kind}" for part in ("train", "test", "valid") for kind in ("cats", "dogs")]
    files = {f"{part}/{n}.png": bad_files.picture(7 * n + k) for k, part in enumerate(parts) for n in range(6)}
    archive = bad_files.archive({**files, "new/cats/x.png": bad_files.picture(99)})
    old = bring(studio, "pets.zip", archive, roles={"image": "picture", "label": "folder"}, split="folder 1")
    (row,) = studio.data.rejected_rows(old.name)
    assert row["cells"] == {"label": "cats"}
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": {row["row"]: row["cells"]}}]))
    assert total(new) == (37, 0) and pictures_of(new)[row["row"]] == (bad_files.picture(99), "cats")


def test_classes_of_pictures_are_filled_in_elsewhere(studio):
    old = bring(studio, "pets.zip", pets())
    rows = handed_out(studio, old)
    assert list(rows[0]) == ["row", "take", "reason", "label", "content"] and rows[0]["content"] == "a.png"
    for row in rows[1:]:
        row["label"] = "dogs"
    found = given_back(studio, old, rows)
    assert found["mends"] == {"22": {"label": "dogs"}} and [reason["row"] for reason in found["reasons"]] == [23]
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": found["mends"]}]))
    assert total(new) == (21, 2) and pictures_of(new)[22][1] == "dogs"


def test_a_version_that_has_kept_no_pictures_goes_on_working(studio):
    old = bring(studio, "pets.zip", pets())
    folder = old.version.folder
    folder.chmod(0o755)
    manifest, lines = folder / "manifest.json", folder / "aside.jsonl"
    for path in (manifest, lines):
        path.chmod(0o644)
    about = json.loads(manifest.read_bytes())
    del about["files"]["aside.parquet"]
    manifest.write_text(json.dumps(about))
    lines.write_text(lines.read_text().replace(', "picture": true', ""))
    (folder / "aside.parquet").unlink()
    assert not repair_rows.editable_roles(catalog.dataset(old.name).version)
    with pytest.raises(Refusal, match="21 cannot be taken in"):
        studio.versions.derive(old.name, [{"mend": {21: {"label": "cats"}}}])
    assert total(catalog.dataset(studio.versions.derive(old.name, [{"drop": [2]}]))) == (19, 3)


def test_many_pictures_are_set_aside_and_taken_in_in_parts(studio):
    loose = {f"loose {n}.png": bad_files.picture(1000 + n) for n in range(600)}  # more than are written at once
    old = bring(studio, "pets.zip", pets(**loose))
    assert pyarrow.parquet.ParquetFile(old.version.folder / "aside.parquet").num_row_groups > 1
    rows = [
        rejected_row["row"]
        for rejected_row in studio.data.rejected_rows(old.name, count=1000)
        if rejected_row.get("picture")
    ]
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": {row: {"label": "cats"} for row in rows[:-2]}}]))
    assert total(new) == (620, 3)
    assert pictures_of(new)[24][0] == bad_files.picture(1000) and pictures_of(new)[500][0] == bad_files.picture(1476)
    assert studio.data.rejected_images(new.name, rows[-1:]) == {rows[-1]: bad_files.picture(1599)}


# -- conversations ---------------------------------------------------------------------------------------------
def talk(*said):
    return [{"role": ("user", "assistant")[n % 2], "content": one} for n, one in enumerate(said)]


TALKS = [{"messages": talk(f"What is {n} + 1?", f"It is {n + 1}.")} for n in range(20)]
POEM = "Sure:\n\nroses are red\n  violets: blue"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "turns",
    [
        talk("Hi", "Hello"),
        talk("Hi", ""),
        talk("A poem", POEM, "Thanks", "　　不客气：好"),
        talk("用户：你好", "Assistant: hello"),
        [{"role": "system", "content": "Be kind.\nBe short."}, *talk("Hi", "Hello")],
        [*talk("Add", "add(1, 2)"), {"role": "tool", "content": "3"}, {"role": "assistant", "content": "3"}],
    ],
)
def test_a_conversation_is_written_a_line_a_turn_and_read_as_the_same(turns, language):
    written = chat_formats.to_transcript(json.dumps(turns), lambda words: say(words, language))
    assert written.startswith({"en": ("User: ", "System: "), "zh": ("用户: ", "系统: ")}[language])
    assert chat_formats.parse_turns(written) == turns
    assert chat_formats.parse_turns(written.replace("\n", "\r\n")) == turns


@pytest.mark.parametrize(
    "turns",
    [
        talk("Hi", "I think:\nUser: no"),
        talk("Hi", "first\n 助手：then"),
        talk("Which?", "two\nanswer : four"),
        talk("Hi", "Hello\n"),
        talk("Hi", "a\r\nb"),
        [{"role": "narrator", "content": "Once"}, *talk("Hi", "Hello")],
    ],
)
def test_a_conversation_whose_lines_would_be_read_as_another_stays_json(turns):
    text = json.dumps(turns, ensure_ascii=False)
    assert chat_formats.to_transcript(text, str) == text


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("user: Hi\n\nAssistant：Hello\nyou\n", talk("Hi", "Hello\nyou")),
        ("问：你好吗\n答：好", talk("你好吗", "好")),
        ("HUMAN:Hi\n GPT :Hello", talk("Hi", "Hello")),
        ("用户：一\nAssistant: 二\nUser: 三\n助手：四", talk("一", "二", "三", "四")),
        ("工具: 3", [{"role": "tool", "content": "3"}]),
        ('[["Hi", "Hello"]]', talk("Hi", "Hello")),
        ("User:\nHi: you", talk("Hi: you")),
    ],
)
def test_turns_are_read_in_both_languages_with_either_colon(text, turns):
    assert chat_formats.parse_turns(text) == turns


@pytest.mark.parametrize("text", ["", "hello", "hello\nUser: hi", "{}", "[1]", "[", "\u017fystem: hi"])
def test_what_is_no_conversation_is_not_guessed_at(text):
    with pytest.raises(ValueError):
        chat_formats.parse_turns(text)
    assert chat_formats.to_transcript(text, str) == text


@pytest.mark.parametrize(("language", "line"), [("en", "Assistant:"), ("zh", "助手:")])
def test_a_conversation_is_mended_elsewhere_as_it_is_spoken(studio, language, line):
    broken = [{"messages": talk("And then?", "")}, {"messages": "hello"}, {"messages": talk("Hi", "")}]
    old = bring(studio, "a.jsonl", json_lines([*TALKS, *broken]))
    text = studio.data.rejected_csv(old.name, language).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["messages"].endswith(f"\n{line} ") and rows[1]["messages"] == "hello"
    rows[0]["messages"] += "The end.\nIt is over."
    rows[1]["messages"] = "hello again"
    found = given_back(studio, old, rows)
    assert set(found["mends"]) == {"21"} and [reason["row"] for reason in found["reasons"]] == [22]
    assert "must say who speaks, as in 'User: ...'" in str(Words.from_json(found["reasons"][0]["reason"]))
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": found["mends"]}]))
    said = {row["messages"] for row in pyarrow.parquet.read_table(new.path()).to_pylist()}
    assert total(new) == (21, 2) and json.dumps(talk("And then?", "The end.\nIt is over.")) in said


def test_a_conversation_is_still_mended_as_json(studio):
    old = bring(studio, "a.jsonl", json_lines([*TALKS, {"messages": talk("And then?", "")}]))
    step = {"mend": {21: {"messages": json.dumps(talk("And then?", "User: no"))}}}
    new = catalog.dataset(studio.versions.derive(old.name, [step]))
    assert total(new) == (21, 0) and pyarrow.parquet.read_table(new.path())["messages"][-1].as_py() == json.dumps(
        talk("And then?", "User: no")
    )


def test_earlier_turns_are_mended_as_they_are_spoken(studio):
    rows = [{"instruction": f"And {n} + 1?", "output": f"{n + 1}", "history": [["Hi", "Hello"]]} for n in range(20)]
    old = bring(studio, "a.jsonl", json_lines([*rows, rows[0] | {"output": ""}]))
    (row,) = handed_out(studio, old)
    assert row["history"] == "用户: Hi\n助手: Hello"
    row["history"], row["answer"] = "用户：你好\n助手：你好！", "one"
    found = given_back(studio, old, [row])
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": found["mends"]}]))
    last = json.loads(pyarrow.parquet.read_table(new.path())["messages"][-1].as_py())
    assert last == talk("你好", "你好！", "And 0 + 1?", "one")


def test_a_file_of_transcripts_is_read_as_it_was(studio):
    """What a cell may say, a file's column may not: its rows would be others under the same name."""
    old = bring(studio, "a.jsonl", json_lines([*TALKS, {"messages": "User: Hi\nAssistant: Hello"}]))
    assert total(old) == (20, 1)


# -- on the page -----------------------------------------------------------------------------------------------
@pytest.fixture
def desk(home):
    yield state.studio()
    leave()


def editor(app):
    return next(one for one in app.dataframe if {"reason", "take"} <= set(one.value.columns))


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


def taken_in(desk, app, dataset, label):
    """The version that a click on the button makes."""
    button(app, label).click().run()
    wait_for(lambda: desk.versions.jobs.get(dataset.name).name)
    return catalog.dataset(desk.versions.jobs.get(dataset.name).name)


def test_a_picture_is_shown_and_taken_in_with_its_class_on_the_page(desk):
    dataset = bring(desk, "pets.zip", pets())
    app = visit("data", dataset=dataset.name)
    pictures = list(editor(app).value["picture"])
    assert all(picture.startswith("data:image/png;base64,") for picture in pictures) and len(set(pictures)) == 3
    assert any("Classes so far: cats, dogs" in text.replace("\\", "") for text in said(app))
    app = edited(app, {"1": {"label": "cat"}, "2": {"label": "cats", "take": True}})
    assert not app.exception and any("are new: cat" in text.replace("\\", "") for text in said(app))
    assert any(one.value.endswith("no picture that can be read: 23.") for one in app.warning)
    new = taken_in(desk, app, dataset, "Take rows in")
    assert total(new) == (21, 2) and pictures_of(new)[22][1] == "cat"
    app = edited(visit("data", "zh", dataset=new.name), {"0": {"label": "cats"}})
    last = taken_in(desk, app, new, say(Words("Take rows in"), "zh"))
    assert total(last) == (22, 1) and pictures_of(last)[21] == (bad_files.picture(50), "cats")
    app = visit("data", dataset=last.name)  # only the broken one is left, and can be looked at
    assert not app.exception and not any(one.label == "Take rows in" for one in app.button)


@pytest.mark.parametrize(("language", "begins", "mended"), [("en", "User: Hi\nAssistant: ", "User: Hi\nAssistant: Hello"),
                                                         ("zh", "用户: Hi\n助手: ", "用户：Hi\n助手：Hello")])  # fmt: skip
def test_a_conversation_is_mended_on_the_page_as_it_is_spoken(desk, language, begins, mended):
    dataset = bring(desk, "a.jsonl", json_lines([*TALKS, {"messages": talk("Hi", "")}]))
    app = visit("data", language, dataset=dataset.name)
    assert list(editor(app).value["messages"]) == [begins]
    app = edited(app, {"0": {"messages": mended}})
    new = taken_in(desk, app, dataset, say(Words("Take rows in"), language))
    assert total(new) == (21, 0)
    assert pyarrow.parquet.read_table(new.path())["messages"][-1].as_py() == json.dumps(talk("Hi", "Hello"))
