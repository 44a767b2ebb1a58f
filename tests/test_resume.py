"""Going on after an end: bit by bit what would have come without it."""

import itertools
import json
import shutil

import pytest
import torch
from conftest import damage, learn, retold, small

from bigmodel.core import cpu, disk_space
from bigmodel.core.events import DIVERGED, FINISHED, INTERRUPTED, STOPPED
from bigmodel.core.words import Words
from bigmodel.training import checkpoint, evaluator, resume_state
from bigmodel.training.precision import ComputePlan

STEPS = 7
KINDS = [
    ("text-generation", "gpt", "prose_zh"),
    ("text-generation", "lstm", "prose_zh"),
    ("translation", "transformer", "en_de"),
    ("image-classification", "cnn", "digits"),
    ("image-classification", "vit", "digits"),
    ("image-classification", "resnet", "digits"),
    ("text-classification", "bert", "trivia_en"),
    ("text-classification", "lstm", "verse_zh"),
]


def spec_of(kind, **more):
    dropout = {} if kind[1] == "resnet" else {"dropout": 0.2}
    return small(*kind, **{"max_steps": STEPS, "eval_every": 3, "precision": "fp32"} | dropout | more)


@pytest.fixture(autouse=True)
def pace(monkeypatch, few_rows):
    """Nothing that a stopwatch decides: two runs that are compared write down the same steps."""
    monkeypatch.setattr("bigmodel.training.compute.probe", lambda *_: ComputePlan("fp32", 1, {"fp32, 1": 0.1}))


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


def told(events):
    """What must be the same: everything but clocks and speeds; of what was done twice, the second telling."""
    steps = {e["step"]: (e["loss"], e["gradient_norm"], e["learning_rate"]) for e in events if e.kind == "step"}
    looks = {e["step"]: dict(e["metrics"]) for e in events if e.kind == "validation"}
    samples = {(e["step"], str(e["inputs"])): _untimed(e["blocks"]) for e in events if e.kind == "sample"}
    return steps, looks, samples, [e["metrics"] for e in events if e.kind == "result"]


def _untimed(shown):
    return [{name: value for name, value in block.items() if name != "seconds"} for block in shown]


def assert_same(one, other, before, after):
    assert told(before) == told(after)
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def stop_after(count):
    asked = itertools.count()
    return lambda: next(asked) >= count


@pytest.fixture
def every_step(monkeypatch):
    """A checkpoint after each update."""
    monkeypatch.setattr(evaluator, "CHECKPOINT_SECONDS", -1.0)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[1])
def test_a_run_that_dies_and_goes_on_is_the_run_that_never_died(tmp_path, cache, every_step, kind, accumulation):
    spec = spec_of(kind, accumulation=accumulation)
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    before = learn(one, cache, spec)
    assert before[-1]["state"] == FINISHED
    events = []
    for event in _train(other, cache, spec):  # a death after step 4: nothing of it is tidied up
        events.append(event)
        if event.kind == "checkpoint" and event["step"] == 4:
            break
    events += learn(other, cache, spec)
    assert_same(one, other, before, events)


