"""Studies: what is searched, how trials become runs, and that nothing is lost or doubled whenever it is killed."""

import json
import math
from dataclasses import replace

import pytest
from conftest import digits, wait_for

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.events import DIVERGED, FAILED, FINISHED, INTERRUPTED, QUEUED, RUNNING, STARTING, STOPPED, Event
from bigmodel.core.fields import Number
from bigmodel.core.spec import RunSpec, fields_for
from bigmodel.core.words import Words
from bigmodel.studio import Studio
from bigmodel.tuning import search_space, study, tuner
from bigmodel.tuning.importance import weigh_settings
from bigmodel.tuning.learning_rate_finder import suggest_rate
from bigmodel.tuning.search_space import Options, Range
from bigmodel.tuning.study_spec import PRESETS, StudySpec, preset_space, with_validations
from bigmodel.tuning.tuner import Advance, Tuner

SPACE = {"learning_rate": {"low": 1e-4, "high": 0.1}, "dropout": {"low": 0, "high": 0.5}}


def asked(space=None, spec=None, **search):
    return {"spec": spec or digits(), "space": space or SPACE, "search": {"trials": 6} | search}


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path)


class Trainer:
    """Stands where workers are: writes into run folders what a training would have written."""

    def __init__(self, studio, id, value=lambda settings: -abs(math.log10(settings["learning_rate"]) + 2) + 3):
        self.studio, self.id, self.value = studio, id, value
        self.folder = studio.tuning.folder(id)

    def advance(self):
        return Advance(study.StudyFolder(self.folder.path), self.studio.runs).run()

    def run(self):
        """The run of the trial that goes on."""
        return self.studio.runs.get(self.trials("running")[0].run)

    def trials(self, *states):
        return [trial for trial in self.studio.tuning.get(self.id).trials if not states or trial.state in states]

    def begin(self):
        folder = self.studio.runs.folder(self.run().id)
        folder.append(Event("state", {"state": STARTING, "device": "cpu"}))
        folder.append(Event("state", {"state": RUNNING}))
        folder.append(Event("plan", {"steps": 40}))
        return folder

    def validate(self, folder, number, value=None):
        value = self.value(folder.spec().settings) * number if value is None else value
        folder.append(Event("step", {"step": 10 * number, "epoch": number, "loss": 1.0, "seconds": 1.0 * number}))
        folder.append(Event("validation", {"step": 10 * number, "metrics": {"accuracy": value}}))

    def end(self, folder, state=FINISHED, **more):
        folder.append(Event("state", {"state": state, **more}))

    def train(self, validations=4):
        """One trial from its first event to its last, or to its pruning."""
        folder = self.begin()
        for number in range(1, validations + 1):
            self.validate(folder, number)
            self.advance()
            if folder.stop_requested():
                self.end(folder, STOPPED)
                break
        else:
            self.end(folder)
        return folder


@pytest.fixture
def trainer(studio):
    return Trainer(studio, studio.tuning.create(asked()))


# -- what is searched ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("task", catalog.tasks())
def test_every_network_of_every_task_can_be_searched_by_every_preset(task):
    task = catalog.task(task)
    dataset = next(iter(catalog.datasets_for(task)))
    for architecture in catalog.architectures_for(task):
        spec = RunSpec.check({"task": task.name, "architecture": architecture, "dataset": dataset})
        for name, preset in PRESETS.items():
            chosen = StudySpec.check({"spec": spec, "space": preset_space(name, spec), "search": preset.search})
            assert "learning_rate" in chosen.space and chosen.start()


@pytest.mark.parametrize("task", catalog.tasks())
def test_default_ranges_lie_within_the_bounds_of_their_fields_and_hold_the_value(task):
    task = catalog.task(task)
    for architecture in catalog.architectures_for(task).values():
        for name, field in search_space.searchable_fields(task, architecture).items():
            dimension = search_space.default_dimension(field, field.default)
            assert search_space.contains(dimension, field.default), name
            assert search_space.check_dimension(field, dimension) == dimension


def test_how_data_are_encoded_is_never_searched():
    for task in catalog.tasks().values():
        for architecture in catalog.architectures_for(task).values():
            assert not set(search_space.searchable_fields(task, architecture)) & set(task.encoding_settings)


