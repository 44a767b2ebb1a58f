"""Data sets of the Hub, from a local server that speaks its routes."""

import hashlib

import pyarrow.parquet
import pytest
from data_hub import COMMIT, hub

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.data.sandbox import run_in_sandbox
from bigmodel.importing import hub_datasets as hub_data
from bigmodel.studio import Studio
from tests.corpus import bad_files

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
    "me/secret": {
        "README.md": b"---\nlicense: cc0-1.0\nconfigs:\n- config_name: default\n  data_files:\n"
        b"  - {split: train, path: a/train.parquet}\n  - {split: test, path: a/test.parquet}\n"
        b"- config_name: other\n  data_files:\n"
        b"  - {split: train, path: a/train.parquet}\n  - {split: test, path: b/test.parquet}\n"
        b"dataset_info:\n- config_name: default\n  features:\n  - {name: text, dtype: string}\n"
        b"  - name: label\n    dtype:\n      class_label:\n        names: {'0': bad, '1': good}\n"
        b"  splits:\n  - {name: train, num_examples: 50}\n  - {name: test, num_examples: 20}\n"
        b"---\n<!-- a remark -->\n# Reviews\nWritten <b>by hand</b>.\n",
        "a/train.parquet": bad_files.parquet(
            {"text": [f"a text number {n}" for n in range(50)], "label": [n % 2 for n in range(50)]}
        ),
        "a/test.parquet": bad_files.parquet({"text": [f"b text number {n}" for n in range(20)], "label": [-1] * 20}),
        "b/test.parquet": bad_files.parquet({"text": [f"c {n}" for n in range(20)], "label": [-1] * 20}),
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
    about = studio.imports.hub_info("me/reviews")
    assert (about["revision"], about["licence"], about["configs"]) == (
        COMMIT,
        "cc0-1.0",
        {"default": {"train": 0, "test": 0}},
    )
    parcel = studio.imports.add_hub_dataset(about, "default", ["train", "test"], 1000)
    found = studio.imports.preview(parcel.id)
    assert dict(found.plan.roles) == {"text": "text", "label": "label"} and found.plan.split == "split"
    job = studio.imports.begin(parcel.id, found.plan, wait=True)
    assert job.refusal is None
    dataset = catalog.dataset(job.name)
    assert dataset.version.manifest["rows"] == {"train": 45, "validation": 5, "test": 20}
    assert dataset.version.manifest["source"]["revision"] == COMMIT and dataset.facts.licence == "cc0-1.0"
    original = studio.data.original(dataset.name)
    assert hashlib.sha256(original.path.read_bytes()).hexdigest() == original.sha256
    assert original.sha256 == dataset.version.manifest["source"]["content"] and studio.imports.check_original(
        dataset.name
    )
    assert all(COMMIT in path for _verb, path in studio.asked if "parquet" in path)


def test_rows_whose_classes_are_secret_are_set_aside(studio):
    about = studio.imports.hub_info("me/secret")
    parcel = studio.imports.add_hub_dataset(about, "default", ["train", "test"], 1000)
    job = studio.imports.begin(parcel.id, studio.imports.preview(parcel.id).plan, wait=True)
    assert job.refusal is None
    dataset = catalog.dataset(job.name)
    assert dataset.columns["label"].names == ("bad", "good")
    assert sum(dataset.version.manifest["rows"].values()) == 50 and dataset.version.manifest["aside"] == 20


def test_parts_with_other_columns_are_joined_and_those_of_another_kind_refused(tmp_path):
    parts = [tmp_path / name for name in ("train", "test", "odd")]
    columns = [{"text": ["a"], "label": ["x"]}, {"text": ["b"]}, {"text": [["c"]]}]
    for part, content in zip(parts, columns, strict=True):
        part.write_bytes(bad_files.parquet(content))
    hub_data._join(parts[:2], tmp_path / "file", "me/any")
    rows = pyarrow.parquet.read_table(tmp_path / "file").to_pylist()
    assert rows == [{"text": "a", "label": "x"}, {"text": "b", "label": None}]
    with pytest.raises(Refusal, match="do not go together"):
        hub_data._join(parts, tmp_path / "file", "me/any")


def test_only_one_configuration_is_looked_into_until_another_is_asked_for(studio):
    about = studio.imports.hub_info("me/secret")
    assert about["configs"] == {"default": {"train": 50, "test": 20}, "other": {}}
    assert not any("b/test.parquet" in path for _verb, path in studio.asked)
    assert set(studio.imports.hub_splits(about, "other")) == {"train", "test"}


def test_how_far_a_fetch_is_goes_by_the_rows_there_are(studio):
    parcel = studio.imports.add_hub_dataset(studio.imports.hub_info("me/secret"), "default", ["train", "test"], 100_000)
    told = []
    request = {"do": "hub", "what": "fetch", "about": dict(parcel.about), "folder": str(parcel.path.parent)}
    run_in_sandbox(request, told.append, log=studio.imports.log)
    assert (told[-1]["done"], told[-1]["total"]) == (70, 70)


def test_the_card_is_what_the_authors_have_written(studio):
    assert studio.imports.hub_info("me/secret")["card"] == "# Reviews\nWritten <b>by hand</b>."
    assert studio.imports.hub_info("me/reviews")["card"] == "Made for a test."


def test_a_data_set_without_training_rows_is_cut_anew(studio):
    parcel = studio.imports.add_hub_dataset(studio.imports.hub_info("me/reviews"), "default", ["test"], 1000)
    found = studio.imports.preview(parcel.id)
    assert found.plan.split == "" and any("cut anew" in str(one) for one in found.evidence)
    job = studio.imports.begin(parcel.id, found.plan, wait=True)
    assert job.refusal is None and catalog.dataset(job.name).version.manifest["rows"]["train"] == 16


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
        studio.imports.hub_info(name)


def test_a_revision_that_is_not_there_is_said(studio):
    with pytest.raises(Refusal, match="no such revision"):
        studio.imports.hub_info("me/reviews", "v9")


def test_offline_is_honoured(studio, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Refusal, match="offline"):
        studio.imports.hub_info("me/reviews")
    assert not studio.asked


def test_a_hub_that_cannot_be_reached_is_said(studio, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Refusal, match="cannot be reached"):
        studio.imports.hub_info("me/reviews")
