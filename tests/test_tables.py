"""Tables and JSON as other programs write them: headers, shapes of JSON, conversations, labelling tools, classes."""

import json
from collections import Counter

import pyarrow
import pyarrow.parquet
import pytest

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import say
from bigmodel.importing import preview, to_rows
from bigmodel.importing.formats import json_documents, readers
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.import_plan import ImportPlan, check_reading

FRUITS = ("apple", "pear", "plum", "fig", "lime", "kiwi", "date", "melon", "grape", "peach", "lemon", "mango")
TEXTS = [f"a ripe {fruit} on the table" for fruit in FRUITS]
CLASSES = [("sweet", "sour")[index % 2] for index in range(len(FRUITS))]
RECORDS = [{"text": text, "label": label} for text, label in zip(TEXTS, CLASSES, strict=True)]
PAIRS = [[text, label] for text, label in zip(TEXTS, CLASSES, strict=True)]


class Read:
    """A file as it is previewed and read."""

    def __init__(self, folder, name, data, **corrected):
        path = folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        self.preview = preview.preview_file(path, name, corrected)
        self.left_out = Counter()
        rows = list(to_rows.rows(readers.records(path, self.preview.plan, [0]), self.preview.plan, self.left_out))
        self.rows = [row[1] for row in rows if type(row) is not BadRecord]
        self.reasons = [say(row.reason, "en") for row in rows if type(row) is BadRecord]
        self.evidence = " ".join(say(words, "en") for words in self.preview.evidence)

    def column(self, name):
        return [row[name] for row in self.rows]


@pytest.fixture
def read(tmp_path):
    return lambda name, data, **corrected: Read(tmp_path, name, data, **corrected)


def csv(rows, head="text,label\n", end="\n"):
    return head + "".join(",".join(row) + end for row in rows)


def jsonl(records):
    return "".join(json.dumps(record) + "\n" for record in records)


# -- header or data ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "data",
    [
        csv([(label, text, "", "") for text, label in PAIRS], "c1,c2,,\n"),
        csv(PAIRS, "sep=,\r\ntext,label\r\n", "\r\n"),
        csv(PAIRS, '"sep=;"\ntext;label\n').replace(" table,", " table;"),
        "\ufeff" + csv(PAIRS, end="\n\ufeff"),
        csv([(text, text[::-1], label) for text, label in PAIRS], "text,text,label\n"),
        csv([(label, f"Well, it is {text}, I think") for text, label in PAIRS], "label,text\n"),
        csv([(f"Well, it is {text}, I think", label) for text, label in PAIRS]),
        csv([(str(n), f"Oh{', oh' * (n % 3)} {row[0]}", row[1]) for n, row in enumerate(PAIRS)], "id,review,label\n"),
    ],
    ids=["gaps", "sep", "quoted-sep", "bom-lines", "same-names", "last-unquoted", "first-unquoted", "middle-unquoted"],
)
def test_a_header_is_a_header_and_every_row_below_it_is_read(read, data):
    table = read("fruit.csv", data)
    assert table.preview.plan.header and not table.reasons
    assert table.column("label") == CLASSES
    assert all(
        text.split()[-2] in shown for text, shown in zip(TEXTS, table.column("text"), strict=True) if len(shown) > 30
    )


@pytest.mark.parametrize("label", ["sweet", "fruit_sweet"])
def test_a_first_row_whose_class_comes_again_is_data(read, label):
    table = read(
        "fruit.csv", csv([(text, label if name == "sweet" else f"{label[:-5]}sour") for text, name in PAIRS], "")
    )
    assert not table.preview.plan.header and len(table.rows) == len(FRUITS)


def test_a_header_in_the_middle_is_set_aside_and_named(read):
    table = read("fruit.csv", csv(PAIRS[:6]) + csv(PAIRS[6:]))
    assert len(table.rows) == len(FRUITS) and table.reasons == ["It is the header once more."]


def test_a_row_with_a_field_too_many_is_not_put_in_order_by_chance(read):
    table = read("fruit.csv", csv([*PAIRS, ("two rows", "in one", "line")]))
    assert len(table.rows) == len(FRUITS) and table.reasons == ["It has 3 fields where 2 are expected."]


