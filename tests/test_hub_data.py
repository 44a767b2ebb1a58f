"""Data sets of the Hub, from a local server that speaks its routes."""

import pytest
from data_hub import COMMIT, hub

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.studio import Studio
from bigmodel.torture import bad_files

REPOSITORIES = {
    "me/reviews": {
        "README.md": b"---\nlicense: cc0-1.0\n---\n",
        "data/train-00000-of-00001.parquet": bad_files.parquet(
            {"text": [f"a text number {n}" for n in range(50)], "label": [n % 2 for n in range(50)]}
        ),
        "data/test-00000-of-00001.parquet": bad_files.parquet(
            {"text": [f"b text number {n}" for n in range(20)], "label": [n % 2 for n in range(20)]}
        ),
    },
    "me/gated": {"train.csv": bad_files.csv()},
    "me/nothing": {"README.md": b"no tables here"},
    "me/broken": {"train.csv": bad_files.csv()},
}


@pytest.fixture
def studio(home, monkeypatch):
    with hub(REPOSITORIES, gated={"me/gated"}, broken={"train.csv"}) as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_HOME", str(home / "hub"))
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        one = Studio(home)
        one.asked = asked
        yield one
        one.close()


def test_a_data_set_of_the_hub_is_pinned_looked_into_and_taken_in(studio):
    about = studio.hub_about("me/reviews")
    assert (about["revision"], about["licence"], about["configs"]) == (
        COMMIT,
        "cc0-1.0",
        {"default": ["train", "test"]},
    )
    parcel = studio.hub_parcel(about, "default", ["train", "test"], 1000)
    found = studio.look_into(parcel.id)
    assert dict(found.plan.roles) == {"text": "text", "label": "label"} and found.plan.split == "split"
    job = studio.begin_import(parcel.id, found.plan, wait=True)
    assert job.refusal is None
    dataset = catalog.dataset(job.name)
    assert dataset.version.manifest["rows"] == {"train": 45, "validation": 5, "test": 20}
    assert dataset.version.manifest["source"]["revision"] == COMMIT and dataset.facts.licence == "cc0-1.0"
    assert all(COMMIT in path for _verb, path in studio.asked if "parquet" in path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("me/none", "no data set me/none"),
        ("me/gated", "agreed to its terms"),
        ("me/nothing", "no tables"),
        ("../../etc/passwd", "no name of a data set"),
    ],
)
def test_what_cannot_be_had_is_explained(studio, name, words):
    with pytest.raises(Refusal, match=words):
        studio.hub_about(name)


def test_a_revision_that_is_not_there_is_said(studio):
    with pytest.raises(Refusal, match="no such revision"):
        studio.hub_about("me/reviews", "v9")


def test_offline_is_honoured(studio, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Refusal, match="offline"):
        studio.hub_about("me/reviews")
    assert not studio.asked


def test_a_hub_that_cannot_be_reached_is_said(studio, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Refusal, match="cannot be reached"):
        studio.hub_about("me/reviews")
