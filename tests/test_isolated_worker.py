"""A model from outside answers in a process of its own: what it breaks is nobody else's answer, and the reason is told."""

import json
import shutil

import pytest

from bigmodel.core.errors import Refusal
from bigmodel.core.model import STARTERS, read_model
from bigmodel.inference import isolated_worker
from bigmodel.inference.client import ModelClient
from bigmodel.studio import Studio

BOMB = {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 400}] * 5}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    one = ModelClient(tmp_path_factory.mktemp("client") / "log")
    yield one
    one.close()


@pytest.fixture
def stranger(tmp_path):
    """The starter that writes poems with other parts of a tokenizer, as a model."""

    def make(**parts):
        folder = shutil.copytree(STARTERS / "poet", tmp_path / "stranger")
        tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer | parts), "utf-8")
        return read_model("base:stranger", folder)

    return make


def ask(client, model, prompt="a poem about a mountain", **options):
    return client.ask(model, {"prompt": prompt, "max_new_tokens": 5}, **options)


def test_a_model_that_aborts_ends_only_its_own_answer(client, stranger):
    poet = read_model("starter:poet", STARTERS / "poet")
    others = client.ask(poet, {"prompt": "明月", "max_new_tokens": 200})
    next(others)
    hostile = stranger(normalizer={"type": "Precompiled", "precompiled_charsmap": "/////w=="})
    with pytest.raises(Refusal) as refused:
        list(ask(client, hostile, from_outside=True))
    assert "of memory" in refused.value.say("en"), "Rust aborts since it cannot have eight gigabytes"
    assert list(others)[-1].done, "whoever asked another model has got the whole answer"


def test_a_model_that_wants_all_memory_gets_its_share_and_the_reason_is_told(client, stranger, monkeypatch):
    monkeypatch.setattr(isolated_worker, "memory_limit", lambda _folder: 2**29)
    with pytest.raises(Refusal, match="memory"):
        list(ask(client, stranger(normalizer=BOMB), from_outside=True))


def test_a_model_that_says_nothing_is_ended_by_the_watchdog_and_the_next_question_starts_anew(
    client, stranger, monkeypatch
):
    model = stranger()
    monkeypatch.setattr(isolated_worker, "SILENCE_SECONDS", 0.0)
    with pytest.raises(Refusal, match="had said nothing"):
        list(ask(client, model, from_outside=True))
    monkeypatch.undo()
    assert list(ask(client, model, from_outside=True))


def test_a_cancelled_answer_stops_and_the_worker_stays(client, stranger):
    model = stranger()
    answer = client.ask(model, {"prompt": "明月", "max_new_tokens": 500}, from_outside=True)
    next(answer)
    process = client.isolated.get(model.folder).process
    answer.close()
    assert list(ask(client, model, from_outside=True)) and client.isolated.get(model.folder).process is process


def test_only_so_many_workers_stay_and_those_that_work_are_not_closed(monkeypatch, tmp_path):
    monkeypatch.setattr(isolated_worker, "MAX_WORKERS", 2)
    workers = isolated_worker.IsolatedWorkers()
    busy = workers.get(tmp_path / "a")
    busy.pending["request"] = (None, None)
    lines = [workers.get(tmp_path / name) for name in ("b", "c")]
    assert workers.get(tmp_path / "a") is busy and workers.get(tmp_path / "c") is lines[1]
    assert workers.get(tmp_path / "b") is not lines[0]


def test_what_came_from_outside_and_what_was_tuned_from_it_is_told_from_ours(home):
    models = Studio(home).models
    assert not models._is_from_outside(models.get("starter:poet"))
    tuned = read_model("run", STARTERS / "poet")
    for base, outside in {"poet": False, "brought": True, "": False}.items():
        tuned.settings["base"] = base
        assert models._is_from_outside(tuned) == outside
