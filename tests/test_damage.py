"""One run's damage stays its own; a full disk and a home folder that has gone are said in words."""

import errno
import json
import os
import time

import pytest
from conftest import digits, wait_for
from streamlit.testing.v1 import AppTest

from bigmodel.cli import runs as run_verbs
from bigmodel.cli.command import main
from bigmodel.core import checked_json, disk_space, events, files
from bigmodel.core.errors import Refusal
from bigmodel.core.events import Event
from bigmodel.core.words import Words
from bigmodel.runs import folder
from bigmodel.studio import Studio
from bigmodel.training import checkpoint

GARBAGE = [
    b"[1]", b'{"kind":"step","time":"x","step":7,"loss":1.0}', b"[" * 100_000, b"\x00" * 40, b"\xff\xfe\x00", b"{}",
    b'{"kind":"step","time":1,"step":true,"loss":1}', b'{"kind":"step","time":1,"step":1e999,"loss":1}',
    b'{"kind":"step","time":1,"step":' + b"9" * 400 + b',"loss":1}', b'{"kind":"note","time":1,"words":{"text":"\\ud800"}}',
    b'{"kind":"note","time":1,"words":{"text":"{a:>999999999999}","values":{"a":1}}}',
    b'{"kind":"phase","time":1,"words":{"text":"{a.__class__}","values":{"a":1}}}',
    b'{"kind":"plan","time":1,"steps":"many"}', b'{"kind":{"number":[1]},"time":1}', b"\xed\xa0\x80", b"null", b"NaN",
]  # fmt: skip


@pytest.fixture
def studio(home):
    return Studio(home)


@pytest.mark.parametrize("line", GARBAGE, ids=range(len(GARBAGE)))
def test_a_line_that_is_no_event_is_set_aside_and_counted(studio, line):
    id, other = studio.runs.launch(digits("mine")), studio.runs.launch(digits("another"))
    story = studio.runs.folder(id)
    with story.events_file.open("ab") as file:
        file.write(line + b"\n" + line + b"\n")
    story.append(Event("step", {"step": 3, "epoch": 0.1, "loss": 1.5, "seconds": 1.0}))
    assert (studio.runs.get(id).damaged, studio.runs.get(id).step, studio.runs.get(id).state) == (2, 3, "queued")
    assert [run.id for run in studio.runs.all()] == [other, id] and studio.runs.get(other).damaged == 0


def test_the_first_line_of_a_story_may_be_the_damaged_one(studio):
    id = studio.runs.launch(digits())
    story = studio.runs.folder(id)
    story.events_file.write_bytes(b"\x00\n")
    for state in ("starting", "running"):
        story.append(Event("state", {"state": state}))
    assert (studio.runs.get(id).state, studio.runs.get(id).damaged) == ("running", 1)


def test_a_story_of_garbage_alone_is_read_once(studio):
    id = studio.runs.launch(digits())
    story = studio.runs.folder(id)
    story.events_file.write_bytes(b"x\n" * 10_000)
    assert [(at, event["lines"]) for at, event in story.events()] == [(20_000, 10_000)]
    assert studio.runs.damaged() == [id]


def test_each_kind_of_event_that_is_written_has_the_fields_of_its_kind(studio):
    home = os.path.join(os.path.dirname(__file__), "corpus", "home", "runs")
    told = set()
    for run in os.listdir(home):
        for _at, event in folder.Folder(studio.home.__class__(home) / run).events():
            told.add(event.kind)
    assert events.DAMAGED not in told and {"state", "plan", "step", "validation", "sample", "checkpoint"} <= told


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "null",
        "[" * 100_000,
        "",
        '{"task": 1}',
        '{"settings": "x"}',
        '{"settings": {"epochs": "many"}}',
        '{"parent": 5}',
    ],
)
def test_a_spec_of_garbage_is_left_out_and_said(studio, text, capsys):
    id, other = studio.runs.launch(digits("mine")), studio.runs.launch(digits("another"))
    file = studio.runs.folder(id).spec_file
    try:
        changed = json.loads(file.read_text()) | json.loads(text)
        changed["settings"] = json.loads(text).get("settings", changed["settings"])
        file.write_text(json.dumps(changed))
    except (ValueError, RecursionError, TypeError):
        file.write_text(text)
    assert [run.id for run in studio.runs.all()] == [other] and studio.runs.damaged() == [id]
    assert main(["runs"]) == 0 and main(["show", id]) == 1
    shown = capsys.readouterr()
    assert other in shown.out and f"1 runs cannot be read and are left out: {id}" in shown.err
    assert "bigmodel itself" not in shown.err and "Traceback" not in shown.err
    studio.runs.delete(id)
    assert studio.runs.damaged() == []


