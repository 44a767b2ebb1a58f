"""Every page in both languages, in Streamlit's own test bench, over a home with a real finished run."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
from pathlib import Path

import pytest
from conftest import HANG, digits, retold, wait_for
from google.protobuf.json_format import MessageToDict
from streamlit.testing.v1 import AppTest

from bigmodel.core import catalog, events, words
from bigmodel.core.blocks import Prose
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import CANCELLED, DONE
from bigmodel.core.spec import TRAINING_FIELDS
from bigmodel.studio import Studio
from bigmodel.training import resume_state
from bigmodel.ui import navigation, state
from bigmodel.ui.runs import charts, curve_view
from bigmodel.ui.runs.curves import Curves, Line
from bigmodel.ui.try_it.answers import Answer
from bigmodel.ui.try_it.history import Exchange

ROOT = Path(__file__).parents[1]
MAIN = ROOT / "bigmodel" / "ui" / "main.py"
PAGES = {
    "home": "home",
    "data": "data",
    "train": "train",
    "tune": "tune",
    "runs": "runs",
    "compare": "compare",
    "evaluate": "evaluate",
    "try": "try_it",
    "models": "models",
}
SENTENCE = re.compile(r"[A-Za-z]{2,}(?:[ ,]+[A-Za-z]{2,}){2,}")
SAID = {"label", "body", "help", "placeholder", "text", "title", "alt", "caption", "delta"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home in which a digit reader has been trained by a real worker."""
    folder = tmp_path_factory.mktemp("trained")
    environment = {**os.environ, "BIGMODEL_HOME": str(folder)}
    words = ["--task", "image-classification", "--architecture", "cnn", "--dataset", "digits", "--wait"]
    for name, value in digits()["settings"].items():
        words += ["--set", f"{name}={value}"]
    subprocess.run(
        [sys.executable, "-m", "bigmodel", "train", *words], cwd=ROOT, env=environment, check=True, timeout=HANG
    )
    return folder


@pytest.fixture
def home_of_runs(trained, monkeypatch):
    monkeypatch.setenv("BIGMODEL_HOME", str(trained))
    yield trained
    leave()


@pytest.fixture
def empty_home(home):
    yield home
    leave()


def leave():
    """A model worker that is still measuring a forecast is not waited for."""
    desk = state.studio().models.client
    if desk.process is not None:
        desk.process.kill()
        desk.process.wait()
        desk.process = None
    state.studio().close()
    state._studio.cache_clear()


def visit(page, language="en", **parameters):
    """The page as a person with this language sees it at first."""
    app = AppTest.from_file(str(MAIN), default_timeout=HANG)
    app.query_params["lang"] = language
    if page == "try":  # the bench knows a page whose file has another name only after a first run
        app.run()
    app.switch_page(str(ROOT / "pages" / f"{PAGES[page]}.py"))
    for name, value in parameters.items():
        app.query_params[name] = value
    return app.run()


def nodes(block):
    for child in block.children.values():
        if hasattr(child, "children"):
            yield child
            yield from nodes(child)
        else:
            yield child


def said(app):
    """Everything a page says, data and code apart."""

    def strings(value, key=""):
        if isinstance(value, dict):
            for name, part in value.items():
                yield from strings(part, name)
        elif isinstance(value, list):
            for part in value:
                yield from strings(part, key)
        elif isinstance(value, str) and (key in SAID or key == "options"):
            yield value

    for node in nodes(app._tree):
        if node.type in ("arrow_data_frame", "dataframe", "code", "table", "arrow_table", "html"):
            continue
        if node.proto is not None:
            yield from strings(MessageToDict(node.proto, preserving_proto_field_name=True))


def run_of(home):
    return Studio(home).runs.all()[0].id


