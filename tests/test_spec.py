"""What a run is asked for is checked before anything is started, and a refusal says what would do."""

import math
from itertools import product

import pytest

from bigmodel.core import catalog, limits
from bigmodel.core.contracts import is_compatible
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Image, Number, Switch, Text, Turns
from bigmodel.core.spec import RunSpec, fields_for
from bigmodel.studio import Studio

EVERY = product(catalog.tasks().values(), catalog.architectures().values(), catalog.datasets().values())
FITTING = [(task, one, data) for task, one, data in EVERY if is_compatible(task, one, data)]
NETWORKS = {(task.name, one.name): (task, one, data) for task, one, data in reversed(FITTING)}.values()
FIELDS = [(task, one, data, field) for task, one, data in NETWORKS for field in fields_for(task, one)]
INPUTS = [(task, field) for task in catalog.tasks().values() for field in task.inputs]


def name_of(value):
    return getattr(value, "name", None)


def names(task, architecture, dataset):
    return {"task": task.name, "architecture": architecture.name, "dataset": dataset.name}


def bad_values(field):
    """Values of the wrong type, out of bounds, and of no sense, for a field of this kind."""
    always = [None, [], {}, object(), b"bytes"]
    if isinstance(field, Number):
        bounds = [field.minimum - 1, field.maximum + 1, math.nan, math.inf, -math.inf, 10**400, -(10**400)]
        return [*always, "5", "", "many", True, *bounds, *([field.minimum + 0.5] if field.integer else [])]
    if isinstance(field, Choice):
        return [*always, "", "nothing", 1, True, next(iter(field.options), "nobody's") + " "]
    if isinstance(field, Switch):
        return [*always, "on", 1, 0, ""]
    if isinstance(field, Text):
        return [None, [], {}, 1, True, b"bytes", "x" * (field.maximum + 1)]
    if isinstance(field, Image):
        return [None, [], "a.png", b"", b"\x89PNG broken", b"x" * (limits.UPLOAD_BYTES + 1)]
    if isinstance(field, Turns):
        said = {"role": "user", "content": "x"}
        wrong = [
            {"role": "ghost", "content": "x"},
            {"role": "user"},
            {**said, "more": 1},
            {"role": "user", "content": 5},
        ]
        return [None, {}, "hello", b"bytes", [5], [None], *([one] for one in wrong), [said] * (limits.TURNS + 1),
                [{"role": "user", "content": "x" * (limits.TURN_CHARACTERS + 1)}], [{"role": "user", "content": "\ud800"}]]  # fmt: skip
    raise AssertionError(f"no bad values for {type(field).__name__}: add some")


def bad_texts(field):
    """The same as a person may type them behind --set."""
    if isinstance(field, Number):
        return ["", "many", "nan", "inf", "-inf", "1e400", str(field.minimum - 1), str(field.maximum + 1), "1,5", "٣x"]
    if isinstance(field, Choice):
        return ["", "nothing", "AUTO "]
    if isinstance(field, Switch):
        return ["", "maybe", "2"]
    if isinstance(field, Text):
        return ["x" * (field.maximum + 1)]
    return ["", "/no/such/file.png", "/", "\0", __file__]


def refused(act, field):
    """The refusal names the field and says what would do."""
    with pytest.raises(Refusal) as found:
        act()
    refusal = found.value
    assert refusal.field == field and refusal.what and refusal.do
    assert refusal.say("en") and refusal.say("zh")
    assert Refusal.from_json(refusal.to_json()).say("en") == refusal.say("en")


@pytest.mark.parametrize(("task", "architecture", "dataset"), FITTING, ids=name_of)
def test_defaults_are_within_their_own_bounds(task, architecture, dataset):
    spec = RunSpec.check(names(task, architecture, dataset))
    assert set(spec.settings) == {field.name for field in fields_for(task, architecture)}
    assert RunSpec.check(spec.to_json()) == spec
    assert RunSpec.check(names(task, architecture, dataset) | {"settings": dict(spec.settings)}) == spec


