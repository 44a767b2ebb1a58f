"""Data that people bring: recognised by content, read in a process of its own, kept in versions, learnt from."""

import errno
import gzip
import json
import os
import random
import re
import shutil
import time
from pathlib import Path

import pyarrow.parquet
import pytest
from conftest import HANG, wait_for

from bigmodel.core import catalog, jobs, limits
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, say
from bigmodel.data.sandbox import run_in_sandbox
from bigmodel.importing import column_roles, sandbox_worker
from bigmodel.importing.detect_format import detect_encoding
from bigmodel.importing.formats.header import has_header
from bigmodel.importing.import_plan import split_in_name
from bigmodel.importing.store import originals
from bigmodel.importing.store.parquet_writer import read_jsonl
from bigmodel.importing.store.registry import default_title, slugify
from bigmodel.studio import Studio
from tests.corpus import bad_files

EXPECTED = Path(bad_files.__file__).with_suffix(".json")
WORDS = [
    "the",
    "film",
    "was",
    "good",
    "bad",
    "great",
    "awful",
    "story",
    "acting",
    "plot",
    "boring",
    "nice",
    "really",
    "very",
    "much",
]


@pytest.fixture
def studio(home):
    one = Studio(home)
    yield one
    one.close()


def reviews(rows=60, bad=0):
    chance = random.Random(1)
    lines = [f'"{" ".join(chance.choices(WORDS, k=9))}",{chance.choice(["good", "bad"])}' for _ in range(rows)]
    return ("review,stars\n" + "\n".join(lines + ["broken"] * bad) + "\n").encode()


def bring(studio, name, data, **corrected):
    """A file from the upload to the shelf; the data set."""
    parcel = studio.imports.receive(name, [data])
    job = studio.imports.begin(parcel.id, studio.imports.preview(parcel.id, corrected).plan, wait=True)
    if job.refusal:
        raise job.refusal
    return catalog.dataset(job.name)