PLACES = [
    ("home", {}),
    ("data", {}),
    *(("data", {"dataset": name}) for name in catalog.datasets()),
    ("train", {}),
    ("train", {"task": "translation"}),
    ("train", {"task": "image-classification", "dataset": "digits", "architecture": "vit"}),
    ("tune", {}),
    ("tune", {"task": "translation"}),
    ("tune", {"task": "text-generation", "dataset": "poetry_zh", "architecture": "pretrained"}),
    ("runs", {}),
    ("runs", {"run": "RUN"}),
    ("try", {}),
    ("models", {}),
]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("page", "parameters"), PLACES, ids=[f"{page}-{'-'.join(more.values())}" for page, more in PLACES]
)
def test_every_page_renders_in_both_languages(home_of_runs, page, parameters, language):
    given = {name: run_of(home_of_runs) if value == "RUN" else value for name, value in parameters.items()}
    app = visit(page, language, **given)
    assert not app.exception and not app.error
    assert app.title[0].value
    if page != "home" and not parameters:
        assert app.title[0].value == words.say(navigation.PAGE_SPECS[page].title, language)
    if language == "zh":
        assert [text for text in said(app) if SENTENCE.search(_without_terms(text))] == []


def _without_terms(text):
    """Names of papers and the words of a command line are the same in every language."""
    for network in catalog.architectures().values():
        text = text.replace(network.paper or "-", "")
    for name in ("Attention Is All You Need", "python scripts/train_starters.py build"):
        text = text.replace(name, "")
    return re.sub(r":[a-z]+(?:/\w+)?:|`[^`]*`", "", text)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_an_empty_state(empty_home, page):
    app = visit(page)
    assert not app.exception and not app.error
    assert app.title[0].value


