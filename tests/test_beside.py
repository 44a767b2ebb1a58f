"""Base models as a person meets them: looked at, fetched, fine-tuned, and held against what has become of them."""

import json
from dataclasses import replace

import pytest
from conftest import wait_for
from hub_server import Hub
from test_pages import buttons, leave, visit

from bigmodel.base_models import store
from bigmodel.cli import command
from bigmodel.core.errors import Refusal
from bigmodel.core.model import STARTERS
from bigmodel.core.spec import RunSpec
from bigmodel.studio import Studio
from bigmodel.ui import state
from bigmodel.ui.try_it.compare import held_out_metrics

FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
SETTINGS = {"base": "tiny", "method": "lora"}
ABOUT = {
    "step": 3, "metrics": {"loss": 3.0}, "validation": {"loss": 3.1}, "before": {"loss": 9.0}, "parameters": 7, "created": 1,
}  # fmt: skip


@pytest.fixture
def poet():
    """The files of a real small model that writes verse, as somebody would offer them."""
    return {path.name: path.read_bytes() for path in (STARTERS / "poet").iterdir() if path.name in FILES}


@pytest.fixture
def desk(home):
    yield state.studio()
    leave()


@pytest.fixture
def base(home, tmp_path, poet):
    """A base that was brought, named 'tiny'."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name, data in poet.items():
        (folder / name).write_bytes(data)
    return store.import_folder(
        home, folder, [folder], title="Tiny", source="folder: elsewhere", name="tiny", licence="MIT"
    )


@pytest.fixture
def tuned(home, base, desk):
    """A run that says it was fine-tuned from that base; its weights are the base's."""
    spec = RunSpec("text-generation", "pretrained", "prose_zh", SETTINGS)
    return _made(home, base, desk, spec)


def _made(home, base, desk, spec):
    run = desk.runs.launch(RunSpec.check(spec.to_json()))
    model = home / "runs" / run / "model"
    model.mkdir()
    for file in base.folder.iterdir():
        if file.name in FILES:
            (model / file.name).write_bytes(file.read_bytes())
    (model / "bigmodel.json").write_text(json.dumps(ABOUT | {"spec": spec.to_json()}))
    return run


def test_a_fine_tuned_model_stands_beside_its_base_unless_somebody_else_is_chosen(tuned):
    app = visit("try", model=tuned)
    assert not app.exception and not app.error
    assert app.selectbox(f"try.beside.{tuned}").value == "base:tiny" and "beside" not in app.query_params
    app.selectbox(f"try.beside.{tuned}").set_value("none").run()
    assert "none" in app.query_params["beside"]
    app = visit("try", "zh", model=tuned, beside="starter:poet")
    assert not app.exception and app.selectbox(f"try.beside.{tuned}").value == "starter:poet"
    assert len(visit("try", model=tuned, beside="starter:classifier").error) == 1, "it has learnt another task"


def test_both_answer_the_same_question_with_the_same_seed(tuned):
    app = visit("try", model=tuned)
    app.number_input(f"try.{tuned}.max_new_tokens").set_value(5)
    app.button("try.ask").click().run()
    (one,) = app.session_state["rounds"][tuned]
    wait_for(lambda: all(answer.state == "done" for answer in one.answers.values()))
    mine, its = one.answers[tuned].blocks[-1], one.answers["base:tiny"].blocks[-1]
    assert mine.text == its.text and mine.tokens == its.tokens, "the weights are the same here"
    app.selectbox(f"try.beside.{tuned}").set_value("starter:poet").run()
    assert "starter:poet" in one.answers and not app.exception, "who is chosen later answers too"