# -- shapes of JSON ------------------------------------------------------------------------------------------
BY_COLUMN = {"text": dict(zip(map(str, range(12)), TEXTS, strict=True)),
             "label": dict(zip(map(str, range(12)), CLASSES, strict=True))}  # fmt: skip
SHAPES = {
    "pandas": json.dumps(BY_COLUMN),
    "columns": json.dumps({"text": TEXTS, "label": CLASSES}),
    "pandas split": json.dumps({"columns": ["text", "label"], "index": list(range(12)), "data": PAIRS}),
    "pandas table": json.dumps({"schema": {"fields": [{"name": "text"}]}, "data": RECORDS}),
    "list of lists": json.dumps([["text", "label"], *PAIRS]),
    "by id": json.dumps({f"row-{n}": record for n, record in enumerate(RECORDS)}, indent=1),
    "by number": json.dumps(dict(enumerate(RECORDS))),
    "wrapped twice": json.dumps({"status": "ok", "result": {"count": 12, "items": RECORDS}}),
    "over several lines": "\n".join(json.dumps(record, indent=2) for record in RECORDS),
    "without line feeds": "".join(map(json.dumps, RECORDS)),
    "lists by lines": jsonl([["text", "label"], *PAIRS]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_json_of_every_common_shape_has_its_rows(read, shape):
    table = read("fruit.json", SHAPES[shape])
    assert sorted(zip(table.column("text"), table.column("label"), strict=True)) == sorted(map(tuple, PAIRS))
    assert not table.reasons


@pytest.mark.parametrize(
    "parts",
    [
        {"train": RECORDS, "test": RECORDS[:3]},
        {"train": TEXTS, "test": TEXTS[:3]},
        {"train": {"text": TEXTS, "label": CLASSES}, "test": {"text": TEXTS[:3], "label": CLASSES[:3]}},
    ],
)
def test_splits_of_json_are_kept_as_splits(read, parts):
    assert Counter(read("fruit.json", json.dumps(parts)).column("split")) == {"train": 12, "test": 3}


def test_lists_of_texts_are_told_apart_by_their_names(read):
    table = read("fruit.json", json.dumps({"sweet": TEXTS[:7], "sour": TEXTS[7:]}))
    assert Counter(table.column("label")) == {"sweet": 7, "sour": 5}


def test_questions_of_squad_are_questions_and_what_has_no_answer_is_said(read):
    asked = [{"id": n, "question": f"Which fruit is number {n}?", "answers": [{"text": fruit, "answer_start": 0}] * (n != 3)}
             for n, fruit in enumerate(FRUITS)]  # fmt: skip
    table = read(
        "squad.json",
        json.dumps({"version": "1", "data": [{"title": "t", "paragraphs": [{"context": "Fruit.", "qas": asked}]}]}),
    )
    assert len(table.rows) == 11 and table.reasons == ["Answer is missing."]
    assert json.loads(table.rows[1]["messages"])[-1] == {"role": "assistant", "content": "pear"}


def test_a_list_on_one_line_longer_than_a_line_may_be_is_read_piece_by_piece(tmp_path):
    text, count = "x" * 2**16, limits.LINE_BYTES // 2**16 + 5
    (tmp_path / "a.json").write_text(json.dumps([{"text": text}] * count))
    with (tmp_path / "a.json").open("rb") as file:
        assert [number for number, _record in json_documents.json_records(file, "utf-8")] == list(range(1, count + 1))


def test_an_indented_object_that_is_broken_costs_one_row(read):
    table = read("fruit.jsonl", SHAPES["over several lines"].replace('plum on the table",', 'plum on the table"'))
    assert len(table.rows) == 11 and len(table.reasons) == 1


@pytest.mark.parametrize("key", ["a\\q", "a\nb", "a\x01b"])
def test_a_key_that_is_no_json_is_a_broken_row(tmp_path, key):
    (tmp_path / "a.json").write_text(f'{{"{key}": [{{"text": "plum"}}]}}')
    with (tmp_path / "a.json").open("rb") as file:
        (record,) = json_documents.json_records(file, "utf-8")
    assert type(record) is BadRecord and "JSON" in say(record.reason, "en")


@pytest.mark.parametrize("text", ["{Enter a king.}\nHe speaks.\n{Exit}\n", "[1] On fruit.\n[2] On trees.\n", '["Yes," she said]\nand went.\n'])  # fmt: skip
def test_prose_with_braces_is_prose(read, text):
    assert read("play.txt", text * 3).preview.plan.format == "text"


@pytest.mark.parametrize(
    "data", ["".join(f"{record}\n" for record in RECORDS), "// fruit\n" + json.dumps(RECORDS, indent=1)]
)
def test_what_only_looks_like_json_is_no_prose(read, data):
    with pytest.raises(Refusal, match="JSON"):
        read("fruit.jsonl", data)


# -- conversations -------------------------------------------------------------------------------------------
def talks(*turns):
    return jsonl({"messages": [{"role": role, "content": f"{text} {n}"} for role, text in turns]} for n in range(6))


def spoken(table):
    return [(turn["role"], turn["content"]) for turn in json.loads(table.rows[0]["messages"])]


def test_a_greeting_and_thanks_are_left_out_and_counted(read):
    table = read("talk.jsonl", talks(("assistant", "Hi"), ("user", "Who"), ("assistant", "I"), ("user", "Thanks")))
    assert spoken(table) == [("user", "Who 0"), ("assistant", "I 0")]
    assert table.left_out == {"messages": 12, "conversations": 6} and "12 messages are left out" in table.evidence


def test_two_answers_in_a_row_are_one(read):
    table = read("talk.jsonl", talks(("user", "Who"), ("assistant", "I"), ("assistant", "You")))
    assert spoken(table) == [("user", "Who 0"), ("assistant", "I 0\n\nYou 0")] and not table.left_out


def test_calls_of_tools_are_said_as_json(read):
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "pick", "arguments": '{"n": 1}'}}],
    }
    turns = [
        {"role": "user", "content": "Pick"},
        call,
        {"role": "tool", "content": None},
        {"role": "assistant", "content": "Done"},
    ]
    table = read("talk.jsonl", jsonl([{"messages": turns, "tools": [{"name": "pick"}]}] * 4))
    assert spoken(table)[1:] == [
        ("assistant", '{"name": "pick", "arguments": {"n": 1}}'),
        ("tool", "null"),
        ("assistant", "Done"),
    ]
    assert "The column tools describes tools and is left out" in table.evidence