@pytest.mark.parametrize(
    ("text", "dimension"), [("0.001..0.1", Range(0.001, 0.1)), ("0.1, 0.01", Options((0.1, 0.01))), ("", Range(1e-4, 0.01))]
)  # fmt: skip
def test_ranges_are_read_from_the_command_line(text, dimension):
    field = Number(name="rate", label=Words("Rate"), help=Words(""), minimum=1e-7, maximum=10, logarithmic=True)
    assert search_space.parse_dimension(field, text, 1e-3) == dimension


@pytest.mark.parametrize("space", [
    {"learning_rate": {"low": 0.1, "high": 0.001}}, {"learning_rate": {"low": 0.1}}, {"epochs": {"low": 1, "high": 3}},
    {"learning_rate": {"options": [0.1]}}, {"optimizer": {"low": 0, "high": 1}}, {"learning_rate": {"low": 1, "high": 99}},
    {"optimizer": {"options": ["adam", "lion"]}}, {"learning_rate": "0.1"}, {"learning_rate": {"low": math.nan, "high": 1}},
    {"nothing": {}}, [], {},
])  # fmt: skip
def test_a_space_that_will_not_do_is_refused_with_what_would(space):
    with pytest.raises(Refusal) as refused:
        StudySpec.check({"spec": digits(), "space": space, "search": {}})
    assert refused.value.do


@pytest.mark.parametrize("search", [
    {"trials": 0}, {"trials": -1}, {"sampler": "magic"}, {"pruner": 1}, {"minutes": math.inf}, {"unknown": 1},
    {"sampler": "grid", "points": 50, "trials": 0, },
])  # fmt: skip
def test_a_search_that_will_not_do_is_refused(search):
    space = {**SPACE, "weight_decay": {"low": 0, "high": 0.1}, "warmup": {"low": 0, "high": 0.5}}
    with pytest.raises(Refusal):
        StudySpec.check({"spec": digits(), "space": space, "search": search})


def test_a_study_is_read_as_it_was_written(studio):
    id = studio.tuning.create(asked(sampler="random", seed=5) | {"name": "try"})
    written = json.loads(studio.tuning.folder(id).spec_file.read_text())
    assert StudySpec.check(written).to_json() == written == studio.tuning.get(id).spec.to_json()


def test_the_same_token_is_the_same_study(studio):
    assert (
        studio.tuning.create(asked(), "once") == studio.tuning.create(asked(), "once") != studio.tuning.create(asked())
    )


def test_a_grid_holds_every_combination_once():
    spec = StudySpec.check(asked({"optimizer": {"options": ["adam", "sgd"]}, **SPACE}, sampler="grid", trials=0))
    grid = spec.grid()
    assert len(grid) == len({tuple(values.items()) for values in grid}) == 2 * 3 * 3
    assert sorted({values["learning_rate"] for values in grid}) == [1e-4, 0.00316, 0.1]


def test_runs_of_few_epochs_get_validations_to_prune_by():
    spec = RunSpec.check(digits(epochs=2, max_steps=0))
    assert with_validations(spec, 90, 2.0).settings["eval_every"] == 10
    assert with_validations(spec, 90, 20.0) == with_validations(spec, 3, 2.0) == spec


# -- trials are runs ---------------------------------------------------------------------------------------------
def test_the_first_trial_is_what_stands_in_the_form(trainer):
    trainer.advance()
    run = trainer.run()
    base = RunSpec.check(digits()).settings
    assert run.state == QUEUED and dict(run.spec.settings) == dict(base)
    assert run.spec.study == {"study": trainer.id, "trial": 1}


def test_one_trial_at_a_time_and_all_of_them_tried(trainer, studio):
    while trainer.advance():
        if trainer.trials("running"):
            assert len(trainer.trials("running")) == 1
            trainer.train()
    result = studio.tuning.get(trainer.id)
    assert result.has_ended and len(result.trials) == 6 == len(studio.runs.ids())
    assert [trial.run for trial in result.trials] == [run.id for run in reversed(studio.runs.all())]


