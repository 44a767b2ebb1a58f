"""The command line as a Unix user expects it: results on stdout, messages on stderr, exit codes that mean something."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG, SMALLEST, digits, holder, retold, wait_for

from bigmodel.cli.command import main
from bigmodel.core import catalog
from bigmodel.core.events import CANCELLED, FAILED, FINISHED, INTERRUPTED, STARTING, STOPPED, Event
from bigmodel.core.spec import RunSpec, defaults
from bigmodel.runs.lock import is_held
from bigmodel.runs.store import Store
from bigmodel.studio import Studio
from bigmodel.training import resume_state

ROOT = Path(__file__).parents[1]
TRAIN = ("train", "--task", "image-classification", "--architecture", "cnn", "--dataset", "digits", "--no-forecast")
SMALL = tuple(part for name, value in SMALLEST.items() for part in ("--set", f"{name}={value}"))


def begin(*arguments, **environment):
    command = [sys.executable, "-m", "bigmodel", *arguments]
    places = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, text=True, **places)


def bigmodel(*arguments, **environment):
    """(exit code, stdout, stderr)"""
    process = begin(*arguments, **environment)
    out, err = process.communicate(timeout=HANG)
    assert "Traceback" not in out + err
    assert not (Path(os.environ["BIGMODEL_HOME"]) / "cli.log").exists(), "a bug was met"
    return process.returncode, out, err


@pytest.fixture
def call(capsys):
    """The same in this process, for a command that starts nothing."""

    def call(*arguments):
        umask = os.umask(0)
        try:
            code = main(arguments)
        except SystemExit as leaving:
            code = leaving.code
        finally:
            os.umask(umask)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


@pytest.fixture
def store(home):
    """Nothing that a command has called to work on the queue is left running."""
    store = Store(home)
    yield store
    for run in store.all():
        if not run.has_ended:
            store.folder(run.id).request_stop()
    wait_for(lambda: not is_held(store.supervisor_lock))


def ended(store, *states):
    """A run that was, as if by a worker."""
    folder = store.folder(store.launch(RunSpec.check(digits())))
    for state in states:
        folder.append(Event("state", {"state": state}))
    return folder.id


# -- the whole story ------------------------------------------------------------------------------
def test_train_wait_show_and_try(store, home):
    code, out, err = bigmodel(*TRAIN, *SMALL, "--wait", "--json")
    run = json.loads(out)
    assert (code, run["state"]) == (0, FINISHED), err
    assert 0 <= run["result"]["accuracy"] <= 1 and run["spec"]["settings"]["max_steps"] == 3
    assert "All 3 steps are done." in err

    code, out, _err = bigmodel("show", run["run"][:-1])
    assert code == 0 and run["run"] in out and "test accuracy" in out and "--set max_steps" in out
    assert json.loads(bigmodel("runs", "--json")[1])[0]["run"] == run["run"]
    assert [load["state"] for load in json.loads(bigmodel("runs", "--json", "--state", "failed")[1])] == []

    picture = home / "digit.png"
    picture.write_bytes(Studio(home).data.peek("digits", "test")[0]["image"])
    code, out, err = bigmodel("try", run["run"], "--set", f"image={picture}", "--json")
    (scores,) = [block for block in json.loads(out)["blocks"] if block["kind"] == "scores"]
    assert code == 0 and len(scores["names"]) == 10, err
    code, out, _err = bigmodel("try", run["run"], "--set", f"image={picture}")
    assert code == 0 and out.count("%") == 10


def test_train_writes_only_the_id_to_stdout_and_returns_at_once(store):
    code, out, err = bigmodel(*TRAIN, *SMALL, "--name", "my run")
    assert code == 0 and err == ""
    (run,) = store.all()
    assert out == f"{run.id}\n" and run.spec.name == "my run"
    wait_for(lambda: store.get(run.id).state == FINISHED)  # somebody works on it


def test_a_run_is_repeated_with_what_it_had_measured(store):
    earlier = store.launch(RunSpec.check(digits(precision="auto")))
    store.folder(earlier).append(Event("state", {"state": STARTING}))
    store.folder(earlier).append(Event("plan", {"steps": 2, "precision": "bf16", "threads": 2}))
    store.folder(earlier).append(Event("state", {"state": FAILED}))
    code, out, err = bigmodel("train", "--no-forecast", "--like", earlier, "--set", "seed=5")
    settings = store.get(out.strip()).spec.settings
    assert code == 0 and "precision=bf16, threads=2" in err
    assert (settings["precision"], settings["threads"], settings["seed"]) == ("bf16", 2, 5)
    _code, out, err = bigmodel("train", "--no-forecast", "--like", earlier, "--set", "batch_size=7")
    settings = store.get(out.strip()).spec.settings
    assert (settings["precision"], settings["threads"], err) == ("auto", 0, ""), "measured for other steps"


def test_a_run_that_is_repeated_with_other_epochs_has_no_time_limit(store):
    earlier = store.launch(RunSpec.check(digits(max_minutes=5)))
    _code, out, _err = bigmodel("train", "--no-forecast", "--like", earlier, "--set", "epochs=2")
    assert store.get(out.strip()).spec.settings["max_minutes"] == 0
    _code, out, _err = bigmodel("train", "--no-forecast", "--like", earlier, "--set", "seed=3")
    assert store.get(out.strip()).spec.settings["max_minutes"] == 5


def test_a_run_without_a_task_is_refused_with_what_is_missing(store):
    code, _out, err = bigmodel("train", "--task", "translation")
    assert code == 2 and "--architecture, --dataset missing" in err and "--like RUN" in err


def test_ctrl_c_leaves_the_run_running_and_says_so(store):
    process = begin(*TRAIN, *SMALL, "--set", "max_steps=0", "--set", "epochs=10000", "--wait")
    id = process.stdout.readline().strip()
    wait_for(lambda: store.get(id).step > 2)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=HANG)
    assert process.returncode == 130 and "The run goes on" in err and id in err
    step = store.get(id).step
    wait_for(lambda: store.get(id).step > step)
    code, _out, err = bigmodel("stop", id)
    assert code == 0 and "saves its weights" in err
    assert wait_for(lambda: (run := store.get(id)).state == STOPPED and run).has_model


def test_waiting_for_a_run_that_fails_ends_with_1(store):
    (store.home / "cache").write_text("in the way")
    code, out, err = bigmodel(*TRAIN, *SMALL, "--wait")
    assert code == 1 and store.all()[0].state == FAILED
    assert out.strip() == store.all()[0].id and "in bigmodel itself" in err


def test_a_run_whose_supervisor_was_killed_is_taken_up_by_those_who_wait(store):
    process = begin(*TRAIN, *SMALL, "--wait", "--json")
    wait_for(lambda: holder(store.supervisor_lock)).kill()
    out, err = process.communicate(timeout=HANG)
    assert json.loads(out)["state"] in (FINISHED, INTERRUPTED), err


def test_a_waiting_run_is_cancelled(store):
    id = store.launch(RunSpec.check(digits()))
    code, out, _err = bigmodel("stop", id, "--json")
    assert (code, json.loads(out)["state"]) == (0, CANCELLED)


# -- going on -------------------------------------------------------------------------------------
ENDLESS = (*TRAIN, *SMALL, "--set", "max_steps=0", "--set", "epochs=10000", "--set", "eval_every=20")


def stopped(store):
    """The id of a run that was stopped after it had been validated."""
    id = bigmodel(*ENDLESS)[1].strip()
    wait_for(lambda: store.get(id).best_step)
    assert bigmodel("stop", id)[0] == 0
    wait_for(lambda: store.get(id).state == STOPPED)
    return id


def test_a_stopped_run_is_resumed_and_goes_on_where_it_was(store):
    id = stopped(store)
    (before, *_others) = sorted(
        (checkpoint.step for checkpoint in Studio(store.home).runs.checkpoints(id)), reverse=True
    )
    code, out, err = bigmodel("resume", id[:-1])
    assert (code, out) == (0, "") and f"goes on from step {before}." in err
    wait_for(lambda: store.get(id).step > before)
    steps = [event["step"] for event in store.events(id, kinds=("step",))[1]]
    assert steps == sorted(steps)


def test_a_resume_under_other_versions_says_what_differs_and_goes_on_anyway(store):
    id = stopped(store)
    place = resume_state.checkpoint_folders(store.folder(id).path)[0]
    retold(place, versions=resume_state.read(place)["versions"] | {"torch": "1.0"})
    code, out, err = bigmodel("resume", id)
    assert (code, out) == (1, "") and "torch was 1.0 and is" in err
    code, out, _err = bigmodel("resume", id, "--anyway", "--json")
    assert code == 0 and json.loads(out)["state"] not in (STOPPED, FAILED)


def test_a_finished_run_is_branched_and_shown_with_its_kin(store):
    parent = bigmodel(*TRAIN, *SMALL, "--wait")[1].split()[0]
    code, out, err = bigmodel("branch", parent, "--set", "max_steps=5", "--name", "more", "--wait", "--json")
    child = json.loads(out)
    assert (code, child["state"], child["step"]) == (0, FINISHED, 5), err
    assert child["spec"]["parent"] == {"run": parent, "step": 3} and child["spec"]["name"] == "more"
    shown = bigmodel("show", child["run"])[1]
    assert f"{parent} at step 3" in shown and "checkpoint" in shown and "the best" in shown
    assert child["run"] in bigmodel("show", parent)[1]
    assert json.loads(bigmodel("show", parent, "--json")[1])["branches"] == [child["run"]]


def test_a_rollback_is_a_branch_with_half_the_learning_rate(store):
    parent = stopped(store)
    code, out, _err = bigmodel("rollback", parent)
    child = store.get(out.strip())
    assert code == 0 and child.spec.parent == {"run": parent, "step": store.get(parent).best_step}
    assert child.spec.settings["learning_rate"] == store.get(parent).spec.settings["learning_rate"] / 2


def test_what_cannot_go_on_says_what_would_do(store, call):
    id = bigmodel(*TRAIN, *SMALL, "--wait")[1].split()[0]
    for arguments, says in (
        (("resume", id), "Branch off a new run"),
        (("branch", id, "--step", "99"), "Choose one of: 3"),
        (("branch", id, "--set", "channels=64"), "cannot change 'channels'"),
        (("branch", id, "--set", "speed=5"), "Choose one of: accumulation"),
        (("branch", id, "--set", "epochs=0"), "from 1 to 10000"),
    ):
        code, out, err = call(*arguments)
        assert (code, out) == (1, "") and says in err
    assert len(store.all()) == 1 and store.get(id).state == FINISHED


def test_those_who_wait_also_wait_for_a_run_that_died_to_go_on(store):
    process = begin(*ENDLESS, "--wait", "--json")
    id = wait_for(lambda: (runs := store.all()) and runs[0].best_step and runs[0].id)
    holder(store.folder(id).lock_file).kill()
    wait_for(lambda: store.events(id, kinds=("resume",))[1])
    assert process.poll() is None
    bigmodel("stop", id)
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 0 and json.loads(out)["state"] == STOPPED, err


# -- what there is --------------------------------------------------------------------------------
def test_list_shows_what_fits_with_what(call):
    code, out, err = call("list", "--json")
    tasks = json.loads(out)["tasks"]
    assert code == 0 and err == ""
    for name, task in catalog.tasks().items():
        assert list(tasks[name]["architectures"]) == list(catalog.architectures_for(task))
        assert list(tasks[name]["datasets"]) == list(catalog.datasets_for(task))
    text = bigmodel("list")[1]
    assert all(name in text for name in catalog.tasks())


def test_list_shows_the_settings_of_two_that_fit(call):
    found = call("list", "--task", "image-classification", "--architecture", "cnn", "--json")[1]
    settings = {setting["name"]: setting for setting in json.loads(found)["settings"]}
    assert settings["epochs"]["minimum"] == 1 and settings["device"]["allowed"] == "auto|cpu|cuda|mps"
    assert "learning_rate" in call("list", "--task", "image-classification", "--architecture", "cnn")[1]


def test_the_defaults_that_are_listed_are_those_of_the_data_set_that_is_named():
    text = bigmodel("list", "--task", "image-classification", "--architecture", "cnn", "--dataset", "digits")[1]
    usual = defaults(catalog.task("image-classification"), catalog.architecture("cnn"), catalog.dataset("digits"))
    epochs = next(line.split() for line in text.splitlines() if line.startswith("epochs"))
    assert "data set digits" in text and epochs[1] == str(usual["epochs"])


def test_the_language_is_that_of_the_person():
    chinese = catalog.task("text-generation").title
    from bigmodel.core.words import say

    assert say(chinese, "zh") in bigmodel("list", "--language", "zh")[1]
    assert say(chinese, "zh") in bigmodel("list", LANG="zh_CN.UTF-8")[1]
    assert say(chinese, "en") in bigmodel("list", LANG="de_DE.UTF-8")[1]
    assert say(chinese, "en") in bigmodel("list", "--language", "en", LANG="zh_CN.UTF-8")[1]


def test_no_runs_are_an_empty_list_and_nothing_on_the_screen():
    assert bigmodel("runs") == (0, "", "")
    assert json.loads(bigmodel("runs", "--json")[1]) == []


# -- refused --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dance",),
        ("train",),
        ("train", "--task", "image-classification"),
        (*TRAIN, "--set", "epochs"),
        (*TRAIN, "--set", "=5"),
        (*TRAIN, "--epochs", "5"),
        ("runs", "--limit", "many"),
        ("runs", "--state", "asleep"),
        ("show",),
        ("stop",),
        ("resume",),
        ("branch",),
        ("branch", "any", "--step", "last"),
        ("rollback",),
        ("try",),
        ("list", "--language", "fr"),
        ("list", "--language"),
        ("starters", "burn"),
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_wrong_usage_ends_with_2_and_the_usage(call, arguments):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "") and "usage: " in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*TRAIN[:2], "nothing", *TRAIN[3:]), "text-generation"),
        ((*TRAIN[:4], "nothing", *TRAIN[5:]), "cnn"),
        ((*TRAIN[:4], "gpt", *TRAIN[5:]), "no image-classification head. Choose one of"),
        ((*TRAIN[:6], "nothing"), "fashion_mnist"),
        ((*TRAIN[:6], "poetry_zh"), "has no column"),
        ((*TRAIN, "--set", "epochs=0"), "from 1 to 10000"),
        ((*TRAIN, "--set", "epochs=1.5"), "whole number"),
        ((*TRAIN, "--set", "epochs="), "whole number"),
        ((*TRAIN, "--set", "learning_rate=nan"), "from 1e-07 to 10"),
        ((*TRAIN, "--set", "optimizer=best"), "adamw, adam, sgd"),
        ((*TRAIN, "--set", "speed=5"), "Choose one of: accumulation"),
        ((*TRAIN, "--name", "x" * 81), "at most 80"),
        (("list", "--task", "nothing"), "text-generation"),
        (("list", "--architecture", "cnn"), "Give --task and --architecture"),
        (("show", "nothing"), "There is no run nothing"),
        (("stop", "nothing"), "There is no run nothing"),
        (("resume", "nothing"), "There is no run nothing"),
        (("branch", "nothing"), "There is no run nothing"),
        (("rollback", "nothing"), "There is no run nothing"),
        (("try", "nothing"), "There is no run nothing"),
        (("try", "starter:nothing"), "There is no model starter:nothing"),
    ],
    ids=lambda value: " ".join(value[-4:]) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_ends_with_1_and_says_what_would_do(home, call, arguments, says):
    code, out, err = call(*arguments)
    assert (code, out) == (1, "") and says in err
    assert Store(home).all() == []


def test_a_beginning_that_two_ids_share_is_refused_with_both(store, call):
    ids = [ended(store, CANCELLED) for _ in range(2)]
    code, _out, err = call("show", ids[0][:3])
    assert code == 1 and all(id in err for id in ids)


def test_a_run_without_a_model_cannot_be_tried_and_one_that_has_ended_not_stopped(store, call):
    id = ended(store, CANCELLED)
    assert "has no model" in call("try", id)[2]
    code, _out, err = call("stop", id)
    assert code == 1 and "is not running" in err


def test_a_reader_that_leaves_early_is_no_failure_worth_words(store):
    ended(store, CANCELLED)
    process = begin("runs")
    process.stdout.close()
    assert process.wait(HANG) == 141 and process.stderr.read() == ""


# -- tune ---------------------------------------------------------------------------------------------------------
TUNE = ("tune", "digits", "cnn")


def test_tune_trains_its_trials_and_says_how_to_train_with_the_best(store):
    code, out, err = bigmodel(
        *TUNE, *SMALL, "--search", "learning_rate=0.001..0.01", "--trials", "2", "--pruner", "none"
    )
    runs = store.all()
    assert code == 0 and [run.state for run in runs] == [FINISHED] * 2, err
    assert {run.spec.study["trial"] for run in runs} == {1, 2} and "All 2 trials are done." in err
    command = out.split("command")[1].strip()
    assert command.startswith("python -m bigmodel train --task image-classification") and "--set max_steps=3" in command
    listed = json.loads(bigmodel("tune", "--list", "--json")[1])
    assert len(listed) == 1 and listed[0]["study"] in err and len(listed[0]["trials"]) == 2
    assert bigmodel("tune", "--go-on", listed[0]["study"][:10])[0] == 0  # has ended: it is only said again


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--search", "epochs"), "Choose among"),
        (("--search", "learning_rate=1..0.1"), "smaller"),
        (("--search", "learning_rate=a..b"), "Give a number"),
        (("--trials", "many"), "Give a whole number"),
        (("--sampler", "grid", "--search", "dropout", "--points", "1"), "from 2 to 50"),
        (("--set", "epochs=0"), "Give a whole number"),
        (("--task", "translation"), "Choose one of"),
        (("--go-on", "none"), "--list"),
    ],
)
def test_a_search_that_cannot_be_done_is_refused_with_what_would(store, words, said):
    code, _out, err = bigmodel(*TUNE, *words)
    assert code == 1 and said in err and not Studio(store.home).tuning.ids()


def test_a_search_without_data_and_network_is_wrong_usage():
    code, _out, err = bigmodel("tune")
    assert code == 2 and "--list" in err