def test_names_of_tools_in_sharegpt_are_roles(read):
    turns = [("human", "Pick"), ("function_call", "{}"), ("observation", "1"), ("gpt", "Done")]
    data = jsonl([{"conversations": [{"from": role, "value": text} for role, text in turns]}] * 4)
    assert [role for role, _text in spoken(read("talk.jsonl", data))] == ["user", "assistant", "tool", "assistant"]


def test_an_unknown_role_is_named(read):
    table = read("talk.jsonl", talks(("buyer", "How much"), ("seller", "Two")))
    assert not table.rows and "The role buyer of a message" in table.reasons[0]


# -- labelling tools -----------------------------------------------------------------------------------------
def exported(tool):
    studio = [
        {
            "data": {"text": text},
            "annotations": [{"result": [{"from_name": "taste", "type": "choices", "value": {"choices": [label]}}]}],
        }
        for text, label in PAIRS
    ]
    argilla = [
        {"fields": {"text": text}, "responses": {"taste": [{"value": label, "user_id": "u"}]}, "suggestions": {}}
        for text, label in PAIRS
    ]
    prodigy = [
        {"text": text, "_input_hash": 1, "options": [{"id": label}], "accept": [label], "answer": "accept"}
        for text, label in PAIRS
    ]
    doccano = [{"id": 1, "text": text, "labels": [label]} for text, label in PAIRS]
    return {"Label Studio": studio, "Argilla": argilla, "Prodigy": prodigy, "doccano": doccano}[tool]


