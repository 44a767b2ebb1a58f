"""Pictures as people bring them: folders, tables that name their classes, one-hot columns, boxes, phones, 16 bits."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from bigmodel.core.errors import Refusal
from bigmodel.core.words import say
from bigmodel.importing.formats.image_folder import normalize_image
from bigmodel.importing.formats.readers import records
from bigmodel.importing.import_plan import STORED_IMAGES, ImportPlan
from bigmodel.importing.preview import preview_file
from bigmodel.importing.to_rows import rows
from tests.corpus import bad_files

HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAACoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAEAAAAAEAAAAQAAAAAf///9AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAMm1kYXQAAAAmKAGvGSFeQkDvXaW//3x8/zqV/iFbfKZKppcE14iZCwOBgI2RnTg="
)  # 16 x 16, red


def folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def pictures(*names):
    return {name: bad_files.picture(number) for number, name in enumerate(names)}


def taken(path, **corrected):
    """({picture: class}, {what is set aside: reason}) of an import."""
    plan = preview_file(path, path.name, corrected).plan
    by_row, labels, reasons = {}, {}, {}
    for record in records(path, plan, [0]):
        if isinstance(record, tuple):
            by_row[record[0]] = record[1]["name"]
    for row in rows(records(path, plan, [0]), plan):
        if isinstance(row, tuple):
            labels[by_row[row[0]]] = row[1].get("label")
        else:
            reasons.setdefault(by_row[row.row] if row.picture and row.row in by_row else row.raw, str(row.reason))
    return labels, reasons


def said(path):
    return " ".join(str(words) for words in preview_file(path, path.name).evidence)


def jsonl(**classes):
    return "\n".join(json.dumps({"file_name": f"{name}.png", "label": label}) for name, label in classes.items())


# -- tables that name classes ------------------------------------------------------------------------------
def test_a_table_only_names_the_pictures_of_its_own_folder(tmp_path):
    files = pictures("train/a.png", "train/b.png", "test/a.png", "test/b.png")
    tables = {"train/metadata.jsonl": jsonl(a="red", b="blue"), "test/metadata.jsonl": jsonl(a="blue", b="red")}
    labels, reasons = taken(folder(tmp_path / "x", files | tables))
    assert labels == {"train/a.png": "red", "train/b.png": "blue", "test/a.png": "blue", "test/b.png": "red"}
    assert not reasons


def test_a_table_that_is_called_train_does_not_name_pictures_for_the_test(tmp_path):
    files = pictures("train/1.png", "train/2.png", "test/1.png", "test/2.png", "test/3.png")
    path = folder(tmp_path / "x", files | {"train.csv": "id,kind\n1,a\n2,b\n3,a\n"})
    labels, reasons = taken(path)
    assert labels == {"train/1.png": "a", "train/2.png": "b"}
    assert "no picture of this name" in reasons["3"] and "does not name it" in reasons["test/3.png"]


def test_a_row_that_may_mean_two_pictures_names_none(tmp_path):
    path = folder(tmp_path / "x", pictures("left/1.png", "right/1.png", "left/2.png") | {"labels.csv": "file,label\n1.png,a\n2.png,b\n"})  # fmt: skip
    labels, reasons = taken(path, labels="labels.csv")
    assert labels == {"left/2.png": "b"} and "Several pictures" in reasons["left/1.png"]


def test_folders_in_a_row_tell_pictures_of_one_name_apart(tmp_path):
    files = pictures("cats/1.png", "dogs/1.png", "cats/2.png")
    path = folder(tmp_path / "x", files | {"labels.csv": "file,label\ncats/1.png,a\ndogs/1.png,b\ndogs/2.png,b\n"})
    labels, reasons = taken(path, labels="labels.csv")
    assert labels == {"cats/1.png": "a", "dogs/1.png": "b"} and set(reasons) == {"cats/2.png", "dogs/2.png"}


def test_names_without_ending_and_folders_called_images_are_known(tmp_path):
    files = pictures(*(f"train_images/a{n}.png" for n in range(6)), "test_images/b0.png")
    table = "id_code,diagnosis\n" + "".join(f"a{n},{n % 2}\n" for n in range(6)) + "a9,1\n"
    path = folder(tmp_path / "x", files | {"train.csv": table, "sample_submission.csv": "id_code,diagnosis\nb0,0\n"})
    labels, reasons = taken(path)
    assert labels == {f"train_images/a{n}.png": str(n % 2) for n in range(6)}
    assert set(reasons) == {"a9", "test_images/b0.png", "sample_submission.csv"}  # and nothing else is lost


def test_the_class_of_one_hot_columns_is_the_one_that_is_1(tmp_path):
    lines = ["image_id,age,healthy,rust,scab", "p0,1,1,0,0", "p1,4,0,1,0", "p2,3,0,0,1", "p3,9,1,0,0"]
    lines += [f"p{n},2,0,1,0" for n in range(4, 12)] + ["p12,1,0,0,0"]
    path = folder(tmp_path / "x", pictures(*(f"images/p{n}.png" for n in range(13))) | {"train.csv": "\n".join(lines)})
    labels, reasons = taken(path)
    assert [labels[f"images/p{n}.png"] for n in range(4)] == ["healthy", "rust", "scab", "healthy"]
    assert "missing" in str(reasons.values())


def test_a_row_that_names_a_picture_once_more_is_set_aside(tmp_path):
    path = folder(tmp_path / "x", pictures("a.png", "b.png", "c.png") | {"labels.csv": "file,label\na.png,x\nb.png,y\na.png,y\nc.png,x\n"})  # fmt: skip
    labels, reasons = taken(path)
    assert labels == {"a.png": "x", "b.png": "y", "c.png": "x"} and "An earlier row" in reasons["a.png"]


def test_folders_that_are_classes_beat_a_table_of_something_else(tmp_path):
    files = pictures(*(f"{kind}/{kind}{n}.png" for kind in ("cat", "dog") for n in range(4)))
    table = "file,camera\n" + "".join(f"{name},{'AB'[n % 2]}\n" for n, name in enumerate(files))
    path = folder(tmp_path / "x", files | {"about.csv": table})
    labels, _reasons = taken(path)
    assert set(labels.values()) == {"cat", "dog"} and "about.csv names their classes, too" in said(path)


def test_a_table_in_an_archive_names_pictures_too(tmp_path):
    files = pictures("d/train/a.png", "d/train/b.png", "d/test/a.png")
    tables = {
        "d/train/metadata.jsonl": jsonl(a="red", b="blue").encode(),
        "d/test/metadata.jsonl": jsonl(a="blue").encode(),
    }
    (tmp_path / "x.zip").write_bytes(bad_files.archive(files | tables))
    assert taken(tmp_path / "x.zip")[0] == {"d/train/a.png": "red", "d/train/b.png": "blue", "d/test/a.png": "blue"}


def test_the_preview_says_which_table_names_a_picture(tmp_path):
    files = pictures(*(f"{part}/{n}.png" for part in ("train", "val") for n in range(3)))
    tables = {f"{part}.csv": "file,label\n0.png,x\n1.png,y\n2.png,x\n" for part in ("train", "val")}
    shown = preview_file(folder(tmp_path / "x", files | tables), "x").preview
    assert {(row["name"].split("/")[0], row["table"]) for row in shown} == {("train", "train.csv"), ("val", "val.csv")}


# -- boxes -------------------------------------------------------------------------------------------------
BOXES = {
    "YOLO": {"labels/train/1.txt": "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n", "labels/val/2.txt": "1 0.5 0.5 0.2 0.2\n"},
    "Pascal VOC": {"annotations/1.xml": "<annotation><object><bndbox></bndbox></object></annotation>"},
    "COCO": {"annotations.json": '{"images": [{"id": 1}], "annotations": [{"bbox": [1, 2, 3, 4]}]}'},
    "CSV": {"train.csv": "file,xmin,xmax,class\n1.png,1,2,a\n2.png,1,2,b\n"},
}


@pytest.mark.parametrize("format", BOXES)
def test_boxes_are_no_classes(format, tmp_path):
    path = folder(tmp_path / "x", pictures("images/train/1.png", "images/val/2.png") | BOXES[format])
    with pytest.raises(Refusal, match="object detection") as refused:
        preview_file(path, "x")
    assert format in str(refused.value)


# -- nothing is lost ---------------------------------------------------------------------------------------
def test_every_file_of_a_folder_is_taken_or_set_aside(tmp_path):
    files = pictures("cat/a.png", "dog/b.png") | {
        "cat/c.HEIC": HEIC,
        "dog/d.heic": b"broken",
        "notes.txt": "x",
        "v.mp4": b"x",
    }
    path = folder(tmp_path / "x", files)
    labels, reasons = taken(path)
    assert set(labels) == {"cat/a.png", "dog/b.png", "cat/c.HEIC"}
    assert set(reasons) == {"dog/d.heic", "notes.txt", "v.mp4"}
    assert "Of 6 files 2 are no pictures" in said(path) and ".mp4 (1), .txt (1)" in said(path)


def test_pictures_of_phones_are_read():
    avif = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 40)).save(avif, "AVIF")
    for data in (HEIC, avif.getvalue()):
        red, green, _blue = Image.open(io.BytesIO(normalize_image(data))).convert("RGB").getpixel((8, 8))
        assert red > 180 and green < 60


# -- more than 8 bits --------------------------------------------------------------------------------------
def deep(level, format="PNG", dtype=np.uint16):
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8), level, dtype) + np.arange(8, dtype=dtype)).save(out, format)
    return out.getvalue()


@pytest.mark.parametrize(("format", "dtype", "levels"), [("PNG", np.uint16, (500, 3000)), ("TIFF", np.uint16, (500, 60000)), ("TIFF", np.float32, (-4, 30))])  # fmt: skip
def test_grey_pictures_of_many_bits_keep_one_scale(format, dtype, levels, tmp_path):
    files = {f"{'ab'[n % 2]}/{n}.{format.lower()}": deep(levels[n % 2], format, dtype) for n in range(6)}
    path = folder(tmp_path / "x", files)
    means = {"a": [], "b": []}
    for _number, row in rows(
        records(path, ImportPlan("pictures", {"image": "picture", "label": "folder"}), [0]),
        ImportPlan("pictures", {"image": "picture", "label": "folder"}),
    ):
        means[row["label"]].append(np.asarray(Image.open(io.BytesIO(row["image"]))).mean())
    assert max(means["a"]) + 60 < min(means["b"]) and "in all of them" in said(path)


def test_that_pictures_are_kept_smaller_is_said_before_they_are_taken_in(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            Image.new("RGB", (400, 300), (number, 0, 0)).save(tmp_path / label / f"{number}.png")
    assert "256 x 256 pixels" in said(tmp_path) and "JPEG" in say(STORED_IMAGES, "zh")
