"""Training on pictures: ours beside transformers' Trainer with the PIL processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.speed import trainer
from benchmarks.speed.report import compared
from benchmarks.speed.side import Side, alternate
from benchmarks.speed.training import OURS, fresh_model, prepared, spec_from, spec_of
from bigmodel.core import catalog
from bigmodel.core.spec import RunSpec

TRAINER = "benchmarks.speed.images:trainer_side"
PLAIN = {"augment": "none", "batch_size": 64, "label_smoothing": 0.0}


def vit_spec(device: str = "cpu", **more: object) -> RunSpec:
    """4 layers of 128, patches of 4 pixels."""
    return spec_of("image-classification", "vit", "bench_pictures", device, **{**PLAIN, "dropout": 0.0, **more})


def resnet_spec(device: str = "cpu", **more: object) -> RunSpec:
    """ResNet-18: 4 stages of 2 basic blocks, 64 channels, 11.2 million parameters."""
    shape = {"stages": 4, "blocks": 2, "channels": 64}
    return spec_of("image-classification", "resnet", "bench_pictures", device, **{**PLAIN, **shape, **more})


def vit(rounds: int, device: str = "cpu", steps: int = 30, warm: int = 8) -> list[dict]:
    return _beside("ViT, 4 layers of 128", vit_spec(device), rounds, steps, warm)


def resnet(rounds: int, device: str = "cpu", steps: int = 16, warm: int = 4) -> list[dict]:
    return _beside("ResNet-18", resnet_spec(device), rounds, steps, warm)


def _beside(name: str, spec: RunSpec, rounds: int, steps: int, warm: int) -> list[dict]:
    task = {"spec": spec.to_json(), "steps": steps, "warm": warm}
    found = alternate({"ours": Side(OURS, **task), "trainer": Side(TRAINER, **task)}, rounds)
    work = f"{name}, 32 x 32 pixels x 64"
    return [compared(work, found["ours"], "HF Trainer, PIL processor", found["trainer"], "pictures/s", ">= 1.35")]


def rows(spec: RunSpec, processor: Any) -> Any:
    """Pictures decoded and processed when they are asked for, as transformers' image-classification example does."""
    import datasets
    import numpy as np

    arrays = prepared(spec).arrays["train"]
    train = catalog.dataset(spec.dataset).rows()["train"].select_columns(["image", "label"])
    order = np.concatenate(catalog.task(spec.task).batch_indices(arrays, spec.settings, 0))
    train = train.select(order).cast_column("image", datasets.Image())

    def transform(examples: Mapping) -> dict:
        pictures = [picture.convert("RGB") for picture in examples["image"]]
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        return {"pixel_values": list(pixels), "labels": examples["label"]}

    return train.with_transform(transform)


def trainer_side(spec: Mapping, steps: int, warm: int, **own: Any) -> Callable[[], dict]:
    asked = spec_from(spec)
    data = prepared(asked)
    dataset, size = rows(asked, data.processor), asked.settings["batch_size"]
    own = {"remove_unused_columns": False, **own}  # as the example has it: the transform needs the column 'image'

    def measure() -> dict:
        model = fresh_model(asked, data)
        return trainer.measure(model, dataset, asked.settings, steps, warm, lambda step: size, arguments=own)

    return measure