def test_a_trial_tells_its_steps_and_its_best_validation(trainer):
    trainer.advance()
    folder = trainer.begin()
    for number, value in enumerate((0.5, 0.9, 0.7), 1):
        trainer.validate(folder, number, value)
    trainer.end(folder)
    trainer.advance()
    (trial,) = trainer.trials("finished")
    assert (trial.value, trial.steps) == (0.9, 30)


def test_a_trial_behind_the_others_is_pruned_by_stopping_its_run(studio):
    rates = iter([0.9] * 5 + [0.1] * 5)
    trainer = Trainer(studio, studio.tuning.create(asked()), lambda settings: 1.0)
    for _number in range(5):
        trainer.advance()
        rate, folder = next(rates), trainer.begin()
        for number in range(1, 4):
            trainer.validate(folder, number, rate)
        trainer.end(folder)
        trainer.advance()
    folder = trainer.begin()
    folder.append(Event("validation", {"step": 4, "metrics": {"accuracy": 0.1}}))
    trainer.advance()
    assert not folder.stop_requested()  # the first ninth of a run says too little
    trainer.validate(folder, 1, 0.1)
    trainer.advance()
    assert folder.stop_requested()
    trainer.end(folder, STOPPED)
    trainer.advance()
    assert trainer.trials()[5].state == "pruned" and studio.tuning.get(trainer.id).best.value == 0.9


@pytest.mark.parametrize("number", [2, 7])
def test_a_lower_loss_is_better_where_the_task_says_so(studio, number):
    spec = {"task": "text-generation", "architecture": "gpt", "dataset": "verse_zh"}
    id = studio.tuning.create(asked({"learning_rate": {"low": 1e-4, "high": 0.1}}, spec, trials=2))
    trainer = Trainer(studio, id)
    for loss in (number, number + 1):
        trainer.advance()
        folder = trainer.begin()
        folder.append(Event("validation", {"step": 1, "metrics": {"loss": loss}}))
        trainer.end(folder)
    trainer.advance()
    assert studio.tuning.get(id).best.value == number


def test_a_run_that_diverged_counts_as_pruned_and_one_that_failed_as_failed(trainer):
    trainer.advance()
    trainer.end(trainer.begin(), DIVERGED)
    trainer.advance()
    trainer.end(trainer.begin(), FAILED, error=Refusal(Words("no memory")).to_json())
    trainer.advance()
    assert [trial.state for trial in trainer.trials()] == ["pruned", "failed", "running"]
    assert str(trainer.trials()[1].why) == "no memory"


def test_five_failures_in_a_row_end_the_search(trainer, studio):
    for _number in range(tuner.FAILURES):
        trainer.advance()
        trainer.end(trainer.begin(), FAILED)
    assert not trainer.advance() and studio.tuning.get(trainer.id).has_ended
    assert len(studio.runs.ids()) == tuner.FAILURES


def test_a_deleted_run_is_a_failed_trial_and_the_search_goes_on(trainer, studio):
    trainer.advance()
    studio.runs.delete(trainer.run().id)
    trainer.advance()
    assert trainer.advance() and [trial.state for trial in trainer.trials()] == ["failed", "running"]


def test_a_run_that_the_supervisor_requeues_is_waited_for(trainer, studio):
    trainer.advance()
    folder = trainer.begin()
    folder.append(Event("state", {"state": INTERRUPTED, "died": True}))
    trainer.advance()
    assert trainer.trials("running") and len(studio.runs.ids()) == 1


def test_a_run_that_died_while_the_machine_was_off_is_resumed_once(trainer, studio, monkeypatch):
    monkeypatch.setattr(tuner, "retry_delay", lambda folder: None)
    trainer.advance()
    folder = trainer.begin()
    for state in (QUEUED, None):
        folder.append(Event("state", {"state": INTERRUPTED, "died": True}))
        trainer.advance()
        if state:
            assert trainer.run().state == state
            trainer.begin()
    assert trainer.trials()[0].state == "failed"


@pytest.mark.parametrize(("limit", "amount", "trials"), [("trials", 3, 3), ("steps", 100, 3)])
def test_a_search_ends_at_its_limit(studio, limit, amount, trials):
    trainer = Trainer(studio, studio.tuning.create(asked(**{"trials": 0, "pruner": "none", limit: amount})))
    while trainer.advance():
        if trainer.trials("running") and trainer.run().state == QUEUED:
            trainer.train()
    assert len(trainer.trials()) == trials


