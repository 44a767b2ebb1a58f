"""Image classification: a model says which class a picture belongs to."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bigmodel.core.blocks import Block, Note, Picture, Scores
from bigmodel.core.contracts import LOSS, Metric, Task
from bigmodel.core.fields import Choice, Image
from bigmodel.core.words import Words, _
from bigmodel.data.image_transforms import ignores_aspect_ratio, output_size, pixel_scale_shift, resize_image, to_tensor
from bigmodel.metrics.classification import (
    class_records,
    class_row_metrics,
    macro_metrics,
    majority_baseline,
    predict_classes,
)
from bigmodel.metrics.row_metric import RowMetric

MAX_SIDE = 64  # pixels of a side, unless a person asks for more
THUMBNAIL_SIDE = (
    512  # pixels of the longer side of a drawing that are looked at; the models' own pictures are smaller still
)


class ImageClassification(Task):
    name = "image-classification"
    order = 30
    title = _("Image classification")
    about = _("The model learns which class a picture belongs to, and says how sure it is.")
    icon = ":material/image_search:"
    required_columns = frozenset({"image", "label"})
    head = "image-classification"
    losses = ("cross-entropy", "mse")
    unit = _("pictures")
    metrics = (
        Metric("accuracy", _("Accuracy"), percent=True, help=_("The part of the pictures whose class is found.")),
        LOSS,
        Metric(
            "recall",
            _("Recall"),
            percent=True,
            help=_("Of the pictures of a class, how many are found; the mean over the classes."),
        ),
        Metric(
            "f1",
            _("F1"),
            percent=True,
            help=_("The harmonic mean of precision and recall; the mean over the classes."),
        ),
    )
    fields = (
        Choice(
            name="augment",
            label=_("Augmentation"),
            default="shift",
            advanced=True,
            help=_(
                "Shows the pictures a little changed each time, so that the model learns what matters. Mirroring does not suit digits and letters."
            ),
            options={"none": _("None"), "shift": _("Shift"), "shift-flip": _("Shift and mirror")},
        ),
        Choice(
            name="side",
            label=_("Picture size"),
            default="auto",
            advanced=True,
            help=_(
                "To how many pixels pictures are made before a network learns from them. Automatic: as they are, and at most 64 x 64. A pretrained network has a size of its own."
            ),
            options={
                "auto": _("Automatic"),
                "32": _("32 x 32"),
                "64": _("64 x 64"),
                "96": _("96 x 96"),
                "128": _("128 x 128"),
            },
        ),
    )
    encoding_settings = ("side",)
    inputs = (Image(name="image", label=_("Picture"), help=_("A picture like those the model was trained on.")),)

    # -- from rows to batches ---------------------------------------------------------------------
    def processor(self, rows: Any, settings: Mapping) -> Any:
        from PIL import Image as Pictures
        from transformers import ViTImageProcessorPil

        width, height = _open(rows["train"][0]["image"]).size
        side = settings.get("side", "auto")
        if side != "auto" or max(width, height) > MAX_SIDE:  # photos: each step would take minutes
            width = height = MAX_SIDE if side == "auto" else int(side)
        return ViTImageProcessorPil(
            size={"height": height, "width": width}, resample=Pictures.Resampling.BICUBIC,
            image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True,
        )  # fmt: skip

    def facts(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        """names of the classes; whether the pictures are grey, and whether they stand on a dark ground; [width, height]
        of the pictures as they came where all are of one size, else None."""
        import numpy as np

        pixels = self.encode(rows["train"].select(range(min(len(rows["train"]), 200))), processor, settings)["pixels"]
        border = np.concatenate(
            [pixels[:, 0].ravel(), pixels[:, -1].ravel(), pixels[:, :, 0].ravel(), pixels[:, :, -1].ravel()]
        )
        label = rows["train"].features["label"]
        names = getattr(label, "names", None) or [str(one) for one in sorted(set(rows["train"]["label"]))]
        return {
            "classes": list(names),
            "height": pixels.shape[1],
            "width": pixels.shape[2],
            "grey": pixels.ndim == 3,
            "dark_ground": bool(border.mean() < 96),
            "seen_size": _common_size(rows["train"]),
        }

    def encode(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        """pixels: uint8 (pictures, height, width[, 3]), decoded once; labels: (pictures,); scale and shift: (3,), the
        processor's rescaling and normalisation as one affine map per channel."""
        import numpy as np

        pictures = [_open(image) for image in rows["image"]]
        grey = all(picture.mode in ("L", "1") for picture in pictures)
        pixels = np.empty(0, dtype=np.uint8)
        for index, picture in enumerate(pictures):
            one = resize_image(picture.convert("L" if grey else "RGB"), processor)
            if not index:
                pixels = np.empty((len(pictures), *one.shape), dtype=np.uint8)
            pixels[index] = one
            pictures[index] = None  # decoded, it is held twice
        scale, shift = pixel_scale_shift(processor)
        return {"pixels": pixels, "labels": np.asarray(rows["label"], dtype=np.int64), "scale": scale, "shift": shift}

    def batch_indices(self, arrays: Mapping, settings: Mapping, epoch: int | None) -> Sequence:
        import numpy as np

        size, count = settings["batch_size"], len(arrays["labels"])
        if epoch is None:
            order, last = np.arange(count), count
        else:
            order = np.random.default_rng([settings["seed"], epoch]).permutation(count)
            last = max(count // size * size, min(count, size))
        return [order[i : min(i + size, last)] for i in range(0, last, size)]

    def batch(self, arrays: Mapping, indices: Any, settings: Mapping, epoch: int | None) -> dict:
        """pixel_values (batch, 3, height, width) of float32, normalised by scale and shift, and labels (batch); augmented
        in training, seeded by epoch and first index."""
        import numpy as np
        import torch

        pixels = arrays["pixels"][np.sort(indices)]  # sorted: a memory map is read forward
        labels = arrays["labels"][np.sort(indices)]
        if epoch is not None and settings["augment"] != "none":
            random = np.random.default_rng([settings["seed"], epoch, int(indices[0])])
            pixels = augment(pixels, settings["augment"], random)
        values = to_tensor(pixels, arrays["scale"], arrays["shift"])
        return {"pixel_values": values, "labels": torch.from_numpy(np.ascontiguousarray(labels))}

    # -- how good -----------------------------------------------------------------------------------
    def measure(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping, final: bool = False) -> dict:
        loss, predicted, right = predict_classes(self, model, arrays, settings)
        values = {"accuracy": float((predicted == right).mean()), "loss": loss}
        macro = macro_metrics(right, predicted) if final else {}
        return values | {name: value for name, value in macro.items() if name in ("recall", "f1")}

    def records(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping) -> Iterator[dict]:
        return class_records(self, model, arrays, settings)

    def row_metrics(self) -> Sequence[RowMetric]:
        return class_row_metrics(self.metrics)

    def baseline(self, train: Any, rows: Any, records: Mapping, settings: Mapping) -> tuple[Words, Mapping]:
        return majority_baseline(train, records)

    # -- trying it ----------------------------------------------------------------------------------
    def examples(self, rows: Any, settings: Mapping) -> list[dict]:
        return [{"image": row["image"]["bytes"]} for row in rows[:12]]

    def answer(self, model: Any, processor: Any, inputs: Mapping) -> Iterator[Block]:
        import numpy as np
        import torch
        from PIL import Image as Pictures

        picture, config = Pictures.open(io.BytesIO(inputs["image"])), model.config
        grey, dark, seen = (getattr(config, name, None) for name in ("grey", "dark_ground", "seen_size"))
        fitted, changed = preprocess(picture, processor, bool(grey), bool(dark), seen)
        pixels = to_tensor(
            np.array(fitted)[None], *pixel_scale_shift(processor)
        )  # the processor does the same, more slowly
        training = model.training
        if training:  # going through all modules takes as long as some networks do
            model.eval()
        with torch.inference_mode():
            chances = model(pixel_values=pixels.to(next(model.parameters()).device)).logits[0].float().softmax(-1)
        if training:
            model.train()
        values, best = (part.tolist() for part in chances.topk(min(len(chances), 10)))
        yield Scores(tuple(model.config.id2label[place] for place in best), tuple(values))
        if changed:
            yield Picture(_png(fitted), "")
            yield Note(changed)


def _common_size(rows: Any) -> list[int] | None:
    sizes = {_open(image).size for image in rows.select(range(min(len(rows), 200)))["image"]}
    return list(sizes.pop()) if len(sizes) == 1 else None


def _open(image: Any) -> Any:
    """A picture from a row: a PIL picture already, or the bytes of its file."""
    from PIL import Image as Pictures

    return Pictures.open(io.BytesIO(image["bytes"])) if isinstance(image, Mapping) else image


def _png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def augment(pixels: Any, kind: str, random: Any) -> Any:
    """pixels (pictures, height, width[, 3]), each shifted by up to a twelfth of its size (at least a pixel), edges
    repeated; for the kind 'shift-flip' half of them mirrored. random: a numpy Generator."""
    import numpy as np

    count, height, width = pixels.shape[:3]
    reach = max(round(height / 12), 1)
    padding = [(0, 0), (reach, reach), (reach, reach), *[(0, 0)] * (pixels.ndim - 3)]
    padded = np.pad(pixels, padding, mode="edge")
    rows = random.integers(0, 2 * reach + 1, count)[:, None] + np.arange(height)
    columns = random.integers(0, 2 * reach + 1, count)[:, None] + np.arange(width)
    moved = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    if kind == "shift-flip":
        mirrored = random.random(count) < 0.5
        moved[mirrored] = moved[mirrored, :, ::-1]
    return moved


def preprocess(
    picture: Any, processor: Any, grey: bool, dark_ground: bool, seen_size: Sequence[int] | None = None
) -> tuple[Any, Words | None]:
    """The picture as the model's training pictures looked, and what was done to it, None for nothing.

    A drawing or a photo on white, for a model of grey pictures on black: inverted, cut to what is on it,
    made square and scaled down. Not so one of `seen_size`, (width, height), as those had that were trained on.
    """
    from PIL import Image as Pictures
    from PIL import ImageOps

    mode = "L" if grey else "RGB"
    picture = _to_8_bit(ImageOps.exif_transpose(picture))
    height, width = output_size(processor)
    plain = picture.mode in ("L", "RGB")
    if plain and picture.size == (width, height) and ignores_aspect_ratio(processor):
        return picture.convert(mode), None
    done = _(
        "This is the picture as the model sees it: brought to {width} x {height} pixels.", width=width, height=height
    )
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Pictures.new("RGBA", picture.size, "black" if dark_ground else "white")
        picture = Pictures.alpha_composite(ground, picture)
    picture = picture.convert(mode)
    if grey and dark_ground and not (plain and picture.size == tuple(seen_size or ())):
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        picture = _crop_to_content(picture)
        done = _(
            "This is the picture as the model sees it: cut out, bright on dark, and brought to {width} x {height} pixels.",
            width=width,
            height=height,
        )
    return Pictures.fromarray(resize_image(picture, processor)), done


def _to_8_bit(picture: Any) -> Any:
    """16-bit grey scaled to 8: Pillow's own conversion cuts everything bright to white."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    import numpy as np
    from PIL import Image as Pictures

    values = np.asarray(picture, dtype=np.float64)
    values = values / 257 if values.max() > 255 else values
    return Pictures.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _crop_to_content(picture: Any) -> Any:
    """Bright on dark, cropped to what stands out from the ground, padded to a square."""
    import numpy as np
    from PIL import Image as Pictures
    from PIL import ImageOps

    values = np.asarray(picture)
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    if np.median(border) > 127:
        picture = ImageOps.invert(picture)
    picture = ImageOps.autocontrast(picture, cutoff=(1, 0))
    box = picture.point(lambda value: 255 if value > 40 else 0).getbbox()
    if box is None:
        return picture
    picture = picture.crop(box)
    side = max(picture.size)
    square = Pictures.new("L", (side, side), 0)
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square