def test_no_page_loads_torch(trained):
    """In a process of its own: the tests around this one may have loaded it."""
    script = f"""
        import sys
        sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
        import test_pages
        for page, parameters in test_pages.PLACES:
            run = test_pages.run_of(__import__("pathlib").Path({str(trained)!r}))
            app = test_pages.visit(page, **{{name: run if value == "RUN" else value for name, value in parameters.items()}})
            assert not app.exception, (page, app.exception)
        heavy = {{"torch", "transformers", "datasets", "sklearn", "accelerate"}} & set(sys.modules)
        assert not heavy, heavy
    """
    environment = {**os.environ, "BIGMODEL_HOME": str(trained)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_browsers_language_is_taken_first(empty_home):
    app = AppTest.from_file(str(MAIN), default_timeout=HANG)
    app.context = {"locale": "zh-CN"}
    assert app.run().title[0].value == "训练你自己的模型，看它如何学习"


def test_the_switch_puts_the_language_into_the_url(empty_home):
    app = visit("models")
    app.get_by_key("language_switch").set_value("zh").run()
    assert app.query_params["lang"] == "zh"
    assert app.title[0].value == "模型"


@pytest.mark.parametrize(
    ("page", "parameters"),
    [
        ("runs", {"run": "no-such-run"}),
        ("try", {"model": "none"}),
        ("data", {"dataset": "none"}),
        ("train", {"task": "none"}),
        ("tune", {"study": "none"}),
    ],
)
def test_a_wrong_address_is_refused_in_words(home_of_runs, page, parameters):
    app = visit(page, **parameters)
    assert not app.exception
    assert len(app.error) == 1


def test_only_what_fits_is_offered(empty_home):
    app = visit("train", task="image-classification")
    offered = app.get_by_key("train.architecture.image-classification").options
    assert len(offered) == len(catalog.architectures_for(catalog.task("image-classification")))
    assert "GPT" not in offered


def test_a_wrong_setting_is_refused_at_its_field_and_cannot_be_started(empty_home):
    app = visit("train", task="image-classification", dataset="digits", architecture="cnn")
    app.number_input("train.image-classification.digits.cnn.epochs").set_value(0).run()
    assert any("Give a whole number from 1 to 10000" in text.value.replace("\\", "") for text in app.markdown)
    assert app.button("train.start").disabled


def test_a_settings_explanation_is_on_the_page(empty_home):
    app = visit("train", task="text-generation")
    captions = {caption.value for caption in app.caption}
    assert str(next(field for field in TRAINING_FIELDS if field.name == "seed").help) in captions


def test_the_command_line_says_what_differs(empty_home):
    app = visit("train", task="image-classification", dataset="digits", architecture="cnn")
    app.number_input("train.image-classification.digits.cnn.epochs").set_value(77).run()
    command = app.code[0].value
    assert command.startswith("python -m bigmodel train --task image-classification")
    assert "--set epochs=77" in command and "seed" not in command


def test_who_asks_for_epochs_gets_them_until_a_time_limit_is_set_as_well(empty_home):
    app, key = (
        visit("train", task="image-classification", dataset="digits", architecture="cnn"),
        "train.image-classification.digits.cnn",
    )
    minutes = app.number_input(f"{key}.max_minutes").value
    assert minutes == 3
    app.number_input(f"{key}.epochs").set_value(77).run()
    assert app.number_input(f"{key}.max_minutes").value == 0 and "max_minutes" not in app.code[0].value
    assert any("No limit" in text.value for text in app.caption)
    app.number_input(f"{key}.epochs").set_value(20).run()
    assert app.number_input(f"{key}.max_minutes").value == minutes, "as many as usual"
    app.number_input(f"{key}.max_minutes").set_value(5).run()
    app.number_input(f"{key}.epochs").set_value(77).run()
    assert app.number_input(f"{key}.max_minutes").value == 5
    assert "--set max_minutes=5" in app.code[0].value


def test_start_leads_to_the_run_and_twice_is_one_run(empty_home):
    app = visit("train", task="image-classification", dataset="digits", architecture="cnn")
    app.button("train.start").click().run()
    assert not app.exception
    runs = Studio(empty_home).runs.all()
    assert len(runs) == 1 and app.query_params["run"] == runs[0].id


def test_the_last_choice_is_remembered(home_of_runs):
    app = visit("train")
    assert app.query_params["dataset"] == "digits"
    assert app.query_params["architecture"] == "cnn"


def test_train_again_takes_over_the_settings(home_of_runs):
    app = visit("train", **{"from": run_of(home_of_runs)})
    assert app.number_input("train.image-classification.digits.cnn.channels").value == digits()["settings"]["channels"]
    assert "from" not in app.query_params


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("ending", sorted(events.ENDED | events.LIVE | {events.QUEUED}))
def test_every_state_of_a_run_has_its_look(empty_home, ending, language):
    """The events are written as a worker writes them."""
    studio = Studio(empty_home)
    run = studio.runs.launch(digits())
    path = empty_home / "runs" / run / "events.jsonl"
    for name in _way_to(ending):
        events.append(path, [events.Event("state", {"state": name, "reason": None})])
        if name == events.RUNNING:
            step = {
                "step": 1,
                "epoch": 0.1,
                "loss": float("nan"),
                "learning_rate": 1e-3,
                "gradient_norm": 1.0,
                "rate": 9.0,
                "seconds": 1.0,
            }
            events.append(path, [events.Event("step", step)])
    app = visit("runs", language, run=run)
    assert not app.exception
    assert studio.runs.get(run).state == ending
    listed = visit("runs", language)
    assert not listed.exception


# -- going on -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A home in which a digit reader has been stopped after it was validated, and that run's id."""
    folder = tmp_path_factory.mktemp("long")
    one = Studio(folder)
    one.serve()
    run = one.runs.launch(digits("long", max_steps=0, epochs=10_000, eval_every=20))
    wait_for(lambda: one.runs.get(run).best_step)
    one.runs.stop(run)
    wait_for(lambda: one.runs.get(run).state == events.STOPPED)
    one.close()
    return folder, run


@pytest.fixture
def ended(long, home):
    """The id of a run with real checkpoints that ended as asked: a copy, its last word another. It is `home`'s only run,
    and nobody works on what waits there."""

    def end(state, **more):
        id = long[1]
        shutil.rmtree(home / "runs", ignore_errors=True)
        shutil.copytree(long[0] / "runs" / id, home / "runs" / id)
        path = home / "runs" / id / "events.jsonl"
        kept = [line for line in path.read_bytes().splitlines(keepends=True) if b'"stop' not in line[:60]]
        path.write_bytes(b"".join(line for line in kept if b'"state":"stop' not in line))
        if state != events.RUNNING:
            events.append(path, [events.Event("state", {"state": state, "reason": None, **more})])
        (home / "runs" / id / "stop").unlink(missing_ok=True)
        assert Studio(home).runs.get(id).state == state
        return id

    yield end
    leave()


LABELS = {
    "run.resume": {"en": "Resume from step {step}", "zh": "从第 {step} 步继续"},
    "run.rollback": {"en": "Go back and halve the learning rate", "zh": "回退并将学习率减半"},
    "run.on": {"en": "Train on", "zh": "追加训练"},
    "run.branch": {"en": "Branch off", "zh": "创建分支"},
}
WAYS_ON = {
    events.STOPPED: ["run.resume", "run.on", "run.branch"],
    events.INTERRUPTED: ["run.resume", "run.branch"],
    events.FAILED: ["run.resume", "run.branch"],
    events.FINISHED: ["run.on", "run.branch"],
    events.DIVERGED: ["run.rollback", "run.branch"],
}


def buttons(app):
    return {button.key: button for button in app.button}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("state", WAYS_ON)
def test_an_ended_run_offers_the_ways_on_that_suit_it(ended, home, state, language):
    run = ended(state)
    app = visit("runs", language, run=run)
    assert not app.exception
    step = Studio(home).runs.checkpoints(run)[0].step
    found = {key: button for key, button in buttons(app).items() if key in LABELS}
    assert list(found) == WAYS_ON[state]
    assert all(button.label == LABELS[key][language].format(step=step) for key, button in found.items())
    if language == "zh":
        assert [text for text in said(app) if SENTENCE.search(_without_terms(text))] == []


def test_a_run_without_a_checkpoint_resumes_from_the_start(empty_home):
    id = Studio(empty_home).runs.launch(digits())
    Studio(empty_home).runs.stop(id)
    app = visit("runs", run=id)
    found = buttons(app)
    assert found["run.resume"].label == "Resume from the start" and "run.branch" not in found


def test_resume_puts_the_run_back_into_the_queue_and_two_clicks_are_one(ended, home):
    run = ended(events.STOPPED)
    app = visit("runs", run=run)
    app.button("run.resume").click().run()
    assert not app.exception and not app.error
    told = [event["state"] for event in Studio(home).runs.events(run, kinds=("state",))[1]]
    assert told[-2:] == [events.STOPPED, events.QUEUED] and "run.resume" not in buttons(app)


def test_a_resume_under_other_versions_is_asked_about(ended, home):
    run = ended(events.STOPPED)
    newest = Studio(home).runs.checkpoints(run)[0].folder
    retold(newest, versions=resume_state.read(newest)["versions"] | {"torch": "1.0"})
    app = visit("runs", run=run).button("run.resume").click().run()
    assert "torch was 1.0" in " ".join(said(app)) and Studio(home).runs.get(run).state == events.STOPPED
    assert {"run.anyway", "run.instead"} <= buttons(app).keys()
    app.button("run.anyway").click().run()
    assert Studio(home).runs.get(run).state == events.QUEUED and "run.anyway" not in buttons(app)


@pytest.mark.parametrize("rest", ["{", "{}"], ids=["torn", "empty"])
def test_a_run_whose_newest_checkpoint_is_damaged_can_be_looked_at_and_resumed(ended, home, rest):
    run = ended(events.INTERRUPTED, died=True)
    (Studio(home).runs.checkpoints(run)[0].folder / resume_state.STATE_FILE).write_text(rest)
    app = visit("runs", run=run)
    assert not app.exception and any("goes on by itself" in one.value for one in app.info)
    app.button("run.resume").click().run()
    assert not app.exception and not app.error and Studio(home).runs.get(run).state == events.QUEUED


def test_a_run_that_died_in_its_pretraining_resumes_there(ended, home):
    run = ended(events.INTERRUPTED, died=True)
    step, folder = Studio(home).runs.checkpoints(run)[0].step, home / "runs" / run
    (folder / "pretraining").mkdir()
    (folder / "checkpoints").rename(folder / "pretraining" / "checkpoints")
    assert buttons(visit("runs", run=run))["run.resume"].label == f"Resume the pretraining from step {step}"


def test_a_run_that_died_says_that_it_goes_on_by_itself(ended):
    run = ended(events.INTERRUPTED, died=True)
    assert any("goes on by itself" in one.value for one in visit("runs", run=run).info)
    run = ended(events.INTERRUPTED)  # a full disk: nobody died
    assert not any("goes on by itself" in one.value for one in visit("runs", run=run).info)


def test_going_back_leads_to_a_run_with_half_the_learning_rate(ended, home):
    run = ended(events.DIVERGED)
    app = visit("runs", run=run)
    app.button("run.rollback").click().run()
    child = Studio(home).runs.get(app.query_params["run"])
    parent = Studio(home).runs.get(run)
    assert child.spec.parent["run"] == run
    assert child.spec.settings["learning_rate"] == parent.spec.settings["learning_rate"] / 2
    again = visit("runs", run=child.id)
    assert any("Branched from long" in text for text in said(again))
    assert any("Branch at step" in text for text in said(visit("runs", run=run)))
    assert any("branched off" in text for text in said(visit("runs")))


def test_training_on_adds_epochs(ended, home):
    run = ended(events.FINISHED)
    app = visit("runs", run=run)
    app.button("run.on").click().run()
    app.number_input("on.epochs").set_value(3)
    app.button("on.start").click()
    app.button("run.on").click().run()  # the bench draws the whole page again, where a browser draws the dialog alone
    assert not app.exception
    child = Studio(home).runs.get(app.query_params["run"])
    assert child.id != run and child.spec.settings["epochs"] == 1 + 3


def test_a_branch_begins_where_and_as_it_is_told(ended, home):
    run = ended(events.STOPPED)
    kept = Studio(home).runs.checkpoints(run)
    app = visit("runs", run=run)
    app.button("run.branch").click().run()
    key = f"branch.{run}"
    assert len(app.radio(f"{key}.step").options) == len(kept)
    assert "best" in " ".join(app.radio(f"{key}.step").options)
    assert f"{key}.channels" not in {one.key for one in app.number_input}, "the network stays"

    def start(step, **settings):
        app.radio(f"{key}.step").set_value(step)
        for name, value in settings.items():
            app.number_input(f"{key}.{name}").set_value(value)
        app.button("branch.start").click()
        app.button("run.branch").click().run()

    start(kept[-1].step, epochs=0)
    assert len(Studio(home).runs.all()) == 1
    assert any("from 1 to 10000" in text.value.replace("\\", "") for text in app.markdown)
    start(kept[-1].step, epochs=7, learning_rate=0.0005)
    child = Studio(home).runs.get(app.query_params["run"])
    assert child.spec.parent == {"run": run, "step": kept[-1].step}
    assert (child.spec.settings["epochs"], child.spec.settings["learning_rate"]) == (7, 0.0005)


def test_a_run_that_goes_on_is_branched_from_or_says_what_it_waits_for(ended, home):
    run = ended(events.RUNNING)
    app = visit("runs", run=run)
    app.button("run.branch").click().run()
    assert any("waits in the queue" in text.value for text in app.caption)
    app.number_input(f"branch.{run}.learning_rate").set_value(0.0005)
    app.button("branch.start").click()
    app.button("run.branch").click().run()
    (child,) = Studio(home).runs.branches(run)
    assert child.spec.parent["step"] == Studio(home).runs.checkpoints(run)[0].step and Studio(home).runs.get(run).live
    shutil.rmtree(home / "runs" / run / "checkpoints")
    app = visit("runs", run=run)
    app.button("run.branch").click().run()
    assert any("after half a minute" in text.value for text in app.markdown) and not app.radio
    with pytest.raises(Refusal, match="after half a minute"):
        Studio(home).runs.branch(run)


def test_a_checkpoint_that_gives_way_while_it_is_branched_from_is_said(ended, home, monkeypatch):
    run, studio = ended(events.RUNNING), Studio(home)
    newest = studio.runs.checkpoints(run)[0]

    def launch(*_any):
        shutil.rmtree(newest.folder)
        raise FileNotFoundError(newest.folder)

    monkeypatch.setattr(studio.runs, "launch", launch)
    with pytest.raises(Refusal, match="has just given way to a newer one"):
        studio.runs.branch(run)


def test_a_server_that_may_only_look_lets_nothing_go_on_and_says_why(ended, home):
    run = ended(events.STOPPED)
    other = Studio(home)
    other.serve()
    try:
        state.studio().serve()
        app = visit("runs", run=run)
        for key in WAYS_ON[events.STOPPED]:
            assert app.button(key).disabled and app.button(key).help == "Another bigmodel works on this folder"
    finally:
        other.close()


def test_where_a_run_diverged_stands_on_its_curve(ended, home):
    run = ended(events.DIVERGED)
    past = Curves(run).read(Studio(home), patience=HANG)
    assert curve_view._markers(Studio(home).runs.get(run), past) == {"Diverged": float(Studio(home).runs.get(run).step)}


def test_the_one_number_before_there_was_none_is_drawn_as_a_point(monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "live_plot", lambda traces, *_rest, **_more: drawn.extend(traces))
    line = Line()
    line.add(1, 0.1, 7.0)
    line.add(8, 0.2, float("nan"))
    charts.curve_chart({"Training": line}, charts.PlotOptions(), key="any", alt="any")
    assert [(one["mode"], one["x"], one["y"]) for one in drawn] == [("lines+markers", [1.0], [7.0])]


def test_the_curve_of_a_branch_is_preceded_by_its_parents_up_to_where_it_begins(ended, home):
    run = ended(events.FINISHED)
    kept = state.studio().runs.checkpoints(run)
    child = state.studio().runs.get(state.studio().runs.branch(run, kept[-1].step))
    before = curve_view._ancestor_loss(child)
    assert before.step[0] >= 1 and before.step[-1] <= kept[-1].step
    assert len(curve_view._ancestor_loss(state.studio().runs.get(run))) == 0


def _way_to(state):
    """The shortest legal way from the queue."""
    ways, seen = [[]], {events.QUEUED}
    for way in ways:
        last = way[-1] if way else events.QUEUED
        if last == state:
            return way
        for following in sorted(events.TRANSITIONS[last] - seen):
            seen.add(following)
            ways.append([*way, following])
    raise AssertionError(state)


def test_an_example_is_answered_by_the_real_model(home_of_runs):
    run = run_of(home_of_runs)
    answer = Answer(run, state.studio().models.examples(run)[0], state.studio().models.ask)
    wait_for(lambda: not answer.running)
    assert answer.state == DONE, answer.error
    app = visit("try", model=run)
    app.session_state["rounds"] = {run: [Exchange(answer.inputs, {run: answer})]}
    assert not app.run().exception


def test_stopping_an_answer_keeps_what_is_there():
    def endless_text(model, inputs):
        for number in range(10_000):
            time.sleep(0.01)
            yield Prose("a" * number)

    answer = Answer("any", {}, endless_text)
    wait_for(lambda: len(answer.blocks) and len(answer.blocks[0].text) > 3)
    answer.cancel()
    wait_for(lambda: not answer.running)
    assert answer.state == CANCELLED and len(answer.blocks) == 1 and len(answer.blocks[0].text) > 3


def test_an_answer_is_stopped_before_it_has_said_anything():
    class Silence:
        """A stream that says nothing until it is closed."""

        def __init__(self):
            self.closed = threading.Event()
            self.close = self.closed.set

        def __iter__(self):
            self.closed.wait()
            return iter(())

    silence = Silence()
    answer = Answer("any", {}, lambda _model, _inputs: silence)
    answer.cancel()
    assert answer.state == CANCELLED and silence.closed.wait(HANG)


def test_ten_chart_colours_stay_apart_for_colour_blind_people():
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
    for mode in ("light", "dark"):
        colours, ground = theme[mode]["chartCategoricalColors"], theme[mode]["backgroundColor"]
        assert len(colours) == 10
        assert min(_contrast(colour, ground) for colour in colours) >= 3, "WCAG 1.4.11"
        for sight in SIGHTS.values():
            seen = [_lab(_linear(colour), sight) for colour in colours]
            apart = min(_distance(one, other) for index, one in enumerate(seen) for other in seen[:index])
            assert apart >= 10, (mode, apart)


def test_nothing_is_loaded_from_elsewhere():
    """No page, script or style of ours names another site."""
    files = [path for folder in ("pages", "bigmodel/ui", ".streamlit") for path in (ROOT / folder).rglob("*.*")]
    texts = [path.read_text("utf-8") for path in files if path.suffix in (".py", ".js", ".css", ".toml")]
    assert len(texts) > 20
    assert [text for text in texts if re.search(r"https?://\w", text)] == []


# Machado, Oliveira, Fernandes 2009: how colours look with full protanopia, deuteranopia, tritanopia (on linear RGB)
SIGHTS = {
    "all colours": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def _linear(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def _contrast(one, other):
    light, dark = sorted(
        (sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), _linear(x), strict=True)) for x in (one, other)),
        reverse=True,
    )
    return (light + 0.05) / (dark + 0.05)


