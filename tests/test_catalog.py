"""Everything in the catalogue that fits together learns, is saved, and answers."""

import itertools
import json

import pytest
from conftest import small

from benchmarks.quality import export_trials, plain_transformers
from bigmodel.core import blocks, catalog
from bigmodel.core.contracts import HEADS, is_compatible
from bigmodel.core.events import FINISHED
from bigmodel.core.spec import TRAINING_FIELDS

FITTING = [
    (task.name, architecture.name, dataset.name)
    for task, architecture, dataset in itertools.product(
        catalog.tasks().values(), catalog.architectures().values(), catalog.datasets().values()
    )
    if is_compatible(task, architecture, dataset)
    and architecture.name != "pretrained"  # its bases are in test_pretrained.py
]
LIBRARY = {"gpt", "bert", "transformer", "vit", "resnet"}  # networks whose class is transformers' own


@pytest.mark.parametrize("names", FITTING, ids="/".join)
def test_whatever_fits_learns(names, trained):
    events, _folder = trained(*names)
    losses = [event["loss"] for event in events if event.kind == "step"]
    assert sum(losses[-3:]) / 3 < losses[0] * 0.97
    assert events[-1]["state"] == FINISHED


@pytest.mark.parametrize("names", FITTING, ids="/".join)
def test_whatever_has_learnt_answers(names, trained):
    from bigmodel.data.prepare import head
    from bigmodel.inference.engine import Engine

    _events, folder = trained(*names)
    task = catalog.task(names[0])
    example = task.examples(head(catalog.dataset(names[2]), "test", 40), small(*names).settings)[0]
    answer = list(Engine(folder / "model").answer(example))
    assert answer and all(blocks.from_json(json.loads(json.dumps(blocks.to_json(one)))) == one for one in answer)


@pytest.mark.parametrize("names", FITTING, ids="/".join)
def test_every_metric_of_the_task_is_measured_on_the_test_split(names, trained):
    events, folder = trained(*names)
    (result,) = (event for event in events if event.kind == "result")
    assert set(result["metrics"]) == {metric.name for metric in catalog.task(names[0]).metrics}
    assert json.loads((folder / "model" / "bigmodel.json").read_text("utf-8"))["metrics"] == result["metrics"]


@pytest.fixture(scope="module")
def plain(trained):
    """Answers of one process without bigmodel, by all models whose network it knows, to what the answers here are of."""
    names = [names for names in FITTING if names[1] in LIBRARY]
    asked = {one: export_trials.request(trained(*one)[1] / "model", 4, **limits(one)) for one in names}
    answers = export_trials.ask_plain([request for request, _here in asked.values()])
    return {one: (here, there) for (one, (_request, here)), there in zip(asked.items(), answers, strict=True)}


def limits(names):
    return {"max_new_tokens": 6} if catalog.task(names[0]).head == "causal-lm" else {}


@pytest.mark.parametrize("names", [names for names in FITTING if names[1] in LIBRARY], ids="/".join)
def test_what_was_trained_answers_in_plain_transformers_as_here(names, plain):
    here, there = plain[names]
    assert here and list(map(export_trials.same, here, there)) == [True] * len(here), (here, there)


@pytest.mark.parametrize("names", [names for names in FITTING if names[1] not in LIBRARY], ids="/".join)
def test_a_network_of_our_own_answers_in_transformers_as_here_once_it_is_registered(names, trained):
    asked, here = export_trials.request(trained(*names)[1] / "model", 4, **limits(names))
    there = plain_transformers.answers(asked)
    assert here and list(map(export_trials.same, here, there)) == [True] * len(here), (here, there)


def test_each_head_of_the_catalogue_stands_in_the_table():
    heads = {task.head for task in catalog.tasks().values()}
    heads |= {head for architecture in catalog.architectures().values() for head in architecture.heads}
    assert heads <= set(HEADS)


def test_no_two_settings_of_a_run_share_a_name():
    for task, architecture in itertools.product(catalog.tasks().values(), catalog.architectures().values()):
        names = [field.name for field in (*TRAINING_FIELDS, *task.fields, *architecture.hyperparameters)]
        assert not is_compatible(task, architecture) or len(names) == len(set(names))


def test_every_setting_and_thing_explains_itself():
    things = [*catalog.tasks().values(), *catalog.architectures().values(), *catalog.datasets().values()]
    assert all(thing.title.text and thing.about.text for thing in things)
    fields = [field for task in catalog.tasks().values() for field in (*task.fields, *task.inputs)]
    fields += [field for architecture in catalog.architectures().values() for field in architecture.hyperparameters]
    assert all(field.label.text and field.help.text.endswith(".") for field in [*fields, *TRAINING_FIELDS])


def test_the_article_s_network_has_its_sizes_by_default():
    from bigmodel.core.spec import defaults

    task, lstm, data = catalog.task("text-generation"), catalog.architecture("lstm"), catalog.dataset("classics_en")
    settings = defaults(task, lstm, data)
    model = lstm.model({"vocabulary": 7000, "end": 2, "pad": 0}, settings)
    assert tuple(model.embedding.weight.shape) == (10_000, 128)
    assert (model.lstm.hidden_size, model.lstm.num_layers, tuple(model.dense.weight.shape)) == (128, 1, (10_000, 128))
    assert (settings["optimizer"], settings["loss"], settings["epochs"]) == ("adam", "cross-entropy", 10)


def test_generate_of_transformers_works_with_our_own_network(trained):
    from bigmodel.inference.engine import Engine

    _events, folder = trained("text-generation", "lstm", "prose_zh")
    engine = Engine(folder / "model")
    ids = engine.processor("子曰", return_tensors="pt")["input_ids"]
    assert engine.model.generate(ids, max_new_tokens=5, do_sample=False, eos_token_id=None).shape[1] == ids.shape[1] + 5