def _train(folder, cache, spec, stopped=lambda: False):
    from bigmodel.training.loop import train

    return train(spec, folder, stopped, cache)


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2], KINDS[4]], ids=lambda kind: kind[1])
def test_stopping_at_any_moment_and_going_on_changes_nothing(tmp_path, cache, kind):
    spec = spec_of(kind, accumulation=2, max_steps=4, eval_every=2)
    one = tmp_path / "one"
    one.mkdir()
    before, asked = [], itertools.count()
    before = learn(one, cache, spec, stopped=lambda: next(asked) < 0)
    moments = next(asked)  # how often the run asks whether to stop: in steps, validations and the last measurement
    assert moments > 8
    for moment in sorted({0, 1, 3, moments // 2, moments - 2}):
        other = tmp_path / f"other-{moment}"
        other.mkdir()
        events = learn(other, cache, spec, stopped=stop_after(moment))
        assert events[-1]["state"] == STOPPED
        events += learn(other, cache, spec)
        assert_same(one, other, before, events)


@pytest.mark.parametrize(
    "file", ["model.safetensors", resume_state.TENSORS_FILE, resume_state.STATE_FILE, "manifest.json"]
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, cache, every_step, file):
    spec = spec_of(KINDS[3])
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    before = learn(one, cache, spec)
    events = learn(other, cache, spec, stopped=stop_after(12))
    damage(resume_state.checkpoint_folders(other)[0] / file)
    after = learn(other, cache, spec)
    assert any("damaged" in str(event.data) for event in after)
    assert_same(one, other, before, events + after)


def test_damaged_checkpoints_of_later_steps_do_not_push_out_a_new_one(tmp_path, cache, every_step):
    spec = spec_of(KINDS[3], max_steps=12, eval_every=4)
    for event in _train(tmp_path, cache, spec):
        if event.kind == "checkpoint" and event["step"] == 7:
            break
    later, best = (5, 6, 7), 4
    for step in later:
        damage(tmp_path / "checkpoints" / f"step-{step}" / "model.safetensors")
    events = _train(tmp_path, cache, spec)
    assert next(event for event in events if event.kind == "resume")["step"] == best
    new = next(event for event in events if event.kind == "checkpoint")["step"]
    next(events)  # those that are not needed any more have left
    assert new == 5 and [folder.name for folder in resume_state.checkpoint_folders(tmp_path)] == ["step-5", "step-4"]
    assert all(resume_state.is_valid(folder) for folder in resume_state.checkpoint_folders(tmp_path))


def test_a_checkpoint_that_is_not_what_was_written_takes_no_others_place(tmp_path, cache, every_step, monkeypatch):
    real, before = checkpoint.save, set()

    def save(folder, write):
        before.update(folder.name for folder in resume_state.checkpoint_folders(tmp_path))
        real(folder, write)
        if folder.name == "step-6":  # a disk that does not keep what it is given
            damage(folder / resume_state.TENSORS_FILE)
        return folder

    monkeypatch.setattr(checkpoint, "save", save)
    for event in _train(tmp_path, cache, spec_of(KINDS[3], max_steps=12, eval_every=4)):
        assert event.kind != "checkpoint" or event["step"] != 6
        if event.kind == "note" and "cannot be read back" in str(event["words"]):
            break
    assert {"step-4", "step-5"} <= {
        folder.name for folder in resume_state.checkpoint_folders(tmp_path) if resume_state.is_valid(folder)
    }


def test_a_run_that_goes_on_under_other_circumstances_says_so_in_its_story(tmp_path, cache):
    spec = spec_of(KINDS[3])
    learn(tmp_path, cache, spec, stopped=stop_after(6))
    newest = resume_state.checkpoint_folders(tmp_path)[0]
    assert resume_state.changes(resume_state.read(newest), spec, "cpu", cpu.cpu_name()) == []
    (moved,) = resume_state.changes(resume_state.read(newest), spec, "cpu", "Zilog Z80")
    assert str(moved) == f"the processor was {cpu.cpu_name()} and is Zilog Z80"
    part = resume_state.read(newest) | {"processor": "NVIDIA H100 MIG 1g.10gb", "device": "cuda"}
    assert resume_state.changes(part, spec, "cuda", "NVIDIA H100") == []
    then = spec.to_json() | {"settings": {**spec.settings, "learning_rate": 0.02}}
    retold(newest, spec=then, device="cuda", versions=resume_state.versions() | {"numpy": "1.0"})
    told = [str(Words.from_json(event["words"])) for event in learn(tmp_path, cache, spec) if event.kind == "note"]
    (changes,) = [text for text in told if "bit by bit" in text]
    assert "numpy was 1.0 and is" in changes and "the device was CUDA and is CPU" in changes
    assert "Learning rate was 0.02 and is 0.004" in changes and "has changed" not in changes


def test_stopped_in_its_last_measurement_a_run_says_which_weights_it_keeps(tmp_path, cache):
    spec = spec_of(KINDS[3], max_steps=8, eval_every=1, learning_rate=0.1)
    events = []
    stop = lambda: bool(events) and "test split" in str(events[-1].data)  # noqa: E731
    for event in _train(tmp_path, cache, spec, stop):
        events.append(event)
    best = [event["step"] for event in events if event.kind == "checkpoint" and event["best"]][-1]
    assert events[-1]["state"] == STOPPED and best < 8
    assert json.loads((tmp_path / "model" / "bigmodel.json").read_text())["step"] == best
    assert f"step {best} are kept" in str(Words.from_json(events[-2]["words"]))


def test_a_branch_begins_with_the_weights_it_branches_from(tmp_path, cache):
    parent, child = tmp_path / "parent", tmp_path / "child"
    parent.mkdir(), child.mkdir()
    learn(parent, cache, spec_of(KINDS[3], epochs=1, max_steps=0, eval_every=0))
    shutil.copytree(resume_state.checkpoint_folders(parent)[0], child / "origin")
    events = learn(child, cache, spec_of(KINDS[3], epochs=2, max_steps=0, eval_every=0))
    first, plan = (next(event for event in events if event.kind == kind) for kind in ("step", "plan"))
    assert first["step"] == plan["steps_per_epoch"] + 1 and events[-1]["state"] == FINISHED


def test_a_run_that_is_continued_learns_what_a_longer_one_would_have(tmp_path, cache):
    settings = {"schedule": "constant", "warmup": 0, "max_steps": 0, "eval_every": 0}
    parent, child, long = (tmp_path / name for name in ("parent", "child", "long"))
    for folder in (parent, child, long):
        folder.mkdir()
    learn(parent, cache, spec_of(KINDS[3], epochs=1, **settings))
    shutil.copytree(resume_state.checkpoint_folders(parent)[0], child / "origin")
    after = learn(child, cache, spec_of(KINDS[3], epochs=2, **settings))
    whole = learn(long, cache, spec_of(KINDS[3], epochs=2, **settings))
    last = [[e["loss"] for e in events if e.kind == "step"][-1] for events in (after, whole)]
    assert last[0] == last[1]
    assert told(after)[1][max(told(whole)[1])] == told(whole)[1][max(told(whole)[1])]


def test_a_disk_without_room_pauses_the_run_and_it_goes_on_with_room(tmp_path, cache, monkeypatch):
    spec = spec_of(KINDS[3])
    monkeypatch.setattr(disk_space, "MARGIN", 2**60)
    events = learn(tmp_path, cache, spec)
    assert events[-1]["state"] == INTERRUPTED and "MB" in str(events[-1]["reason"])
    monkeypatch.undo()
    assert learn(tmp_path, cache, spec)[-1]["state"] == FINISHED


@pytest.mark.parametrize("fits, parts", [(8, 4), (3, 16)])  # what is tried before the first step is 8 of 32
def test_a_batch_too_large_for_the_memory_is_cut_and_teaches_the_same(tmp_path, cache, monkeypatch, fits, parts):
    from transformers import ViTForImageClassification

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    spec = spec_of(KINDS[4], dropout=0.0, augment="none", batch_size=32)
    before = learn(whole, cache, spec)
    original = ViTForImageClassification.forward

    def short_of_memory(self, pixel_values=None, **more):
        if self.training and len(pixel_values) > fits:
            torch.empty(2**60)  # what torch says when the memory is used up
        return original(self, pixel_values=pixel_values, **more)

    monkeypatch.setattr(ViTForImageClassification, "forward", short_of_memory)
    events = learn(cut, cache, spec)
    assert [event["parts"] for event in events if event.kind == "note" and "parts" in event.data] == [parts]
    for step, values in told(before)[0].items():
        assert told(events)[0][step] == pytest.approx(values, rel=0.01)


def test_norms_over_a_batch_see_no_batch_of_one_and_none_that_was_given_up(tmp_path, cache, monkeypatch):
    from transformers import ResNetForImageClassification

    spec = spec_of(("image-classification", "resnet", "digits"), batch_size=7, max_steps=3, eval_every=3)
    original, computed = ResNetForImageClassification.forward, []

    def short_of_memory(self, pixel_values=None, **more):
        found = original(self, pixel_values=pixel_values, **more)
        if self.training and len(pixel_values) > 3:
            torch.empty(2**60)  # once the norms have seen it
        computed.extend([len(pixel_values)] * self.training)
        return found

    monkeypatch.setattr(ResNetForImageClassification, "forward", short_of_memory)
    monkeypatch.setattr("bigmodel.training.compute.probe", lambda *_: ComputePlan("fp32", 1, {"fp32, 1": 0.1}))
    learn(tmp_path, cache, spec)
    assert computed == 3 * [3, 2, 2]
    assert {int(value) for name, value in weights(tmp_path).items() if name.endswith("num_batches_tracked")} == {9}


def test_memory_that_is_wanting_elsewhere_is_said_with_what_was_being_done(tmp_path, cache, monkeypatch):
    from bigmodel.core.errors import Refusal

    monkeypatch.setattr("bigmodel.training.compute.probe", lambda *_: torch.empty(2**60))
    with pytest.raises(Refusal, match="Measuring the first batch"):
        learn(tmp_path, cache, spec_of(KINDS[3]))


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint(tmp_path, cache, every_step):
    spec = spec_of(KINDS[0], optimizer="sgd", learning_rate=10.0, clip=0.0, max_steps=40, eval_every=50)
    events = learn(tmp_path, cache, spec)
    assert events[-1]["state"] == DIVERGED
    newest = resume_state.checkpoint_folders(tmp_path)[0]
    assert resume_state.is_valid(newest) and resume_state.read(newest)["step"] == events_steps(events)[-1] - 1


def events_steps(events):
    return [event["step"] for event in events if event.kind == "step"]