def placed(studio, folder, files, **corrected):
    """A folder of this machine from its path to the shelf; the data set."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    parcel = studio.imports.add_path(str(folder), trusted=True)
    job = studio.imports.begin(parcel.id, studio.imports.preview(parcel.id, corrected).plan, wait=True)
    if job.refusal:
        raise job.refusal
    return catalog.dataset(job.name)


def found_in(studio, name, data, **corrected):
    return studio.imports.preview(studio.imports.receive(name, [data]).id, corrected)


def trained(studio, task, architecture, dataset, **settings):
    spec = {"task": task, "architecture": architecture, "dataset": dataset.name}
    known = RunSpec.check(spec).settings
    small = {"epochs": 1, "max_steps": 3, "batch_size": 8, "width": 32, "layers": 1, "attention_heads": 2, "block_size": 16,
             "vocabulary": 400, "channels": 4, "sentence_length": 16, "precision": "fp32"} | settings  # fmt: skip
    studio.serve()
    run = studio.runs.launch(spec | {"settings": {name: value for name, value in small.items() if name in known}})
    wait_for(lambda: studio.runs.get(run).has_ended)
    return studio.runs.get(run)


# -- from a file to a model --------------------------------------------------------------------------------
def test_a_stranger_s_table_becomes_a_model_that_answers(studio):
    dataset = bring(studio, "My Reviews (1).csv", reviews())
    run = trained(studio, "text-generation", "gpt", dataset)
    assert run.state == "finished", run.error
    assert run.spec.dataset == dataset.name and "@" in dataset.name
    assert studio.models.examples(run.id)[0]["prompt"]
    assert list(studio.models.ask(run.id, {"prompt": "the film", "max_new_tokens": 3}))[-1].done


@pytest.mark.parametrize("sides", [(20, 23), (300, 340)])
def test_a_stranger_s_pictures_become_a_model(studio, sides):
    shown = {f"{'cats' if n % 2 else 'dogs'}/{n}.png": bad_files.picture(n, side=sides[n % 2]) for n in range(40)}
    dataset = bring(studio, "pets.zip", bad_files.archive(shown))
    assert dataset.columns["label"].names == ("cats", "dogs")
    run = trained(studio, "image-classification", "cnn", dataset)
    assert run.state == "finished", run.error


def test_a_stranger_s_memory_of_translations_becomes_a_model(studio):
    pairs = [(f"Open file {n} of {n % 7}", f"打开第 {n} 个文件，共 {n % 7} 个") for n in range(60)]
    dataset = bring(studio, "mine.tmx", bad_files.tmx(pairs))
    assert trained(studio, "translation", "transformer", dataset).state == "finished"


# -- recognised --------------------------------------------------------------------------------------------
def test_text_is_no_part_of_context():
    made = [
        column_roles.column_stats(name, values)
        for name, values in (("context", ["a b c"] * 3), ("Review_Text", ["d"] * 3))
    ]
    assert [column_roles.name_matches(one, "text") for one in made] == [False, True]


def test_the_longest_texts_are_the_text_and_the_few_values_the_class():
    rows = [{"id": str(n), "body of it": f"a longer sentence number {n}", "mood": "ab"[n % 2]} for n in range(40)]
    columns = [column_roles.column_stats(name, [row[name] for row in rows]) for name in rows[0]]
    chosen, split, _why = column_roles.choose(columns)
    assert chosen == {"text": "body of it", "label": "mood"} and not split


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "big5", "utf-16", "utf-8-sig"])
def test_chinese_is_read_in_every_encoding_it_comes_in(encoding, studio):
    texts = [
        f"這個電影的情節很好看{n}了的我" if encoding == "big5" else f"这个电影的情节很好看{n}了的我" for n in range(20)
    ]
    dataset = bring(studio, "a.csv", ("text\n" + "\n".join(texts) + "\n").encode(encoding), delimiter="")
    assert {row["text"] for row in studio.data.peek(dataset.name)} <= set(texts)


def test_latin_letters_of_an_old_encoding_are_told_from_utf_8():
    assert detect_encoding("été à la plage, très agréable\n".encode("latin-1") * 20)[0] in (
        "cp1252",
        "iso8859-1",
        "iso8859_1",
    )


@pytest.mark.parametrize(
    ("first", "header"), [(["text", "label"], True), (["it was good", "1"], False), (["Kommentar", "Note"], True)]
)
def test_a_first_row_of_data_is_no_header(first, header):
    rows = [first] + [["and so it went on for a while", str(n)] for n in range(10)]
    assert has_header(rows, 2) == header


def test_an_encoding_that_shows_late_is_seen(studio):
    plain = b"".join(b"a plain line number %d,good\n" % n for n in range(60_000))
    late = "".join(f"这个电影的情节我很喜欢{n}，好看的,bad\n" for n in range(60)).encode("gb18030")
    dataset = bring(studio, "late.csv", b"text,label\n" + plain + late)
    assert len(plain) > 2**20 and dataset.version.manifest["plan"]["encoding"] == "gb18030"
    assert dataset.version.manifest["aside"] == 0


@pytest.mark.parametrize("whole", [bad_files.tmx, bad_files.xliff])
def test_xml_is_known_by_its_first_element_however_late_it_comes(studio, whole):
    prolog, _, _rest = whole().rpartition(b"<tmx" if whole is bad_files.tmx else b"<xliff")
    remark = b"<!-- exported by a tool that has much to say -->\n" * 100
    found = found_in(studio, "a.xml", prolog + remark + whole()[len(prolog) :])
    assert found.plan.format in ("tmx", "xliff") and found.preview


def test_codes_of_a_translators_file_are_no_text(studio):
    bold = '<bpt i="1">&lt;b&gt;</bpt>Open<ept i="1">&lt;/b&gt;</ept> <ph>%s</ph>file <hi>now</hi>'
    found = found_in(studio, "a.tmx", bad_files.tmx([(bold, "立即打开文件"), *bad_files.PAIRS]))
    assert found.preview[0]["source"] == "Open file now"


# -- which rows are for training ---------------------------------------------------------------------------
def parted(*parts):
    lines = [f"{row},{parts[number % len(parts)]}" for number, row in enumerate(reviews().decode().splitlines()[1:])]
    return ("review,stars,set\n" + "\n".join(lines) + "\n").encode()


def test_a_column_of_parts_without_training_rows_is_not_obeyed(studio):
    found = found_in(studio, "r.csv", parted("test"))
    assert found.plan.split == "" and any("cut anew" in str(one) for one in found.evidence)
    assert bring(studio, "r.csv", parted("test")).version.manifest["rows"]["train"] > 40


def test_whoever_insists_on_a_column_without_training_rows_is_told_where_to_choose(studio):
    with pytest.raises(Refusal, match="for training") as refused:
        bring(studio, "r.csv", parted("test"), split="set")
    assert refused.value.field == "split"


@pytest.mark.parametrize(
    ("name", "part"),
    [("train-00000-of-00002.parquet", "train"), ("test_sft", "test"), ("data/dev/1", "validation"), ("trainer", "")],
)
def test_a_part_is_known_by_a_word_of_a_name(name, part):
    assert split_in_name(name) == part


def test_a_column_of_parts_that_is_not_there_is_refused(studio):
    with pytest.raises(Refusal, match="no column named fold"):
        found_in(studio, "r.csv", parted("train", "test"), split="fold")


def painted(*folders):
    return {
        f"{folder}/{n}.png": bad_files.picture(10 * index + n) for index, folder in enumerate(folders) for n in range(8)
    }


def test_folders_named_as_parts_are_the_parts(studio):
    shown = painted("pets/train/cats", "pets/train/dogs", "pets/test/cats", "pets/test/dogs")
    dataset = bring(studio, "pets.zip", bad_files.archive(shown))
    assert dataset.columns["label"].names == ("cats", "dogs")
    assert dataset.version.manifest["rows"]["test"] == 16


def test_parts_may_lie_below_the_classes(studio, tmp_path):
    dataset = placed(studio, tmp_path / "pets", painted("cats/train", "cats/test", "dogs/train", "dogs/test"))
    assert dataset.columns["label"].names == ("cats", "dogs")
    assert dataset.version.manifest["rows"]["test"] == 16


def test_a_class_is_the_folder_that_tells_pictures_apart(studio):
    dataset = bring(studio, "pets.zip", bad_files.archive(painted("cats/2020", "dogs/2020")))
    assert dataset.columns["label"].names == ("cats", "dogs")


def test_another_level_of_folders_can_be_the_class(studio):
    roles = {"image": "picture", "label": "folder 1"}
    shown = painted("cats/2020", "cats/2021", "dogs/2021")
    assert bring(studio, "pets.zip", bad_files.archive(shown)).columns["label"].names == ("2020", "2021")
    dataset = bring(studio, "pets.zip", bad_files.archive(shown), roles=roles)
    assert dataset.columns["label"].names == ("cats", "dogs")


def test_texts_in_folders_have_their_parts_and_classes(studio, tmp_path):
    files = {f"{part}/{mood}/{n}.txt": f"a {mood} text for {part} {n}".encode()
             for part in ("train", "test") for mood in ("neg", "pos") for n in range(9)}  # fmt: skip
    dataset = placed(studio, tmp_path / "films", files)
    assert dataset.columns["label"].names == ("neg", "pos") and dataset.version.manifest["rows"]["test"] == 18


# -- tables in several files -------------------------------------------------------------------------------
def shard(first, rows=20):
    texts = [f"a text with the number {n}" for n in range(first, first + rows)]
    return {"text": texts, "label": [f"class {n % 2}" for n in range(rows)]}


def test_shards_are_read_together_and_keep_the_parts_of_their_names(studio, tmp_path):
    files = {
        "data/test-00000-of-00001.parquet": bad_files.parquet(shard(100)),
        "data/train-00000-of-00002.parquet": bad_files.parquet(shard(0)),
        "data/train-00001-of-00002.parquet": bad_files.parquet(shard(50)),
        "README.md": b"# About",
        "dataset_infos.json": b"[]",
    }
    dataset = placed(studio, tmp_path / "shards", files)
    rows = dataset.version.manifest["rows"]
    assert rows["test"] == 20 and sum(rows.values()) == 60
    assert any("dataset_infos" in str(one) for one in studio.imports.preview(
        studio.imports.add_path(str(tmp_path / "shards"), trusted=True).id).evidence)  # fmt: skip


@pytest.mark.parametrize("name", ["{n}.csv", "{n}.jsonl", "{n}.jsonl.gz", "{n}.json"])
def test_every_row_of_every_table_of_a_folder_has_a_number_of_its_own(studio, tmp_path, name):
    write = {"csv": bad_files.csv, "jsonl": bad_files.jsonl, "json": bad_files.json_list}[name.split(".")[1]]
    broken = b"" if name.endswith("json") else b"broken\n"
    pack = gzip.compress if name.endswith(".gz") else bytes
    files = {name.format(n=n): pack(write([(f"{text} {n}", label) for text, label in bad_files.REVIEWS]) + broken)
             for n in range(3)}  # fmt: skip
    dataset = placed(studio, tmp_path / "tables", files)
    manifest = dataset.version.manifest
    assert sum(manifest["rows"].values()) == 24 and manifest["aside"] == (3 if broken else 0)
    numbers = [row["row"] for row in pyarrow.parquet.read_table(dataset.path()).to_pylist()]
    numbers += [row["row"] for row in studio.data.rejected_rows(dataset.name)]
    assert len(set(numbers)) == len(numbers)


# -- nothing is lost ---------------------------------------------------------------------------------------
def test_rows_that_cannot_be_read_are_set_aside_with_number_and_reason(studio):
    dataset = bring(studio, "r.csv", reviews(60, bad=2))
    manifest = dataset.version.manifest
    assert sum(manifest["rows"].values()) == 60 and manifest["aside"] == 2
    aside = studio.data.rejected_rows(dataset.name)
    assert [row["row"] for row in aside] == [62, 63] and aside[0]["raw"] == "broken"
    assert say(Words.from_json(aside[0]["reason"]), "zh") == "有 1 个字段，应为 2 个。"


def test_labels_without_a_picture_are_set_aside(studio):
    shown = {f"{n}.png": bad_files.picture(n) for n in range(10)}
    lines = [f"{n}.png,{'odd' if n % 2 else 'even'}" for n in range(10)]
    labels = "\n".join(["file,class", *lines, "gone.png,odd", "3.png,even", "a,b,c"]).encode()
    dataset = bring(studio, "labels.zip", bad_files.archive({**shown, "labels.csv": labels}))
    assert sum(dataset.version.manifest["rows"].values()) == 10
    aside = studio.data.rejected_rows(dataset.name)
    assert [row["row"] for row in aside] == [12, 13, 14] and all("labels.csv" in str(row["reason"]) for row in aside)


def test_a_mended_row_is_taken_in_as_a_new_version(studio):
    old = bring(studio, "r.csv", reviews(60, bad=2))
    new = catalog.dataset(studio.versions.derive(old.name, [{"mend": {62: {"text": "mended", "label": "good"}}}]))
    assert sum(new.version.manifest["rows"].values()) == 61 and new.version.manifest["aside"] == 1
    assert "mended" in {row["text"] for row in studio.data.peek(new.name)}
    assert "mended" not in {row["text"] for row in studio.data.peek(old.name)}


def test_the_original_is_kept_as_it_came(studio):
    data = reviews(60, bad=1)
    dataset = bring(studio, "r.csv", data)
    (kept,) = (dataset.version.folder.parents[1] / "original").glob("file*")
    assert kept.read_bytes() == data


def by_path(studio, path, wait=True, **stated):
    """The same of a file or folder that stays where it is."""
    parcel = studio.imports.add_path(str(path), trusted=True)
    job = studio.imports.begin(parcel.id, studio.imports.preview(parcel.id).plan, wait=wait, **stated)
    if job.refusal:
        raise job.refusal
    return catalog.dataset(job.name) if wait else job


def no_links(*_names, **_options):
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_the_original_of_a_path_is_a_second_name_for_the_same_bytes(studio, tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(reviews(60, bad=1))
    dataset = by_path(studio, path)
    original = studio.data.original(dataset.name)
    assert original.storage == originals.LINKED and os.path.samefile(original.path, path)
    path.unlink()
    assert original.path.read_bytes() == reviews(60, bad=1) and studio.imports.check_original(dataset.name)
    with original.path.open("ab") as file:
        file.write(b"more\n")
    assert not studio.imports.check_original(dataset.name)


def test_the_original_of_a_path_is_copied_where_it_cannot_be_linked(studio, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "r.csv").write_bytes(reviews())
    dataset = by_path(studio, tmp_path / "r.csv")
    original = studio.data.original(dataset.name)
    assert original.storage == originals.COPIED and original.path.read_bytes() == reviews()
    (tmp_path / "r.csv").write_bytes(b"something else")
    assert studio.imports.check_original(dataset.name)


def test_an_original_that_is_too_large_to_be_copied_is_said_to_stay_where_it_is(studio, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(limits, "ORIGINAL_BYTES", 100)
    (tmp_path / "r.csv").write_bytes(reviews())
    original = studio.data.original(by_path(studio, tmp_path / "r.csv").name)
    assert (
        original.storage == originals.LEFT_IN_PLACE
        and original.path == tmp_path / "r.csv"
        and "not copied" in str(original.not_kept_reason)
    )


def test_the_original_of_a_folder_is_every_file_of_it(studio, tmp_path):
    for number in range(20):
        file = tmp_path / "pets" / ("cats" if number % 2 else "dogs") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bad_files.picture(number))
    dataset = by_path(studio, tmp_path / "pets")
    shutil.rmtree(tmp_path / "pets")
    assert len(list(studio.data.original(dataset.name).path.glob("*/*.png"))) == 20 and studio.imports.check_original(
        dataset.name
    )


def test_a_file_that_is_written_to_while_it_is_read_is_refused(studio, tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(reviews(300_000))
    job = by_path(studio, path, wait=False)
    wait_for(lambda: job.progress.get("rows"))
    with path.open("ab") as file:
        file.write(b"one more,good\n")
    wait_for(lambda: job.state != jobs.RUNNING)
    assert job.state == jobs.FAILED and "was changed while it was being read" in str(job.refusal)
    assert not list(studio.data.registry.values())


def test_a_quote_that_is_never_closed_costs_one_row(studio):
    data = reviews(30) + b'"never closed,good\n' + reviews(30)[13:]
    manifest = bring(studio, "r.csv", data).version.manifest
    assert sum(manifest["rows"].values()) == 60 and manifest["aside"] == 1


# -- versions ----------------------------------------------------------------------------------------------
def test_the_same_steps_on_the_same_source_have_the_same_hash(studio, tmp_path):
    other = Studio(tmp_path / "other")
    steps = [{"drop": [3]}, {"edit": {4: {"label": "so so"}}}, {"about": {"licence": "CC0-1.0"}}]
    names = []
    for one in (studio, other):
        parcel = one.imports.receive(f"{len(names)}.csv", [reviews()])
        job = one.imports.begin(parcel.id, one.imports.preview(parcel.id).plan, title="same", wait=True)
        names.append(one.versions.derive(job.name, steps))
    assert names[0] == names[1]


def test_a_step_changes_the_new_version_and_never_the_old(studio):
    old = bring(studio, "r.csv", reviews())
    before = old.path().read_bytes()
    new = catalog.dataset(studio.versions.derive(old.name, [{"drop": [2, 3]}, {"edit": {"4": {"label": "so so"}}}]))
    assert sum(new.version.manifest["rows"].values()) == 58 and "so so" in new.columns["label"].names
    assert old.path().read_bytes() == before and catalog.dataset(new.version.slug).name == new.name
    studio.data.set_newest(old.name)
    assert catalog.dataset(old.version.slug).name == old.name


def test_rows_that_were_changed_on_the_disk_are_not_learnt_from(studio):
    dataset = bring(studio, "r.csv", reviews())
    dataset.path().chmod(0o644)
    dataset.path().write_bytes(dataset.path().read_bytes() + b"x")
    with pytest.raises(Refusal, match="has changed"):
        dataset.rows()


def test_equal_rows_never_stand_in_two_parts(studio):
    data = b"text\n" + b"".join(b"sentence number %d\n" % (n % 50) for n in range(500))
    rows = bring(studio, "r.csv", data, delimiter="").rows()
    parts = [set(rows[split]["text"]) for split in ("train", "validation", "test")]
    assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


@pytest.mark.parametrize(
    "step",
    [
        {"drop": ["x"]},
        {"move": [1]},
        {"drop": [10_000]},
        {"edit": {"2": {"other": "x"}}},
        "drop",
        {"about": {}},
        {"about": {"title": " "}},
        {"about": {"licence": "x" * 101}},
        {"about": {"author": "x"}},
    ],
)
def test_a_step_that_is_none_is_refused(studio, step):
    dataset = bring(studio, "r.csv", reviews())
    with pytest.raises(Refusal):
        studio.versions.derive(dataset.name, [step])
    assert len(studio.data.registry.versions(dataset.version.slug)) == 1


def test_the_same_file_twice_is_one_data_set(studio):
    names = {bring(studio, "r.csv", reviews()).name for _ in range(2)}
    assert len(names) == 1 and len(list(studio.data.registry.values())) == 1


def test_title_and_licence_are_those_of_the_version(studio):
    parcel = studio.imports.receive("r.csv", [reviews(60, bad=2)])
    plan = studio.imports.preview(parcel.id).plan
    old = catalog.dataset(studio.imports.begin(parcel.id, plan, "Reviews", "MIT", wait=True).name)
    assert old.version.manifest["about"]["licence"] == "MIT"
    new = catalog.dataset(studio.versions.derive(old.name, [{"about": {"licence": "CC-BY-4.0"}}]))
    assert (new.title, new.facts.licence) == ("Reviews", "CC-BY-4.0")
    assert catalog.dataset(old.name).facts.licence == "MIT"
    assert new.name != old.name and new.fingerprint() == old.fingerprint()
    assert studio.data.rejected_rows(new.name) == studio.data.rejected_rows(old.name)
    third = catalog.dataset(studio.versions.derive(new.name, [{"drop": [2]}, {"about": {"title": "Fewer reviews"}}]))
    assert (third.title, third.facts.licence) == ("Fewer reviews", "CC-BY-4.0")


def test_the_same_file_with_another_licence_is_the_same_rows_with_that_licence(studio):
    names = []
    for title, licence in (("", "MIT"), ("", "CC0-1.0"), ("", ""), ("Mine", "")):
        parcel = studio.imports.receive("r.csv", [reviews()])
        plan = studio.imports.preview(parcel.id).plan
        names.append(studio.imports.begin(parcel.id, plan, title, licence, wait=True).name)
    found = [(catalog.dataset(name).title, catalog.dataset(name).facts.licence) for name in names]
    assert found == [("r", "MIT"), ("r", "CC0-1.0"), ("r", "CC0-1.0"), ("Mine", "CC0-1.0")]
    assert (
        len(list(studio.data.registry.values())) == 1 and catalog.dataset(names[0].partition("@")[0]).name == names[-1]
    )


def test_what_was_brought_before_versions_said_their_licence_still_says_it(studio):
    dataset = bring(studio, "r.csv", reviews())
    manifest = dataset.version.folder / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(
        json.dumps({name: value for name, value in dataset.version.manifest.items() if name != "about"})
    )
    studio.imports.registry.write_about(dataset.version.slug, title="Of old", licence="MIT")
    assert (catalog.dataset(dataset.name).title, catalog.dataset(dataset.name).facts.licence) == ("Of old", "MIT")
    assert catalog.dataset(studio.versions.derive(dataset.name, [{"drop": [3]}])).facts.licence == "MIT"


def test_a_deleted_data_set_is_gone_and_its_runs_can_be_looked_at(studio):
    dataset = bring(studio, "r.csv", reviews())
    studio.data.delete(dataset.version.slug)
    assert catalog.find_dataset(dataset.name) is None and not list(studio.data.registry.values())


# -- the process -------------------------------------------------------------------------------------------
def test_what_takes_too_much_memory_is_refused_and_the_process_gone(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import bigmodel.core.limits as l; l.CHILD_BYTES = 40 * 2**20\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[1]}")
    (tmp_path / "a.csv").write_bytes(reviews(200_000))
    plan = {"format": "csv", "roles": {"text": "review", "label": "stars"}}
    with pytest.raises(Refusal, match="of memory when it is opened"):
        run_in_sandbox(
            {"do": "import", "path": str(tmp_path / "a.csv"), "plan": plan, "folder": str(tmp_path)},
            seconds=HANG,
            log=tmp_path / "log",
        )


def test_a_reading_that_is_cancelled_leaves_nothing(studio):
    parcel = studio.imports.receive("r.csv", [reviews(300_000)])
    job = studio.imports.begin(parcel.id, studio.imports.preview(parcel.id).plan)
    wait_for(lambda: job.progress.get("rows"))
    studio.imports.cancel(parcel.id)
    wait_for(lambda: job.state == jobs.CANCELLED)
    assert not list(studio.data.registry.values()) and not list((studio.home / "incoming").glob("data-*"))


def test_a_path_outside_the_allowed_folders_is_refused(studio, tmp_path, monkeypatch):
    (tmp_path / "secret.csv").write_bytes(reviews())
    (studio.home / "inbox").mkdir()
    (studio.home / "inbox" / "link.csv").symlink_to("/etc/passwd")
    for path in (
        "/etc/passwd",
        str(studio.home / "inbox" / "link.csv"),
        str(studio.home / "inbox" / ".." / "secret.csv"),
    ):
        with pytest.raises(Refusal):
            studio.imports.add_path(path)
    monkeypatch.setenv("BIGMODEL_DATA_ROOTS", str(tmp_path))
    assert studio.imports.add_path(str(tmp_path / "secret.csv")).path == tmp_path / "secret.csv"


# -- bad input ---------------------------------------------------------------------------------------------
def outcome(name, data, folder):
    """What a person is told of a file, in both languages."""
    (folder / "file").write_bytes(data)
    (folder / "out").mkdir()
    try:
        found = sandbox_worker.preview({"path": str(folder / "file"), "name": name}, None)
        request = {"path": str(folder / "file"), "plan": found["plan"], "folder": str(folder / "out")}
        written = sandbox_worker.import_rows(request, lambda **_: None)
    except Refusal as refusal:
        return {language: refusal.say(language) for language in ("en", "zh")}
    aside = list(read_jsonl(folder / "out" / "aside.jsonl"))
    assert sum(row["count"] for row in aside) == written["aside"]
    return {"rows": sum(written["rows"].values()), "aside": written["aside"]} | {
        language: [say(Words.from_json(row["reason"]), language) for row in aside] for language in ("en", "zh")
    }


def test_there_are_enough_broken_files_and_each_says_what_is_wrong_in_chinese():
    expected = json.loads(EXPECTED.read_text("utf-8"))
    assert set(expected) == set(bad_files.broken()) and len(expected) >= 80
    for name, told in expected.items():
        words = told["zh"] if isinstance(told["zh"], list) else [told["zh"]]
        assert all(any("\u4e00" <= sign <= "\u9fff" for sign in one) for one in words), name


@pytest.mark.parametrize("name", sorted(bad_files.broken()))
def test_a_broken_file_gets_the_message_it_must(name, tmp_path):
    assert outcome(name, bad_files.broken()[name], tmp_path) == json.loads(EXPECTED.read_text("utf-8"))[name]


def test_some_mutated_files_lose_nothing(tmp_path):
    from benchmarks.reliability.bad_input import _bring, mutated
    from benchmarks.reliability.row import Outcome

    chance, found = random.Random(int(time.time())), Outcome()
    for number in range(8):
        name, data = mutated(chance)
        (tmp_path / f"{number}.seed").write_bytes(data)
        _bring(tmp_path / str(number), name, data, found)
    assert not found.failures


def test_hostile_names_touch_nothing(tmp_path):
    from benchmarks.reliability.bad_input import ODD, hostile_names

    assert not hostile_names(len(ODD), tmp_path).failures


@pytest.mark.parametrize("name", ["con", "NUL.csv", "../../x", "数据", "a" * 300, "数" * 300, "\u202egnp.exe", ""])
def test_every_name_becomes_one_that_every_system_allows(name):
    assert re.fullmatch(r"[\w-]{1,50}", slugify(name)) and len(slugify(name).encode()) <= 130
    assert slugify(name) not in ("con", "nul") and default_title(name).isprintable()
