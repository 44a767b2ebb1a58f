"""What a model sees of the data, from another process: as a batch holds it."""

import base64
import io

import pytest
from PIL import Image

from bigmodel.core.catalog import dataset
from bigmodel.core.errors import Refusal
from bigmodel.studio import Studio


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    studio = Studio(tmp_path_factory.mktemp("seen"))

    def ask(task, architecture, dataset):
        return studio.models.batch_view({"task": task, "architecture": architecture, "dataset": dataset})

    yield ask
    studio.close()


def test_a_language_model_sees_tokens_and_all_but_the_first_count(seen):
    found = seen("text-generation", "gpt", "prose_zh")
    kinds = [kind for _text, _id, kind in found.examples[0]["parts"]["text"]]
    assert kinds[0] == "context"
    assert set(kinds[1:]) <= {"counts", "unknown"}
    assert len(kinds) == found.shapes["input_ids"][1] + 1
    counted = sum(rows for _low, _high, rows in found.lengths["text"])
    assert counted > 1000 and found.sampled == (counted if counted < len(dataset("prose_zh").rows()["train"]) else 0)


def test_a_translator_reads_the_source_and_writes_the_target(seen):
    one = seen("translation", "transformer", "en_de").examples[0]["parts"]
    assert not any(kind == "counts" for _text, _id, kind in one["source"])
    assert all(kind in ("counts", "padding", "unknown") for _text, _id, kind in one["target"])


def test_a_picture_is_seen_with_its_class(seen):
    found = seen("image-classification", "cnn", "digits")
    with Image.open(io.BytesIO(base64.b64decode(found.examples[0]["picture"]))) as picture:
        assert picture.size == (8, 8)
    assert found.examples[0]["label"] in "0123456789"


def test_what_does_not_fit_is_refused(seen):
    with pytest.raises(Refusal):
        seen("translation", "gpt", "en_de")