def test_when_the_time_is_over_the_running_trial_is_stopped(studio):
    trainer = Trainer(studio, studio.tuning.create(asked(trials=0, minutes=1e-6)))
    trainer.advance()
    folder = trainer.begin()
    trainer.validate(folder, 1)
    assert trainer.advance() and folder.stop_requested()
    trainer.end(folder, STOPPED)
    trainer.advance()
    assert studio.tuning.get(trainer.id).has_ended and trainer.trials()[0].state == "pruned"


def test_settings_that_do_not_go_together_are_a_failed_trial_without_a_run(studio):
    spec = {"task": "image-classification", "architecture": "vit", "dataset": "digits", "settings": {"width": 32}}
    space = {"width": {"options": [32, 33]}}
    id = studio.tuning.create(asked(space, spec, sampler="grid", trials=0))
    trainer = Trainer(studio, id)
    while trainer.advance():
        if trainer.trials("running"):
            trainer.train()
    assert {trial.settings["width"]: trial.state for trial in trainer.trials()} == {32: "finished", 33: "failed"}
    assert len(studio.runs.ids()) == 1


# -- stopped, resumed, killed ---------------------------------------------------------------------------------
def test_a_stopped_study_goes_on_with_the_very_run_that_was_trained(trainer, studio):
    trainer.advance()
    folder = trainer.begin()
    trainer.validate(folder, 1)
    studio.tuning.stop(trainer.id)
    assert trainer.advance() and folder.stop_requested()
    trainer.end(folder, STOPPED)
    assert not trainer.advance() and studio.tuning.get(trainer.id).has_ended
    studio.tuning.go_on(trainer.id)
    assert trainer.advance() and trainer.run().id == folder.id and trainer.run().state == QUEUED


def test_a_study_that_has_come_to_its_end_does_not_go_on(trainer, studio):
    while trainer.advance():
        if trainer.trials("running"):
            trainer.train()
    with pytest.raises(Refusal, match="end"):
        studio.tuning.go_on(trainer.id)


class Killed(BaseException):
    """Nothing after this line happens."""


@pytest.mark.parametrize("when", range(1, 26))
def test_killed_after_any_write_nothing_is_lost_or_doubled(studio, monkeypatch, when):
    """The journal is cut short by a kill after its write number `when`, and the next server goes on."""
    from optuna.storages.journal import JournalFileBackend

    trainer = Trainer(studio, studio.tuning.create(asked(trials=3)))
    writes, append = [0], JournalFileBackend.append_logs

    def append_and_die(backend, logs):
        append(backend, logs)
        writes[0] += 1
        if writes[0] == when:
            raise Killed

    monkeypatch.setattr(JournalFileBackend, "append_logs", append_and_die)

    def go_on(do):
        while True:
            try:
                return do()
            except Killed:
                continue

    while go_on(trainer.advance):
        if trainer.trials("running") and trainer.run().state == QUEUED:
            folder = trainer.begin()
            for number in range(1, 4):
                trainer.validate(folder, number)
                go_on(trainer.advance)
            trainer.end(folder)
    assert [trial.state for trial in trainer.trials()] == ["finished"] * 3
    assert len({trial.run for trial in trainer.trials()}) == 3 == len(studio.runs.ids())


def test_killed_between_launching_and_writing_it_down_the_run_is_the_same(trainer, studio, monkeypatch):
    launch = studio.runs.launch

    def launch_and_die(*arguments, **options):
        launch(*arguments, **options)
        raise Killed

    monkeypatch.setattr(studio.runs, "launch", launch_and_die)
    with pytest.raises(Killed):
        trainer.advance()
    monkeypatch.undo()
    trainer.advance()
    assert {trainer.run().id} == studio.runs.ids()


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(trainer, studio):
    trainer.advance()
    with trainer.folder.journal_file.open("ab") as journal:
        journal.write(b'{"op_code":4,"wor')
    assert Tuner(studio.runs, studio.tuning.root).tick()
    assert len(trainer.trials()) == 1 and trainer.advance()


