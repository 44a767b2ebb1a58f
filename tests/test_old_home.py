"""Settings, events, data, a base and checkpoints of a home folder written before 0.1.0 (tests/corpus/home) are still read."""

import shutil
from pathlib import Path

import pytest
from conftest import wait_for

from bigmodel.core import catalog
from bigmodel.studio import Studio

HOME = Path(__file__).with_name("corpus") / "home"
STOPPED, REFERENCE = "20261128-194355-bert-reviews-ef6a", "20261128-194306-bert-reviews-0695"
LORA = "20261128-194254-pretrained-reviews-e9d8"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    home = tmp_path_factory.mktemp("old") / "home"
    shutil.copytree(HOME, home)
    studio = Studio(home)
    studio.serve()
    yield studio
    studio.close()


def losses(studio, run):
    _cursor, events = studio.runs.events(run, kinds=("step",))
    return {event["step"]: event["loss"] for event in events}


def test_its_runs_are_listed_with_their_ends(studio):
    wait_for(lambda: len(studio.runs.all()) == 4)
    assert {run.spec.name: run.state for run in studio.runs.all()} == {
        "Writer": "finished",
        "Fine-tuned": "finished",
        "Not stopped": "finished",
        "Stopped": "stopped",
    }
    assert studio.runs.get(REFERENCE).validation["accuracy"] == 0.5


def test_its_data_are_there_in_every_version_with_what_was_set_aside(studio):
    (own,) = list(studio.data.registry.values())
    assert (str(own.title), own.name) == ("Reviews", "reviews@bc989ae7")
    assert [version.name for version in studio.data.registry.versions("reviews")] == [
        "reviews@bc989ae7",
        "reviews@d917facb",
    ]
    (rejected,) = studio.data.rejected_rows(own.name)
    assert rejected["row"] == 82 and rejected["raw"].startswith('"a row that never ends')
    assert studio.data.find_rows(own.name).total == 79
    assert catalog.dataset("reviews@d917facb").fingerprint() != own.fingerprint()


def test_its_base_and_what_was_trained_answer(studio):
    assert "writer" in {base.name for base in studio.base_models.all()}
    for model in (LORA, "base:writer"):
        (*_blocks, last) = studio.models.ask(model, {"prompt": "the film", "max_new_tokens": 4, "seed": 0})
        assert last.done and last.text
    (scores,) = studio.models.ask(REFERENCE, {"text": "the film was good"})
    assert set(scores.names) == {"neg", "pos"}


def test_a_checkpoint_of_it_goes_on_as_the_run_that_was_never_stopped(studio):
    """Bit by bit: the libraries' versions are pinned, the data are encoded to the same arrays."""
    reference = losses(studio, REFERENCE)
    assert max(losses(studio, STOPPED)) == 50
    studio.runs.resume(STOPPED, anyway=True)
    wait_for(lambda: studio.runs.get(STOPPED).has_ended)
    assert studio.runs.get(STOPPED).state == "finished"
    assert losses(studio, STOPPED) == reference
