"""A book is one text: read in pieces that go on, split by place, learnt from without an end inside. And lines that belong together
over two files."""

import gzip
import json
import random
import zipfile

import pytest
from test_pages import leave, visit

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.importing.formats.natural_order import natural_key
from bigmodel.importing.formats.text_form import detect_unit
from bigmodel.importing.store.registry import default_title
from bigmodel.studio import Studio
from bigmodel.ui import state

SENTENCE = "the king of men shall come to us and we will see him with our own eyes before night falls"
WORDS = SENTENCE.split()


@pytest.fixture
def studio(home):
    with_home = Studio(home)
    yield with_home
    with_home.close()


@pytest.fixture
def folder(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    return own


def speeches(count, seed=0):
    chance = random.Random(seed)
    return "\n".join(
        f"{chance.choice(['KING', 'First Citizen', 'Messenger'])}:\n"
        + "".join(" ".join(chance.choices(WORDS, k=8)).capitalize() + ",\n" for _ in range(chance.randint(1, 4)))
        for _ in range(count)
    )


def added(studio, path, **corrected):
    upload = studio.imports.add_path(str(path), trusted=True)
    job = studio.imports.begin(upload.id, studio.imports.preview(upload.id, corrected).plan, wait=True)
    if job.refusal:
        raise job.refusal
    return catalog.dataset(job.name)


def stream(dataset, split):
    """The tokens of a split as a language model of bytes gets them, and the tokenizer."""
    task, rows = catalog.task("text-generation"), dataset.rows()
    tokenizer = task.processor(rows, {"tokenizer": "bpe", "vocabulary": 300})
    return task.encode(rows[split], tokenizer, {})["tokens"], tokenizer


def test_a_play_is_one_text_whose_first_nine_tenths_are_trained_on(studio, folder):
    text = speeches(300)
    (folder / "play.txt").write_bytes(text.encode())
    dataset = added(studio, folder / "play.txt")
    tokens, tokenizer = stream(dataset, "train")
    assert tokenizer.decode(tokens[1:]) == text[: int(0.9 * len(text))]
    assert tokenizer.eos_token_id not in tokens[1:]
    rest, _tokenizer = stream(dataset, "test")
    assert rest[-1] == tokenizer.eos_token_id and tokenizer.eos_token_id not in rest[1:-1]


def test_the_splits_of_a_whole_text_give_it_again(studio, folder):
    text = "序章\n\n" + "".join(
        f"第{n}回 某人做某事\n\u3000\u3000话说{'有一日' * (n % 90)}。\n\n" for n in range(1, 200)
    )
    (folder / "红楼.txt").write_bytes(text.encode("gb18030"))
    rows = added(studio, folder / "红楼.txt").rows()
    assert "".join("".join(rows[split]["text"]) for split in ("train", "validation", "test")) == text


def test_a_text_without_line_ends_is_read(studio, folder):
    text = " ".join(random.Random(1).choices(WORDS, k=300_000))
    (folder / "text8").write_text(text)
    rows = added(studio, folder / "text8").rows()
    assert "".join("".join(rows[split]["text"]) for split in ("train", "validation", "test")) == text


def test_chapters_are_joined_in_the_order_in_which_people_count(studio, folder):
    for number in (2, 10, 1):
        (folder / f"ch{number}.txt").write_text(f"CHAPTER {number}\n{speeches(30, number)}")
    dataset = added(studio, folder)
    tokens, tokenizer = stream(dataset, "train")
    text = "".join(f"CHAPTER {number}\n{speeches(30, number)}" for number in (1, 2, 10))
    assert tokenizer.decode(tokens[1:]) == text[: int(0.9 * len(text))]


def test_books_of_a_folder_end_each(studio, folder):
    for name in ("emma", "persuasion"):
        (folder / f"{name}.txt").write_text(speeches(300, len(name)))
    tokens, tokenizer = stream(added(studio, folder, unit="whole"), "train")
    (end,) = [place for place, token in enumerate(tokens[1:], 1) if token == tokenizer.eos_token_id]
    assert tokenizer.decode(tokens[1:end]) == speeches(300, 4)


def test_files_named_as_parts_are_the_splits_of_whole_texts(studio, folder):
    for seed, name in enumerate(("train", "valid", "test")):
        (folder / f"wiki.{name}.tokens").write_text(speeches(200 if name == "train" else 30, seed))
    rows = added(studio, folder).rows()
    assert "".join(rows["train"]["text"]) == speeches(200, 0)
    assert "".join(rows["validation"]["text"]) == speeches(30, 1)


def test_a_missing_split_is_the_end_of_the_training_text(studio, folder):
    (folder / "train.txt").write_text(speeches(200))
    (folder / "val.txt").write_text(speeches(30, 1))
    rows = added(studio, folder).rows()
    assert "".join(rows["train"]["text"]) + "".join(rows["test"]["text"]) == speeches(200)


def test_a_dropped_piece_leaves_an_end_where_the_text_is_broken(studio, folder):
    (folder / "play.txt").write_text(speeches(300))
    dataset = added(studio, folder / "play.txt")
    name = studio.versions.derive(dataset.name, [{"drop": [3]}])
    tokens, tokenizer = stream(catalog.dataset(name), "train")
    assert list(tokens[1:]).count(tokenizer.eos_token_id) == 1


def test_ends_that_a_corpus_marks_are_ends(studio, folder):
    stories = [speeches(40, seed) for seed in range(5)]
    (folder / "stories.txt").write_text("<|endoftext|>\n".join(stories))
    tokens, tokenizer = stream(added(studio, folder / "stories.txt"), "train")
    assert list(tokens[1:]).count(tokenizer.eos_token_id) == 4


def test_the_form_can_be_changed(studio, folder):
    (folder / "play.txt").write_text(speeches(100))
    assert sum(map(len, added(studio, folder / "play.txt", unit="paragraphs").rows().values())) == 100


WRAPPED = "\n".join(" ".join(random.Random(n).choices(WORDS, k=17))[:70] for n in range(60))
POEMS = "\n\n".join("床前明月光，\n疑是地上霜。\n举头望明月，\n低头思故乡。" for _ in range(20))
NOVEL = "\n".join(f"　　{'某年某月某日，' * (n % 9 + 1)}他说。" for n in range(40))
STORY = "\n\n".join('"No," she said.' if n % 3 else " ".join(random.Random(n).choices(WORDS, k=90)) for n in range(90))


@pytest.mark.parametrize(("text", "unit"), [
    (speeches(40), "whole"), (WRAPPED, "whole"), (NOVEL, "whole"), (STORY, "whole"), (POEMS, "paragraphs"),
    ("\n".join(["emma", "olivia", "ava"] * 20), "lines"), ("\n".join(["他来了。", "今天天气很好！"] * 20), "lines"),
])  # fmt: skip
def test_the_form_of_a_text_is_seen(text, unit):
    assert detect_unit(text, markdown=False)[0] == unit


def test_chinese_chapters_are_counted():
    names = [f"第{number}回.txt" for number in ("一", "二", "九", "十", "十一", "二十", "一百零三", "一百二十")]
    assert sorted(sorted(names), key=natural_key) == names


# -- lines that belong together over two files -----------------------------------------------------------------
def pairs(count, start=0):
    english = [f"The house number {start + n} is red." for n in range(count)]
    return english, [f"第{start + n}号房子是红色的。" for n in range(count)]


def write_pairs(folder, names, sides, encodings=("utf-8", "utf-8")):
    for name, side, encoding in zip(names, sides, encodings, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = ("\n".join(side) + "\n").encode(encoding)
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


@pytest.mark.parametrize("names", [
    ("train.en", "train.zh"), ("corpus.en.txt", "corpus.zh.txt"), ("news.en-zh.en.gz", "news.en-zh.zh.gz"), ("en.txt", "zh_CN.txt"),
    ("en/all.txt", "zh/all.txt"), ("eng_Latn.dev", "zho_Hans.dev"), ("src-train.txt", "tgt-train.txt"),
])  # fmt: skip
def test_files_that_differ_in_their_language_are_pairs_by_line(names, studio, folder):
    write_pairs(folder, names, pairs(20), ("utf-8", "gb18030"))
    rows = added(studio, folder).rows()
    made = {pair for split in rows for pair in zip(rows[split]["source"], rows[split]["target"], strict=True)}
    assert made == set(zip(*pairs(20), strict=True))


def test_pairs_of_an_archive_have_the_splits_of_their_names(studio, folder):
    with zipfile.ZipFile(folder / "corpus.zip", "w") as archive:
        for start, (name, count) in enumerate({"train": 30, "dev": 4, "test2016": 5}.items()):
            for side, language in zip(pairs(count, 100 * start), ("en", "zh"), strict=True):
                archive.writestr(f"corpus/{name}.{language}", "\n".join(side))
        archive.writestr("corpus/test2016.fr", "Bonjour\n" * 5)
        archive.writestr("corpus/README.md", "# Ours")
    rows = added(studio, folder / "corpus.zip").rows()
    assert {split: len(part) for split, part in rows.items()} == {"train": 30, "validation": 4, "test": 5}


def test_unequal_numbers_of_lines_are_said_and_refused(studio, folder):
    english, chinese = pairs(20)
    write_pairs(folder, ("train.en", "train.zh"), (english, chinese[:-2]))
    with pytest.raises(Refusal) as refused:
        added(studio, folder)
    assert "train.en has 20, train.zh has 18" in refused.value.say("en")


def test_a_line_that_is_empty_on_one_side_is_set_aside(studio, folder):
    english, chinese = pairs(20)
    english[3], chinese[7], english[9], chinese[9] = "", " ", "", ""
    write_pairs(folder, ("train.en", "train.zh"), (english, [*chinese, "", ""]))
    dataset = added(studio, folder)
    aside = [entry["row"] for entry in studio.data.rejected_rows(dataset.name)]
    assert aside == [4, 8] and sum(map(len, dataset.rows().values())) == 17


def test_folders_of_languages_with_many_files_are_classes(studio, folder):
    for language, side in zip(("en", "zh"), pairs(12), strict=True):
        write_pairs(folder, [f"{language}/{n}.txt" for n in range(12)], [[line] for line in side], ["utf-8"] * 12)
    assert added(studio, folder).columns["label"].names == ("en", "zh")


# -- columns ---------------------------------------------------------------------------------------------------
def looked_at(studio, name, data):
    return studio.imports.preview(studio.imports.receive(name, [data.encode()]).id)


@pytest.mark.parametrize("column", ["para", "paragraphs", "content", "stanza"])
def test_lists_of_lines_are_the_text_and_no_title_is(column, studio):
    poems = [{"title": f"无题其{n}", "author": "某人", column: [f"春风第{n}度，", f"{n}里花开。"]} for n in range(20)]
    preview = looked_at(studio, "poems.json", json.dumps(poems, ensure_ascii=False))
    assert preview.plan.roles == {"text": column}
    assert preview.preview[3]["text"] == "春风第3度，\n3里花开。"


TOPICS = [
    "apples",
    "the river",
    "a red house",
    "my old friend",
    "this winter",
    "the law",
    "good bread",
    "music",
    "rain",
    "maps",
]


@pytest.mark.parametrize(("pairs_of_columns", "roles"), [
    ([(f"What is {topic}?", f"{topic.capitalize()} is a thing that people have known for long.") for topic in TOPICS], "question"),
    ([(f"你喜欢{n}号房子吗", f"我很喜欢{n}号房子，因为那里很安静。") for n in range(10)], "question"),
    ([(f"I see {topic}.", f"Я вижу {topic.translate(str.maketrans('aeiotrmnpsbdhlugwkyvcf', 'аеиотрмнпсбдхлугвкыфцф'))}.")
      for topic in TOPICS], "source"),
    ([(f"I like {topic} a lot.", f"我很喜欢{'这个' * (len(topic) // 3)}东西。") for topic in TOPICS], "source"),
])  # fmt: skip
def test_two_columns_without_names_are_seen_as_what_they_are(pairs_of_columns, roles, studio):
    preview = looked_at(studio, "mine.tsv", "\n".join("\t".join(pair) for pair in pairs_of_columns))
    assert preview.plan.roles == (
        {"question": "1", "answer": "2"} if roles == "question" else {"source": "1", "target": "2"}
    )


@pytest.mark.parametrize(("name", "title", "slug"), [
    ("红楼梦.txt", "红楼梦", "红楼梦"), ("Ärger & Café.csv.gz", "Ärger & Café", "arger-cafe"), ("отзывы 1.csv", "отзывы 1", "отзывы-1"),
])  # fmt: skip
def test_a_data_set_bears_its_file_s_name(name, title, slug, studio, folder):
    (folder / name.removesuffix(".gz")).write_text(speeches(100))
    dataset = added(studio, folder / name.removesuffix(".gz"), format="text", unit="whole")
    assert default_title(name) == dataset.title == title and dataset.name.startswith(f"{slug}@")


# -- several files, and the page -------------------------------------------------------------------------------
def test_several_files_are_brought_together(studio, folder):
    write_pairs(folder, ("train.en", "train.zh"), pairs(20))
    upload = studio.imports.add_paths([str(folder / "train.en"), str(folder / "train.zh")], trusted=True)
    job = studio.imports.begin(upload.id, studio.imports.preview(upload.id).plan, wait=True)
    dataset = catalog.dataset(job.outcome())
    assert dataset.title == "train" and set(dataset.columns) == {"source", "target"}
    assert studio.imports.check_original(dataset.name)


def test_several_files_from_a_browser_are_one_folder(studio):
    sides = {"corpus.en": pairs(20)[0], "corpus.zh": pairs(20)[1]}
    ids = [studio.imports.receive(name, ["\n".join(side).encode()]).id for name, side in sides.items()]
    upload = studio.imports.combine_uploads(ids)
    assert studio.imports.preview(upload.id).plan.format == "parallel"
    with pytest.raises(Refusal):
        studio.imports.uploaded_file(ids[0])


def test_the_form_of_a_text_is_proposed_on_the_page_and_can_be_changed(home):
    upload = state.studio().imports.receive("play.txt", [speeches(100).encode()])
    app = visit("data", parcel=upload.id)
    form = next(box for box in app.selectbox if box.label == "A row is")
    assert form.value == "whole" and any("End of the text" in slider.label for slider in app.slider)
    form.set_value("paragraphs").run()
    assert not app.exception and any("Rows for validation" in slider.label for slider in app.slider)
    leave()


def test_a_readme_beside_two_chapters_of_an_archive_is_no_chapter(studio, folder):
    with zipfile.ZipFile(folder / "novel.zip", "w") as archive:
        for number in ("二", "一"):
            archive.writestr(f"第{number}回.txt", f"第{number}回\n{speeches(20)}")
        archive.writestr("README.md", "# A novel")
    rows = added(studio, folder / "novel.zip").rows()
    text = "".join("".join(rows[split]["text"]) for split in ("train", "validation", "test"))
    assert text == f"第一回\n{speeches(20)}第二回\n{speeches(20)}"