def test_the_command_line_asks_two_and_refuses_who_has_learnt_something_else(tuned, desk, capsys):
    assert command.main(["try", tuned, "--beside", "base", "--set", "max_new_tokens=3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["beside"]["model"]) == (tuned, "base:tiny")
    assert told["blocks"][-1]["text"] == told["beside"]["blocks"][-1]["text"]
    assert command.main(["try", tuned, "--beside", "starter:classifier", "--language", "en"]) == 1
    assert "has learnt another task" in capsys.readouterr().err
    assert command.main(["try", "poet", "--beside", "base", "--language", "zh"]) == 1
    assert "不是由基础模型微调而来" in capsys.readouterr().err


def test_held_out_figures_are_those_of_the_same_rows(tuned, desk):
    model, base, poet = desk.models.get(tuned), desk.models.base_of(tuned), desk.models.get("starter:poet")
    assert held_out_metrics(model, base) == ({"loss": 3.1}, {"loss": 9.0})
    assert held_out_metrics(base, model) == ({"loss": 9.0}, {"loss": 3.1})
    assert held_out_metrics(model, poet) == ({}, {}), "they were measured on other data"


def test_a_base_without_the_head_says_why_it_cannot_stand_beside(base, desk, home):
    spec = RunSpec("text-classification", "pretrained", "trivia_en", SETTINGS)
    run = _made(home, base, desk, spec)
    with pytest.raises(Refusal, match="no head for the answers of this task"):
        desk.models.base_of(run)
    app = visit("try", model=run)
    assert not app.exception and not app.error
    choice = app.selectbox(f"try.beside.{run}")  # another model of the task is offered instead
    assert (
        choice.value == "none"
        and not any("Its base" in option for option in choice.options)
        and len(choice.options) > 1
    )
    assert any("no head" in text.value for text in app.caption)


def test_a_base_that_has_gone_leaves_the_model_to_be_tried_alone(tuned, desk):
    desk.runs.stop(tuned)
    desk.base_models.delete("tiny")
    app = visit("try", "zh", model=tuned)
    assert not app.exception and not app.error
    assert app.selectbox(f"try.beside.{tuned}").value == "none"


def test_fine_tuning_a_base_leads_to_a_filled_in_form_and_stays_when_the_data_change(base):
    app = visit("models")
    app.button("base.tune.tiny").click().run()
    app = visit("train", base="tiny")
    assert not app.exception and "base" not in app.query_params
    assert app.selectbox("train.text-generation.poetry_zh.pretrained.base").value == "tiny"
    app.selectbox("train.text-generation.poetry_zh.pretrained.base").set_value("poet").run()
    app.session_state["train.dataset.text-generation"] = "prose_zh"
    app.run()
    assert app.selectbox("train.text-generation.prose_zh.pretrained.base").value == "poet"
    assert len(visit("train", "zh", base="nothing").error) == 1


def test_only_networks_that_can_be_begun_with_offer_it(tuned, desk):
    assert all(desk.models.is_tunable(model) for model in desk.models.all())
    reader = replace(desk.models.get(tuned), task="translation")
    assert not desk.models.is_tunable(reader) and not desk.models.is_tunable(replace(reader, folder=desk.home))


def test_what_a_run_has_made_becomes_a_base_once(tuned, desk):
    assert desk.models.as_base("starter:poet") == "poet" and desk.models.as_base(tuned) == ""
    name = desk.base_models.fetch(f"run:{tuned}").wait()["base"]
    assert desk.models.as_base(tuned) == name and store.is_intact(store.get_base(desk.home, name))
    assert desk.models.get(f"base:{name}").metrics == {"loss": 3.0}, "what is known of it goes along"


def test_a_revision_that_is_asked_for_is_the_one_that_is_looked_at_and_fetched(desk, poet, monkeypatch):
    with Hub({"openai-community/gpt2": poet}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        app = visit("train", task="text-generation", architecture="pretrained", dataset="prose_zh")
        assert not [one for one in app.text_input if one.key == "base.asked.revision"], "before a model is named"
        app.selectbox("base.choice.causal-lm").set_value("openai-community/gpt2").run()
        app.text_input("base.asked.revision").set_value(" v1 ").run()
        app.button("base.look").click().run()
        wait_for(lambda: "base.fetch" in buttons(app.run()))
        assert [one for one in hub.asked if one.endswith("/revision/v1")]
        app.button("base.fetch").click().run()
        wait_for(lambda: app.run().session_state["base.of.text-generation"] not in ("", "poet"))
    (own,) = [one for one in Studio(desk.home).base_models.all() if not one.included]
    assert own.revision == hub.revision


def test_a_base_is_looked_at_before_it_is_fetched_and_then_chosen(desk, poet, monkeypatch):
    with Hub({"org/poet": poet}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        app = visit("train", task="text-generation", architecture="pretrained", dataset="prose_zh")
        app.session_state["base.source"] = "org/poet"
        wait_for(lambda: "base.fetch" in buttons(app.run()))
        assert not any("model.safetensors" in one for one in hub.asked), "only looked at"
        assert any("apache" in str(table.value) for table in app.table)
        hub.cut["model.safetensors"] = 1_000_000
        app.button("base.fetch").click().run()
        wait_for(lambda: "base.again" in buttons(app.run()))
        assert len(app.error) == 1
        hub.cut.clear()
        app.button("base.again").click().run()
        wait_for(lambda: app.run().session_state["base.of.text-generation"] not in ("", "poet"))
    (own,) = [one for one in Studio(desk.home).base_models.all() if not one.included]
    assert app.selectbox("train.text-generation.prose_zh.pretrained.base").value == own.name
    assert any(0 < start <= 1_000_000 for name, start in hub.ranges if name == "model.safetensors"), (
        "gone on from there"
    )


def test_what_was_ignored_in_a_folder_and_that_a_base_is_here_already_is_said_on_the_page(desk, poet):
    folder = desk.home / "inbox" / "trained"
    folder.mkdir(parents=True)
    for name, content in {**poet, "optimizer.pt": b"\x80never opened"}.items():
        (folder / name).write_bytes(content)
    for first in (True, False):
        app = visit("train", task="text-generation", architecture="pretrained", dataset="prose_zh")
        app.session_state["base.source"] = str(folder)
        wait_for(lambda app=app: app.run().success)
        said = app.success[0].value
        assert "optimizer" in said and ("is here already" in said) != first