def test_words_are_checked_before_they_are_said():
    assert checked_json.is_words(Words("a {b}", (("b", Words("c")),)).to_json()) and checked_json.is_words("plain")
    for bad in ({"text": 1}, {"text": "{a}", "values": {"b": 1}}, {"text": "{a!r:>99}", "values": {"a": 1}}, {}, 7,
                {"text": "x", "values": []}, {"text": "{", "values": {"a": 1}}, {"text": "x", "values": {"a": {}}}):  # fmt: skip
        assert not checked_json.is_words(bad)


def test_a_manifest_names_no_file_outside_its_folder(tmp_path):
    (tmp_path / "secret").write_text("s")
    saved = checkpoint.save(tmp_path / "step-1", lambda staging: (staging / "a").write_text("a"))
    entry = json.loads((saved / checkpoint.MANIFEST).read_text())["a"]
    for name in ("../secret", str(tmp_path / "secret"), "/dev/zero"):
        (saved / checkpoint.MANIFEST).write_text(json.dumps({name: entry | {"bytes": 0}}))
        assert not checkpoint.verify(saved)
    for text in ("[]", "null", '{"a": 1}', '{"a": {"bytes": "1", "sha256": 2}}', "[" * 100_000):
        (saved / checkpoint.MANIFEST).write_text(text)
        assert not checkpoint.verify(saved) and not checkpoint.verify_file(saved / "a")


# -- a full disk -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("words", [["data", "add", "r.csv"], ["train", "--task", "image-classification", "--architecture",
                                    "cnn", "--dataset", "digits"]], ids=["data add", "train"])  # fmt: skip
def test_a_full_disk_is_said_and_shows_no_traceback(home, words, monkeypatch, capsys, tmp_path):
    (tmp_path / "r.csv").write_text("text,label\na,b\n")
    monkeypatch.chdir(tmp_path)

    def full(*_args, **_more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "make_folder", full)
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "The disk is full" in said and "Free some space" in said and "Traceback" not in said


def test_a_log_on_a_full_disk_ends_nobody(monkeypatch, capfd):
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    disk_space.tolerate_full_log()
    print("lost", file=os.sys.stderr, flush=True)


# -- a home folder that has gone ---------------------------------------------------------------------------
def test_a_home_renamed_under_a_server_is_noticed_and_not_made_anew(tmp_path, monkeypatch):
    home, away = tmp_path / "home", tmp_path / "away"
    monkeypatch.setenv("BIGMODEL_PREFETCH", "0")
    studio = Studio(home)
    studio.serve()
    try:
        id = studio.runs.launch(digits())
        studio.runs.stop(id)
        home.rename(away)
        for change in (lambda: studio.runs.launch(digits()), lambda: studio.imports.paste("text\na\n"),
                       lambda: studio.runs.get(id)):  # fmt: skip
            with pytest.raises(Refusal, match="not there any more"):
                change()
        assert studio.read_only and studio.runs.all() == [] and "moved" in str(studio.home_lost)
        with pytest.raises(FileNotFoundError):
            files.make_folder(home / "cache" / "encoded")
        deadline = time.monotonic() + 1.0
        wait_for(lambda: time.monotonic() > deadline)  # some rounds of the supervisor
        assert not home.exists()
        home.mkdir()
        assert studio.home_lost, "another folder of that name is not it"
        home.rmdir()
        away.rename(home)
        assert studio.home_lost is None and studio.runs.get(id).state == "cancelled"
    finally:
        studio.close()


def test_pages_say_that_the_home_has_gone(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("BIGMODEL_HOME", str(home))
    Studio(home)
    from test_pages import MAIN

    app = AppTest.from_file(str(MAIN), default_timeout=240).run()
    assert not app.exception
    home.rename(tmp_path / "away")
    app.run()
    assert not app.exception and any("not there any more" in error.proto.title + error.value for error in app.error)
    assert not home.exists()


def test_the_help_of_a_run_says_what_was_set_aside(studio, capsys):
    id = studio.runs.launch(digits())
    with studio.runs.folder(id).events_file.open("ab") as file:
        file.write(b"[1]\n")
    assert main(["show", id, "--language", "zh"]) == 0
    assert "1 行" in capsys.readouterr().err and run_verbs.STATES