def _lab(linear, sight):
    red, green, blue = (min(max(sum(w * c for w, c in zip(row, linear, strict=True)), 0), 1) for row in sight)
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    a, b, c = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return 116 * b - 16, 500 * (a - b), 200 * (b - c)


def _distance(one, other):
    """CIE76 is enough for a lower bound that is known to hold."""
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5


# -- how often pages look ---------------------------------------------------------------------------------------
def test_the_more_sessions_look_the_more_rarely_each_does():
    from bigmodel.ui.runs.poll_interval import scaled_interval

    assert [scaled_interval(1.0, sessions) for sessions in (1, 3, 4, 6, 7, 10, 12, 13, 500)] == [
        1,
        1,
        2,
        2,
        4,
        4,
        4,
        8,
        8,
    ]


def test_drawn_values_keep_the_digits_that_can_be_seen():
    import numpy as np

    from bigmodel.ui.runs.charts import round_significant

    assert round_significant(np.array([2.302585093, 0.0, -1.2345678e-9, 98765432.1])) == [
        2.30259,
        0.0,
        -1.23457e-9,
        98765400.0,
    ]


def test_a_long_story_is_read_in_several_looks(home):
    from benchmarks.speed import growth
    from bigmodel.ui.runs import curves

    folder = growth.ended(home, 1, points=2 * curves.EVENTS_PER_READ)
    growth._indexed(home, [folder])
    past, desk = curves.Curves(folder.id), Studio(home)
    assert not past.read(desk, patience=0.0).complete and 0 < past.read_fraction < 0.6
    assert past.read(desk, patience=HANG).complete and len(past.lines["loss"]) == 2 * curves.EVENTS_PER_READ
