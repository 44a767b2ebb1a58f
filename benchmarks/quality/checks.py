"""The table of checks: what is trained on what, how, and how well it must do on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bigmodel.core import catalog
from bigmodel.core.contracts import Metric
from bigmodel.core.spec import RunSpec


@dataclass(frozen=True)
class Check:
    """One line of the table. `settings` are those that differ from the defaults of task, network and data.

    pinned: those that were the defaults when the figures were measured, and are others today.
    """

    name: str
    task: str
    architecture: str
    dataset: str
    metric: str  # the one that the goal is about
    settings: Mapping[str, object] = field(default_factory=dict)
    pinned: Mapping[str, object] = field(default_factory=dict)
    at_least: float | None = None
    beats_baselines: bool = False
    seconds: float | None = None  # from starting the process to the model on disk

    def spec(self) -> RunSpec:
        """Seed 0 and the CPU, so that everybody can repeat it."""
        settings = {"seed": 0, "device": "cpu", **self.pinned, **self.settings}
        return RunSpec.check(
            {
                "task": self.task,
                "architecture": self.architecture,
                "dataset": self.dataset,
                "settings": settings,
                "name": self.name,
            }
        )

    def measured(self) -> Metric:
        return next(metric for metric in catalog.task(self.task).metrics if metric.name == self.metric)


def _text(name: str, architecture: str, dataset: str, **more: object) -> Check:
    return Check(name, "text-generation", architecture, dataset, "bits_per_character", **more)


def _translation(name: str, dataset: str, **settings: object) -> Check:
    return Check(name, "translation", "transformer", dataset, "chrf", settings, beats_baselines=True)


def _pictures(name: str, architecture: str, dataset: str, at_least: float, **more: object) -> Check:
    return Check(name, "image-classification", architecture, dataset, "accuracy", at_least=at_least, **more)


def _dialogue(name: str, architecture: str, dataset: str, **more: object) -> Check:
    return Check(name, "dialogue", architecture, dataset, "loss", **more)


def _classes(name: str, architecture: str, dataset: str, **more: object) -> Check:
    return Check(name, "text-classification", architecture, dataset, "accuracy", **more)


HALF_AN_HOUR = 1800.0
POETRY = {
    "width": 192, "epochs": 14, "batch_size": 16, "learning_rate": 2e-3, "dropout": 0.15, "precision": "bf16",
}  # fmt: skip
CLASSICS = {
    "vocabulary": 2048, "block_size": 256, "width": 256, "epochs": 8, "batch_size": 8, "precision": "bf16",
}  # fmt: skip
TRANSLATOR = {
    "width": 160, "epochs": 12, "schedule": "cosine", "precision": "bf16",
}  # fmt: skip

MINIMIND = {
    "base": "minimind2-small", "block_size": 64, "batch_size": 16, "max_steps": 200, "eval_every": 200, "precision": "bf16",
}  # fmt: skip

CHAT = {"method": "lora", "learning_rate": 1e-3, "precision": "bf16", "baseline": False}
CHATS = {
    "dialogue-minimind-lora": ("dialogue_zh", {"base": "minimind2-small", "block_size": 192, "batch_size": 16, "max_steps": 200, "eval_every": 100}),
    "dialogue-smollm-lora": ("dialogue_en", {"base": "smollm2-135m-instruct", "block_size": 256, "batch_size": 8, "max_steps": 60, "eval_every": 60}),
}  # fmt: skip

MINILM = {"base": "all-minilm-l6-v2", "method": "full", "learning_rate": 1e-4, "epochs": 2}
# Gururangan et al. 2020, Don't Stop Pretraining: first the language of the reviews, then their classes
REVIEWS = {
    "base": "minimind2-small", "method": "full", "learning_rate": 3e-4, "block_size": 128, "batch_size": 16, "epochs": 2,
    "eval_every": 200, "precision": "bf16",
}  # fmt: skip
REVIEWER = {
    "base": "minimind2-small-reviews", "method": "full", "learning_rate": 1e-4, "batch_size": 16, "epochs": 2,
    "text_length": 192, "eval_every": 416, "label_smoothing": 0.1, "precision": "bf16",
}  # fmt: skip

CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        _pictures("digits-cnn", "cnn", "digits", 0.98, pinned={"max_minutes": 0}, seconds=60.0),
        _pictures("fashion-cnn", "cnn", "fashion_mnist", 0.90, pinned={"epochs": 12}),
        _pictures("fashion-vit", "vit", "fashion_mnist", 0.84, settings={"epochs": 30}),
        _pictures("fashion-full-cnn", "cnn", "fashion_mnist_full", 0.925, settings={"epochs": 6}),
        _text("classics-gpt", "gpt", "classics_en", settings=CLASSICS, beats_baselines=True, seconds=HALF_AN_HOUR),
        _text("poetry-gpt", "gpt", "poetry_zh", settings=POETRY, beats_baselines=True, seconds=HALF_AN_HOUR),
        _text("classics-lstm", "lstm", "classics_en"),  # the article's sizes are the defaults
        _text("poetry-lstm", "lstm", "poetry_zh"),
        _text(
            "poems-minimind-lora",
            "pretrained",
            "poetry_zh",
            settings={**MINIMIND, "method": "lora", "learning_rate": 1e-3},
            beats_baselines=True,
        ),
        _text(
            "poems-minimind-full",
            "pretrained",
            "poetry_zh",
            settings={**MINIMIND, "method": "full", "learning_rate": 5e-4},
            beats_baselines=True,
        ),
        *(
            _dialogue(name, "pretrained", dataset, settings={**CHAT, **settings}, beats_baselines=True)
            for name, (dataset, settings) in CHATS.items()
        ),
        _dialogue(
            "dialogue-gpt",
            "gpt",
            "dialogue_zh",
            settings={"width": 192, "epochs": 8, "precision": "bf16"},
            beats_baselines=True,
        ),
        _translation("en-zh", "en_zh", **TRANSLATOR),
        _translation("en-de", "en_de", **TRANSLATOR),
        _classes("verse-bert", "bert", "verse_zh", pinned={"epochs": 6}, beats_baselines=True),
        # with 4,713 questions words alone say more: TF-IDF is ahead
        _classes("trivia-bert", "bert", "trivia_en", pinned={"epochs": 6}),
        _classes("trivia-minilm", "pretrained", "trivia_en", settings=MINILM, beats_baselines=True),
        _classes(
            "reviews-lstm",
            "lstm",
            "reviews_zh",
            settings={"epochs": 5, "text_length": 160},
            pinned={"schedule": "constant"},
        ),
        _text("reviews-minimind-lm", "pretrained", "reviews_zh", settings=REVIEWS),
        _classes("reviews-minimind", "pretrained", "reviews_zh", settings=REVIEWER, beats_baselines=True),
    )
}