@pytest.mark.parametrize("tool", ["Label Studio", "Argilla", "Prodigy", "doccano"])
@pytest.mark.parametrize("write", [json.dumps, jsonl])
def test_the_class_of_a_labelling_tool_is_the_class(read, tool, write):
    table = read("export.json", write(exported(tool)))
    assert table.column("label") == CLASSES and (tool in table.evidence or tool == "doccano")


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ([[2, 6, "FRUIT"]], "spans"),
        ([{"start": 2, "end": 6, "label": "FRUIT"}], "spans"),
        (["sweet", "sour"], "several classes"),
    ],
)
def test_what_is_no_single_class_is_refused_in_words(read, label, reason):
    table = read("export.jsonl", jsonl({"text": text, "label": label} for text in TEXTS))
    assert not table.rows and all(reason in one for one in table.reasons)


def test_a_list_of_classes_is_no_text_of_several_lines(read):
    films = [{"plot": text, "genres": ["comedy", ("drama", "crime")[n % 2]]} for n, text in enumerate(TEXTS)]
    assert read("films.jsonl", jsonl(films)).preview.plan.roles["text"] == "plot"


def test_what_an_annotator_rejected_has_no_class(read):
    tasks = [
        {"text": text, "_task_hash": 1, "label": label, "answer": "reject" if n < 2 else "accept"}
        for n, (text, label) in enumerate(PAIRS)
    ]
    table = read("export.jsonl", jsonl(tasks))
    assert table.column("label") == CLASSES[2:] and len(table.reasons) == 2


def test_names_of_classes_come_from_the_metadata_of_parquet(read, tmp_path):
    about = {"info": {"features": {"label": {"names": ["sour", "sweet"], "_type": "ClassLabel"}}}}
    table = pyarrow.table({"text": TEXTS, "label": [int(label == "sweet") for label in CLASSES[:-1]] + [-1]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(about)}), tmp_path / "a")
    read_back = read("fruit.parquet", (tmp_path / "a").read_bytes())
    assert read_back.column("label") == CLASSES[:-1] and read_back.reasons == ["Class is missing."]


# -- what a class is -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("word", ["NaN", "N/A", "null", "None", "?", "-"])
def test_a_word_for_a_missing_value_is_no_class_unless_somebody_says_so(read, word):
    data = csv([*PAIRS, ("a bowl", word)])
    table = read("fruit.csv", data)
    assert set(table.column("label")) == {"sweet", "sour"} and word in table.reasons[0] and word in table.evidence
    assert word in read("fruit.csv", data, literal_classes=[word]).column("label")


def test_minus_beside_plus_is_a_class(read):
    table = read("fruit.csv", csv([(text, "+-"[n % 2]) for n, text in enumerate(TEXTS)]))
    assert set(table.column("label")) == {"+", "-"}


def test_the_plan_of_a_file_without_such_words_is_what_it_was():
    plan = ImportPlan("csv", {"text": "a"})
    assert "literal_classes" not in plan.to_json()
    marked = ImportPlan("csv", {"text": "a"}, literal_classes=("None",))
    assert ImportPlan.check(json.loads(json.dumps(marked.to_json()))) == marked


@pytest.mark.parametrize(
    ("written", "name"), [("pur\u0065\u0301e", "pur\u00e9e"), ("['sweet']", "sweet"), ("[A]", "[A]")]
)
def test_ways_to_write_a_class_are_one_class(read, written, name):
    table = read("fruit.csv", csv([(text, f'"{written}"' if n % 3 else name) for n, text in enumerate(TEXTS)] + PAIRS))
    assert Counter(table.column("label")[:12]) == {name: 12}


@pytest.mark.parametrize(
    ("name", "value", "would_do"),
    [
        ("format", "excel", "'csv'"),
        ("encoding", "utf-99", "gb18030"),
        ("delimiter", "::", "';'"),
        ("header", "maybe", "on, off"),
        ("unit", "words", "'paragraphs'"),
        ("validation", 0.9, "0.4"),
        ("quote", "'", "encoding"),
    ],
)
def test_a_wrong_way_of_reading_is_refused_with_the_right_ones(name, value, would_do):
    with pytest.raises(Refusal, match=r"cannot be|is named") as refused:
        check_reading({name: value})
    assert would_do in str(refused.value.do) and "damaged" not in refused.value.say("en")