@pytest.mark.parametrize(("task", "architecture", "dataset", "field"), FIELDS, ids=name_of)
def test_a_bad_setting_is_refused_with_what_would_do(task, architecture, dataset, field):
    for value in bad_values(field):
        data = names(task, architecture, dataset) | {"settings": {field.name: value}}
        refused(lambda data=data: RunSpec.check(data), field.name)
    for text in bad_texts(field):
        refused(lambda text=text: field.parse(text), field.name)


@pytest.mark.parametrize(("task", "field"), INPUTS, ids=name_of)
def test_a_bad_input_is_refused_with_what_would_do(task, field):
    for value in bad_values(field):
        refused(lambda value=value: field.check(value), field.name)
    for text in bad_texts(field):
        refused(lambda text=text: field.parse(text), field.name)


@pytest.mark.parametrize(("task", "architecture", "dataset"), NETWORKS, ids=name_of)
def test_an_unknown_setting_is_refused_with_those_that_are_known(task, architecture, dataset):
    data = names(task, architecture, dataset) | {"settings": {"learning rate": 1}}
    with pytest.raises(Refusal, match="learning_rate") as found:
        RunSpec.check(data)
    assert found.value.field == "learning rate"


@pytest.mark.parametrize("kind", ["task", "architecture", "dataset"])
@pytest.mark.parametrize("value", [None, "", "nothing", 1, [], {}, "../etc", "x" * 100_000])
def test_an_unknown_name_is_refused_with_those_that_are_known(kind, value):
    data = names(*FITTING[0]) | {kind: value}
    known = next(
        iter({"task": catalog.tasks, "architecture": catalog.architectures, "dataset": catalog.datasets}[kind]())
    )
    with pytest.raises(Refusal, match=known) as found:
        RunSpec.check(data)
    assert found.value.field == kind and len(found.value.say("en")) < 1000


@pytest.mark.parametrize("missing", ["task", "architecture", "dataset"])
def test_nothing_of_the_three_can_be_left_out(missing):
    refused(
        lambda: RunSpec.check({name: value for name, value in names(*FITTING[0]).items() if name != missing}), missing
    )


def test_what_does_not_fit_is_refused_with_what_does():
    images, texts = catalog.task("image-classification"), catalog.task("text-generation")
    for task, other in ((images, texts), (texts, images)):
        architecture, dataset = next((one, data) for at, one, data in FITTING if at is other)
        fitting = next((one, data) for at, one, data in FITTING if at is task)
        refused(lambda t=task, a=architecture, f=fitting: RunSpec.check(names(t, a, f[1])), "architecture")
        refused(lambda t=task, d=dataset, f=fitting: RunSpec.check(names(t, f[0], d)), "dataset")


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("version", [0, 2, "1", None, math.nan, [], "x" * 1000]),
        ("name", [None, 1, [], {}, b"name", "x" * (limits.RUN_NAME_CHARACTERS + 1)]),
        ("settings", [None, [], "epochs=1", 1, [("epochs", 1)]]),
        ("stray", [1]),
    ],
)
def test_every_other_part_of_a_spec_is_checked_too(part, values):
    for value in values:
        refused(lambda value=value: RunSpec.check(names(*FITTING[0]) | {part: value}), part)


@pytest.mark.parametrize("spec", [None, [], "text-generation", 1, {}, {"task": {}}, {1: 2}])
def test_what_is_no_spec_at_all_is_refused_by_the_studio(tmp_path, spec):
    with pytest.raises(Refusal):
        Studio(tmp_path).runs.launch(spec)
    assert Studio(tmp_path).runs.all() == []


def test_a_device_this_machine_has_not_is_refused_before_the_run(tmp_path):
    from bigmodel.runs import device

    absent = [name for name, there in (("cuda", device.gpu_count() > 0), ("mps", device.has_apple_gpu())) if not there]
    for name in absent:
        spec = names(*FITTING[0]) | {"settings": {"device": name}}
        refused(lambda spec=spec: Studio(tmp_path).runs.launch(spec), "device")


def test_a_spec_is_frozen_and_its_fingerprint_is_its_content():
    one, same = (RunSpec.check(names(*FITTING[0])) for _ in range(2))
    other = RunSpec.check(names(*FITTING[0]) | {"settings": {"seed": 1}})
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    with pytest.raises(TypeError):
        one.settings["seed"] = 5
    with pytest.raises(AttributeError):
        one.task = "another"
