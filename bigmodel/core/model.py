"""A model that can be tried, read from its folder: what it is, what it was trained on, how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bigmodel.core import catalog, checked_json
from bigmodel.core.checked_json import (
    fields,
    is_count,
    is_number,
    is_object,
    is_text,
    is_time,
    is_words,
    object_of,
    optional,
)
from bigmodel.core.words import Words, _

STARTER_PREFIX, BASE_PREFIX = "starter:", "base:"
METRICS = object_of(optional(is_number))
IS_METADATA = fields(
    {
        "spec": fields(
            {"task": is_text, "architecture": is_text, "dataset": is_text, "settings": is_object}, {"name": is_text}
        ),
        "metrics": METRICS,
        "parameters": is_count,
        "created": is_time,
    },
    {"title": is_words, "about": is_words, "validation": optional(METRICS), "before": optional(METRICS)},
)
STARTERS = Path(__file__).parents[1] / "starters"
METADATA_FILE = "bigmodel.json"  # in the model's folder, beside the weights


@dataclass(frozen=True)
class Model:
    """Something that can be tried: a starter that ships with bigmodel, what a run has trained, or a base as it is."""

    id: str  # 'starter:poet', a run's id, or 'base:minimind2-small'
    title: Words | str
    task: str
    architecture: str
    dataset: str
    settings: Mapping[str, object]
    metrics: Mapping[str, float]  # on the test split
    parameters: int
    bytes: int
    created: float
    folder: Path  # opens in plain transformers
    starter: bool = False
    about: Words | str = ""
    validation: Mapping[str, float] = field(default_factory=dict)  # of the weights that were kept
    before: Mapping[str, float] = field(default_factory=dict)  # on the same rows, of the base as it was

    @property
    def base(self) -> str:
        """The name of the base that it was fine-tuned from, '' for one from scratch."""
        return str(self.settings.get("base", ""))

    @property
    def is_base(self) -> bool:
        return self.id.startswith(BASE_PREFIX)


def read_model(id: str, folder: Path) -> Model | None:
    """The model in a folder, None where there is none that can be read."""
    try:
        metadata = checked_json.read_object(folder / METADATA_FILE, IS_METADATA)
        spec = metadata["spec"]
        return Model(
            id=id,
            title=_words(metadata["title"]) if "title" in metadata else spec.get("name") or _default_title(spec),
            task=spec["task"],
            architecture=spec["architecture"],
            dataset=spec["dataset"],
            settings=spec["settings"],
            metrics=metadata["metrics"],
            validation=metadata.get("validation") or {},
            before=metadata.get("before") or {},
            parameters=metadata["parameters"],
            bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
            created=metadata["created"],
            folder=folder,
            starter=id.startswith(STARTER_PREFIX),
            about=_words(metadata.get("about", "")),
        )
    except (OSError, ValueError):
        return None


def _default_title(spec: Mapping) -> Words:
    """'GPT, Chinese poetry', for a run without a name."""
    architecture, dataset = catalog.architectures().get(spec["architecture"]), catalog.find_dataset(spec["dataset"])
    return _(
        "{architecture}, {dataset}",
        architecture=architecture.title if architecture else spec["architecture"],
        dataset=dataset.title if dataset else spec["dataset"],
    )


def _words(value: Mapping | str) -> Words | str:
    return Words.from_json(value) if isinstance(value, Mapping) else value
