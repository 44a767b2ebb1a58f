"""The doctor finds what is wrong with real trainings, says it with numbers, and leaves healthy ones alone."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import HANG, digits
from test_pages import leave, said, visit

from benchmarks.quality import doctor_trials
from bigmodel.core import catalog
from bigmodel.core.events import Event
from bigmodel.core.spec import RunSpec, defaults, fields_for
from bigmodel.core.words import Words, say
from bigmodel.doctor import signs
from bigmodel.doctor.diagnosis import ADVISORS, TITLES, build_diagnosis
from bigmodel.doctor.doctor import HIDDEN_BY, Doctor, diagnose
from bigmodel.studio import Studio
from bigmodel.training.checkpoint import save
from bigmodel.training.resume_state import STATE_FILE
from tests.corpus import training_faults
from tests.corpus.training_faults import Trial

ROOT = Path(__file__).parents[1]
SPEC = RunSpec.check({"task": "text-generation", "architecture": "gpt", "dataset": "poetry_zh"})
PICTURES = RunSpec.check(digits())


def plan(steps):
    return Event("plan", {"steps": steps, "parameters": 1000})


def step(number, loss, rate=1e-3, norm=1.0):
    return Event("step", {"step": number, "loss": loss, "learning_rate": rate, "gradient_norm": norm, "seconds": 0.0})


def validation(number, loss, accuracy=0.5):
    return Event("validation", {"step": number, "metrics": {"loss": loss, "accuracy": accuracy}, "seconds": 0.1})


def falling(steps=400, noise=0.05, seed=0):
    """A healthy run: the loss falls as a power of the step, and the validation with it."""
    random, told = np.random.default_rng(seed), [plan(steps)]
    for number in range(1, steps + 1):
        level = 1.0 + 6.0 * number**-0.3
        told.append(step(number, level + noise * random.normal()))
        if number % (steps // 40) == 0:
            told.append(validation(number, level + 0.2 * noise * random.normal()))
    return told


def kinds(told, spec=SPEC):
    return [one.kind for one in diagnose(spec, told)]


# -- real trainings -----------------------------------------------------------------------------------------------
SICK = {
    "not-a-number": Trial("nan", "digits-cnn", "not-a-number", 1, 80, at=0.5, way="gradient"),
    "bad-batches": Trial("bad", "digits-cnn", "bad-batches", 1, 400, at=0.8, settings={"learning_rate": 2e-3}),
    "rate-too-high": Trial("high", "digits-vit", "rate-too-high", 1, 80, settings={"learning_rate": 0.3}),
    "rate-too-low": Trial("low", "digits-cnn", "rate-too-low", 1, 200, settings={"learning_rate": 5e-6}),
    "standstill": Trial("still", "digits-vit", "standstill", 1, 300, 0.4, {"schedule": "constant", "eval_every": 8}, "stops"),
    "few-rows": Trial("few", "digits-vit", "few-rows", 1, 240, settings={"eval_every": 6}),
    "shuffled-labels": Trial("shuffled", "digits-cnn", "shuffled-labels", 1, 200, settings={"eval_every": 16}),
}  # fmt: skip


@pytest.mark.parametrize("fault", SICK)
def test_a_fault_in_a_real_training_is_named(fault, cache, tmp_path):
    trial = SICK[fault]
    outcome = doctor_trials.judge(trial, training_faults.carry_out(trial, tmp_path, cache))
    assert outcome.onset is not None
    assert outcome.caught is not None
    assert not outcome.early


def test_a_healthy_real_training_has_no_diagnosis(cache, tmp_path):
    trial = Trial("well", "digits-cnn", "clean", 1, 300, settings={"learning_rate": 5e-3, "eval_every": 25})
    told = training_faults.carry_out(trial, tmp_path, cache)
    assert diagnose(trial.spec(), told) == []
    last = [event for event in told if event.kind == "validation"][-1]
    assert last["metrics"]["accuracy"] > 0.7  # it has learnt: there was something to be quiet about


def test_a_fault_leaves_the_catalogue_as_it_was(cache, tmp_path):
    before = {name: id(thing) for name, thing in {**catalog.tasks(), **catalog.datasets()}.items()}
    training_faults.carry_out(replace(SICK["not-a-number"], steps=20, at=0.2), tmp_path, cache)
    assert before == {name: id(thing) for name, thing in {**catalog.tasks(), **catalog.datasets()}.items()}


def test_the_trials_of_two_seeds_are_others():
    one, other = training_faults.trials(0, 2, 1), training_faults.trials(500, 2, 1)
    assert {trial.fault for trial in one} == set(training_faults.FAULTS)
    assert not {trial.seed for trial in one} & {trial.seed for trial in other}


# -- the curve alone ----------------------------------------------------------------------------------------------
def test_a_falling_curve_is_left_alone():
    assert [seed for seed in range(20) if kinds(falling(seed=seed))] == []


def test_a_loss_that_is_no_number_is_told_with_the_step():
    told = [*falling()[:200], step(190, float("nan"))]
    (one,) = diagnose(SPEC, told)
    assert (one.kind, one.since_step, one.from_checkpoint) == (signs.NOT_A_NUMBER, 190, True)
    assert one.remedy["learning_rate"] == SPEC.settings["learning_rate"] / 2


def test_a_leap_is_a_spike_and_one_that_stays_is_too_high_a_rate():
    told = falling()
    spiked = [step(event["step"], event["loss"] + 3.0) if event.kind == "step" and event["step"] == 300 else event for event in told]  # fmt: skip
    stays = [step(event["step"], event["loss"] + 3.0) if event.kind == "step" and event["step"] >= 300 else event for event in told]  # fmt: skip
    until = told.index(next(event for event in told if event.kind == "step" and event["step"] == 320))
    assert kinds(spiked[:until]) == [signs.SPIKE]
    assert kinds(stays[:until]) == [signs.RATE_TOO_HIGH]
    assert kinds(spiked) == []  # long past


def moving(told, update):
    """The same events, whose steps say that they moved the weights by `update(step)` of their length."""
    return [
        Event("step", event.data | {"update": update(event["step"]), "weights": 0.05})
        if event.kind == "step"
        else event
        for event in told
    ]


def test_weights_that_no_longer_move_are_told_of_a_few_steps_later():
    told = moving(falling(), lambda step: 2e-3 if step < 200 else 2e-5)
    seen = [n for n in range(len(told)) if told[n].kind == "step" and kinds(told[: n + 1]) == [signs.PLATEAU]]
    assert 200 <= told[seen[0]]["step"] <= 206
    (one,) = diagnose(SPEC, told[: seen[0] + 1])
    assert one.from_checkpoint and "100 times less" in str(one.evidence)
    assert one.sound_before == one.since_step, "what came after has no way back"
    assert kinds(moving(falling(), lambda step: 2e-3 * 0.99**step)) == [], "slowly less is no standstill"


def test_updates_as_large_as_the_weights_are_a_rate_too_high():
    flat = [plan(400), *(step(number, 5.0 - 0.01 * number, rate=0.5) for number in range(1, 41))]
    assert kinds(moving(flat, lambda step: 0.3)) == [signs.RATE_TOO_HIGH]
    assert kinds(moving(flat, lambda step: 0.003)) == []


def test_overfitting_is_told_with_the_best_step_and_ends_with_a_new_best():
    told = [plan(400)]
    for number in range(1, 301):
        told.append(step(number, 5.0 * 0.99**number))
        if number % 10 == 0:
            told.append(validation(number, 3.0 - 0.01 * number if number <= 100 else 2.0 + 0.004 * (number - 100)))
    (one,) = diagnose(SPEC, told)
    assert (one.kind, one.since_step) == (signs.OVERFITTING, 100)
    assert one.remedy["patience"] == 3
    assert kinds([*told, step(301, 0.2), validation(310, 1.5)]) == []


def test_classes_that_are_guessed_look_shuffled_and_those_that_are_learnt_do_not():
    random = np.random.default_rng(0)
    guessed = [plan(400), *(step(number, np.log(10) + 0.02 * random.normal()) for number in range(1, 60)), validation(59, 2.31, 0.1)]  # fmt: skip
    learning = [*guessed[:-1], validation(59, 2.2, 0.3)]
    assert kinds([*guessed, step(60, 2.31)], PICTURES) == [signs.SHUFFLED]
    assert kinds([*learning, step(60, 2.31)], PICTURES) == []
    assert kinds([*guessed, step(60, 2.31)], SPEC) == []  # text has no classes


def test_a_run_that_goes_back_forgets_what_came_after_the_checkpoint():
    told = falling()
    sick = [*told[:250], step(240, float("nan")), step(200, 2.2), step(201, 2.2)]
    assert kinds(sick) == []


def test_a_branch_is_not_judged_by_its_first_loss():
    """It begins in the middle, at a loss where there is nothing to fall from."""
    random = np.random.default_rng(0)
    told = [plan(400), *(step(number, 10 / number + 0.02 * random.random(), rate=1e-6) for number in range(200, 380))]
    assert kinds(told) == []


def test_reading_event_by_event_and_all_at_once_say_the_same():
    told = [*falling(), step(401, float("inf"))]
    doctor = Doctor(SPEC)
    for event in told:
        doctor.read([event])
    assert doctor.diagnoses() == diagnose(SPEC, told)


def test_lines_that_make_no_sense_are_passed_over():
    garbage = [Event("step", {"step": "x"}), Event("validation", {}), Event("plan", {"steps": None}), Event("odd", {})]
    assert kinds([*garbage, *falling(), *garbage]) == []


def test_a_first_loss_of_nothing_is_no_division():
    nothing = [plan(100), *(step(number, 0.0) for number in range(1, 20)), validation(20, 0.0)]
    doctor = Doctor(SPEC).read(nothing)
    assert signs.updates_too_small(doctor.curve) is None and doctor.diagnoses() == []


def test_a_validation_before_the_first_step_that_is_told_of_is_taken():
    """A branch that is told of every so many steps may be measured before."""
    doctor = Doctor(SPEC).read([plan(400), validation(100, 9.0)])
    assert signs.validation_spike(doctor.curve) is None and list(doctor.curve.val_loss) == [9.0]


def test_labels_that_look_shuffled_go_on_looking_so_when_a_run_goes_back_before_its_first_validation():
    guessed = [plan(400), *(step(number, np.log(10)) for number in range(1, 60)), validation(59, 2.31, 0.1), step(60, 2.31)]  # fmt: skip
    doctor = Doctor(PICTURES).read([*guessed, step(50, 2.31)])
    assert not doctor.curve.val_metrics and [diagnosis.kind for diagnosis in doctor.diagnoses()] == [signs.SHUFFLED]
    assert not signs.RECOVERED[signs.SHUFFLED](doctor.curve, doctor.active_signs[signs.SHUFFLED])


def test_nothing_that_a_run_tells_or_is_made_of_breaks_the_doctor():
    random = np.random.default_rng(0)
    odd = [0, 0.0, -1, 1e308, -1e308, float("nan"), float("inf"), 10**400, None, "x", [], {}, True]
    told = [plan(400)]
    for number in range(600):
        loss, rate, norm, at = (odd[random.integers(len(odd))] for _one in range(4))
        told.append(step(number if number % 3 else at, loss if number % 2 else 1.0, rate, norm))
        told.append(validation(number if number % 5 else at, loss, rate))
    bare = replace(SPEC, settings={}, dataset="gone")
    with np.errstate(all="ignore"):
        for spec in (SPEC, PICTURES, bare):
            assert isinstance(diagnose(spec, told), list)
    nan = [*falling()[:200], step(190, float("nan"))]
    assert diagnose(bare, nan) == []  # there is no learning rate to halve


def test_ten_thousand_points_cost_little_and_one_more_next_to_nothing():
    told = falling(10_000)
    doctor, started = Doctor(SPEC), time.process_time()
    doctor.read(told)
    whole = time.process_time() - started
    started = time.process_time()
    for number in range(100):
        doctor.read([step(10_001 + number, 1.3)]).diagnoses()
    assert whole < 1.0
    assert (time.process_time() - started) / 100 < 0.005


# -- words and remedies -------------------------------------------------------------------------------------------
NUMBERS = dict.fromkeys(
    ("before", "loss", "change", "steps", "best", "then", "training", "rate", "fallen", "reach", "chance", "accuracy", "step", "times", "moved"),
    0.5,
)  # fmt: skip


@pytest.mark.parametrize("kind", ADVISORS)
def test_every_diagnosis_is_said_in_both_languages(kind):
    assert set(ADVISORS) == set(TITLES) == set(HIDDEN_BY) == set(signs.RECOVERED)
    for way in ("", "start", "later", "validations", "training", "validation", "gradient", "updates"):
        one = build_diagnosis(signs.Sign(kind, 7, NUMBERS, way), SPEC.settings, SPEC.settings)
        for words in (one.title, one.evidence, one.advice):
            assert "{" not in say(words, "en") + say(words, "zh")
            assert say(words, "zh") != say(words, "en")
            assert Words.from_json(json.loads(json.dumps(words.to_json()))) == words


def combinations():
    for task in catalog.tasks().values():
        for architecture in catalog.architectures_for(task).values():
            yield task, architecture, next(iter(catalog.datasets_for(task).values()))


@pytest.mark.parametrize("kind", ADVISORS)
def test_every_remedy_is_a_setting_that_will_do(kind):
    for task, architecture, dataset in combinations():
        fields = {field.name: field for field in fields_for(task, architecture)}
        usual = defaults(task, architecture, dataset)
        for rate in (1e-7, usual["learning_rate"], 10.0):
            settings = {**usual, "learning_rate": rate, "clip": 0.0}
            remedy = build_diagnosis(signs.Sign(kind, 7, NUMBERS, "start"), settings, usual).remedy
            assert {name: fields[name].check(value) for name, value in remedy.items()} == remedy


@pytest.mark.parametrize("kind", sorted(set(ADVISORS) - {signs.SHUFFLED}))
def test_every_diagnosis_has_something_to_change(kind):
    """The recommended settings and, of what hinders learning by heart, also those where all of it is in use."""
    for task, architecture, dataset in combinations():
        usual = defaults(task, architecture, dataset)
        all_of_it = {"patience": 3, "dropout": 0.5, "augment": "flip", "optimizer": "sgd", "weight_decay": 0.5}
        for settings in (usual, usual | {name: value for name, value in all_of_it.items() if name in usual}):
            one = build_diagnosis(signs.Sign(kind, 7, NUMBERS, "later"), settings, usual)
            assert one.remedy, architecture.name
            weaker = [name for name in ("dropout", "weight_decay") if one.remedy.get(name, 1) < settings.get(name, 0)]
            assert not weaker, "never less of what hinders"


def test_the_doctor_needs_no_torch():
    code = "import sys, bigmodel.doctor.doctor; print('torch' in sys.modules, 'streamlit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# -- on the page --------------------------------------------------------------------------------------------------
SICK_SETTINGS = {
    "optimizer": "sgd", "learning_rate": 10.0, "clip": 0.0, "warmup": 0.9, "schedule": "constant", "max_steps": 120,
    "eval_every": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def sick_home(tmp_path_factory):
    """A home in which a worker has trained with a learning rate that grows until the loss is no number."""
    folder = tmp_path_factory.mktemp("sick")
    environment = {**os.environ, "BIGMODEL_HOME": str(folder)}
    words = ["--task", "image-classification", "--architecture", "vit", "--dataset", "digits", "--wait"]
    for name, value in SICK_SETTINGS.items():
        words += ["--set", f"{name}={value}"]
    subprocess.run([sys.executable, "-m", "bigmodel", "train", *words], cwd=ROOT, env=environment, timeout=HANG)
    return folder


def sick_run(home):
    return next(run for run in Studio(home).runs.all() if not run.spec.parent)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_run_page_shows_the_diagnosis_in_the_persons_language(sick_home, monkeypatch, language):
    monkeypatch.setenv("BIGMODEL_HOME", str(sick_home))
    run = sick_run(sick_home)
    page = visit("runs", language, run=run.id)
    leave()
    assert not page.exception
    text = " ".join(said(page))
    assert say(TITLES[signs.RATE_TOO_HIGH], language) in text
    assert say(TITLES[signs.NOT_A_NUMBER], language) in text


def test_one_click_goes_on_from_the_last_good_checkpoint_more_carefully(sick_home, monkeypatch):
    monkeypatch.setenv("BIGMODEL_HOME", str(sick_home))
    run = sick_run(sick_home)
    page = visit("runs", run=run.id)
    page.button(key="doctor.not-a-number.on").click().run()
    leave()
    assert not page.exception
    branch = next(one for one in Studio(sick_home).runs.all() if one.spec.parent)
    assert branch.spec.parent["run"] == run.id
    assert branch.spec.parent["step"] < run.step
    assert branch.spec.settings["clip"] == 1.0
    assert branch.spec.settings["learning_rate"] < run.spec.settings["learning_rate"] / 2


def test_the_button_fills_in_the_remedy_on_the_train_page(sick_home, monkeypatch):
    monkeypatch.setenv("BIGMODEL_HOME", str(sick_home))
    run = sick_run(sick_home)
    page = visit("train", **{"from": run.id, "with": "learning_rate=0.001,patience=3"})
    leave()
    assert not page.exception and not page.error
    assert {field.value for field in page.number_input if field.key.endswith(".learning_rate")} == {0.001}
    assert {field.value for field in page.number_input if field.key.endswith(".patience")} == {3}
    assert {field.value for field in page.number_input if field.key.endswith(".max_steps")} == {120}  # of the run


def test_a_link_with_a_setting_that_will_not_do_is_refused(sick_home, monkeypatch):
    monkeypatch.setenv("BIGMODEL_HOME", str(sick_home))
    run = sick_run(sick_home)
    page = visit("train", **{"from": run.id, "with": "learning_rate=-1"})
    leave()
    assert not page.exception
    assert "learning_rate" in " ".join(said(page))
    assert page.error


# -- a run that goes on -------------------------------------------------------------------------------------------
def live(home, told, *steps):
    """A run that is trained at this moment, with checkpoints of these steps; (studio, its id)."""
    studio = Studio(home)
    run = studio.runs.launch(digits(epochs=10, max_steps=400))
    folder = studio.runs.folder(run)
    for state in ("starting", "running"):
        folder.append(Event("state", {"state": state}))
    for event in told:
        folder.append(event)
    for one in steps:
        save(folder.path / "checkpoints" / f"step-{one}", lambda to: (to / STATE_FILE).write_text('{"epoch": 0.5}'))
    return studio, run


STANDING = moving(falling(), lambda step: 2e-3 if step < 200 else 2e-5)
STANDING = STANDING[: STANDING.index(next(e for e in STANDING if e.kind == "step" and e["step"] == 210))]


def test_one_click_stops_a_sick_run_and_goes_on_from_before_it_fell_sick(home):
    studio, run = live(home, STANDING, 150, 205)
    page = visit("runs", run=run)
    page.button(key="doctor.plateau.stop").click().run()
    leave()
    assert not page.exception
    (branch,) = studio.runs.branches(run)
    assert branch.spec.parent["step"] == 150, "not the newest, whose gradient is lost"
    assert studio.runs.folder(run).stop_requested()


def test_a_run_that_goes_on_says_that_the_new_one_waits(home):
    studio, run = live(home, STANDING, 150)
    page = visit("runs", run=run)
    assert "The new one waits in the queue" in " ".join(said(page))
    page.button(key="doctor.plateau.on").click().run()
    leave()
    assert len(studio.runs.branches(run)) == 1 and not studio.runs.folder(run).stop_requested()


def test_a_branch_that_is_refused_stops_nothing(home):
    studio, run = live(home, STANDING, 150)
    (studio.runs.folder(run).path / "checkpoints" / "step-150" / STATE_FILE).write_text("{}")
    page = visit("runs", run=run)
    page.button(key="doctor.plateau.stop").click().run()
    leave()
    assert "damaged" in " ".join(said(page))
    assert not studio.runs.branches(run) and not studio.runs.folder(run).stop_requested()


def test_without_a_checkpoint_a_sick_run_is_stopped_and_trained_again(home):
    studio, run = live(home, STANDING)
    page = visit("runs", run=run)
    page.button(key="doctor.plateau.stop").click().run()
    leave()
    assert not page.exception and studio.runs.folder(run).stop_requested()


def test_a_run_whose_settings_nobody_understands_has_a_page_all_the_same(home):
    studio, run = live(home, STANDING, 150)
    file = studio.runs.folder(run).spec_file
    spec = json.loads(file.read_text())
    file.write_text(json.dumps(spec | {"settings": spec["settings"] | {"learning_rate": "quick"}}))
    page = visit("runs", run=run)
    leave()
    assert not page.exception and say(TITLES[signs.PLATEAU], "en") not in " ".join(said(page))