@pytest.mark.parametrize("file", ["study.json", "journal.jsonl", "ended.json"])
@pytest.mark.parametrize("content", [b"", b"\x00{", b"[]\n{}\n", b'{"version": 99}'])
def test_a_damaged_study_is_set_aside_and_the_others_go_on(studio, file, content):
    damaged, whole = studio.tuning.create(asked()), studio.tuning.create(asked())
    (studio.tuning.root / damaged / file).write_bytes(content)
    fresh = Studio(studio.home)
    Tuner(fresh.runs, fresh.tuning.root).tick()
    assert len(fresh.runs.ids()) == 1 and [found.id for found in fresh.tuning.all()] == [whole]
    assert damaged in str(fresh.tuning.damaged())
    fresh.tuning.delete(damaged)
    assert fresh.tuning.damaged() is None


def test_a_study_is_deleted_with_its_runs_only_where_that_is_asked_for(studio):
    for with_runs, left in ((False, 1), (True, 1)):
        trainer = Trainer(studio, studio.tuning.create(asked(trials=1)))
        with pytest.raises(Refusal, match="goes on"):
            studio.tuning.delete(trainer.id)
        trainer.advance()
        trainer.train()
        trainer.advance()
        studio.tuning.delete(trainer.id, with_runs)
        assert len(studio.runs.ids()) == left and not studio.tuning.all()


def test_the_best_spec_trains_the_same_as_the_best_trial(trainer, studio):
    with pytest.raises(Refusal):
        studio.tuning.best_spec(trainer.id)
    while trainer.advance():
        if trainer.trials("running"):
            trainer.train()
    best = studio.tuning.get(trainer.id).best
    assert best.value == max(trial.value for trial in trainer.trials("finished"))
    trained = studio.runs.get(best.run).spec
    assert replace(studio.tuning.best_spec(trainer.id), study=trained.study) == trained


def test_a_branch_of_a_trial_is_no_trial():
    spec = RunSpec.check(digits() | {"study": {"study": "s", "trial": 3}})
    assert RunSpec.check(spec.to_json()) == spec
    assert "study" not in RunSpec.check(spec.to_json() | {"study": None}).to_json()


def test_every_field_that_names_a_range_names_one_within_its_bounds():
    for task in catalog.tasks().values():
        for architecture in catalog.architectures_for(task).values():
            for field in fields_for(task, architecture):
                if field.search:
                    assert [field.check(value) for value in field.search], field.name


# -- computed beside ---------------------------------------------------------------------------------------------
def test_the_setting_that_decides_matters_most(studio):
    trainer = Trainer(studio, studio.tuning.create(asked(trials=14, sampler="random", pruner="none")))
    while trainer.advance():
        if trainer.trials("running"):
            trainer.train(validations=1)
    weighed = weigh_settings(trainer.folder)
    assert list(weighed) == ["learning_rate", "dropout"] and sum(weighed.values()) == pytest.approx(1)


def test_importance_comes_from_a_process_of_its_own_and_is_kept(studio):
    trainer = Trainer(studio, studio.tuning.create(asked()))
    while trainer.advance():
        if trainer.trials("running"):
            trainer.train()
    weighed = wait_for(lambda: studio.tuning.importance(trainer.id))
    assert weighed == studio.tuning.importance(trainer.id) and set(weighed) == set(SPACE)


def test_a_rate_is_suggested_where_the_loss_falls_fastest():
    rates = [10 ** (power / 10) for power in range(-50, 1)]
    losses = [2 / (1 + math.exp(6 * (math.log10(rate) + 3))) + max(0, rate - 0.1) * 50 for rate in rates]
    assert suggest_rate(rates, losses) == pytest.approx(1e-3, rel=0.5)
    assert suggest_rate(rates, sorted(losses)) == suggest_rate([], []) == 0.0


def test_a_learning_rate_is_found_on_real_rows_and_nothing_is_kept(studio, cache):
    job = studio.tuning.find_rate(digits(max_steps=0))
    assert studio.tuning.find_rate(digits("another", max_steps=0)) is job
    curve = job.wait()
    assert 1e-5 < curve.suggested < 1 and len(curve.rates) == len(curve.losses) <= 100
    assert not studio.runs.ids() and studio.tuning.find_rate(digits(), begin=False) is None
