"""What a task, an architecture and a data set promise each other.

What fits is computed, never listed: a task fits a data set that has the columns it needs, and an
architecture that can carry its head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple

from bigmodel.core.blocks import Block
from bigmodel.core.fields import Field
from bigmodel.core.fingerprints import fingerprint
from bigmodel.core.words import Words, _

if TYPE_CHECKING:
    import datasets
    import numpy as np
    import torch
    import transformers

    from bigmodel.metrics.row_metric import RowMetric


class Loss(NamedTuple):
    """The loss of a batch. A task or a network may bring its own: see `Task.loss` and `Architecture.own_loss`.

    total: what is made small, a 0-dim tensor with its gradient: a mean over what `Task.loss_weight` counts in the batch.
    parts: what it is made of, by name, each a 0-dim tensor and a mean over the same; shown beside the total.
    """

    total: torch.Tensor
    parts: Mapping[str, torch.Tensor] = {}


SPLITS = ("train", "validation", "test")
IMAGE_PROCESSOR = "AutoImageProcessor"


@dataclass(frozen=True)
class Head:
    """How a model of this kind is called, trained from a base and answered with. A new head is one entry of HEADS.

    inputs: keyword arguments of `forward`.  logits: shape of what comes back as `.logits`.
    labels: shape of the labels in a batch. Labels are already aligned with the logits (a language
    model's are shifted when the batch is made) and -100 marks a position that does not count.
    loss: what is made small where neither task nor network brings its own, as 'module:name' (its contract: `Task.loss`).
    auto_class, processor_class: the classes of transformers that open such a model and its tokenizer or image processor.
    model_types: transformers' networks that carry it as base models, by the `model_type` of their config.
    classifies: its answers are classes of the data. No base brings such a head: it begins at random, is always trained,
    and a base cannot answer or be measured before.

    Answering, each as 'module:name', imported by the worker alone:
    runner: a class that answers by CTranslate2 (its contract: `bigmodel.inference.ctranslate2_runner.Runner`).
    tracer: `(model, processor) -> model`, a TorchScript program that is called as the model is.
    gpu_min_bytes: bytes of weights from which on a GPU answers faster than the CPU does; None: never.

    Memory, for the forecast: process_bytes of a run's process before the first weight, by precision, measured at the
    end of small runs (else a general figure counts); logit_bytes of each logit, where they are what a step holds most of.
    """

    inputs: tuple[str, ...]
    logits: str
    labels: str
    auto_class: str
    processor_class: str = "AutoTokenizer"
    model_types: tuple[str, ...] = ()
    classifies: bool = False
    runner: str = ""
    tracer: str = ""
    gpu_min_bytes: int | None = None
    process_bytes: Mapping[str, int] = field(default_factory=dict)
    logit_bytes: int = 0
    loss: str = "bigmodel.training.losses:named_loss"

    @cached_property
    def loss_function(self) -> Callable[[Any, Mapping, Mapping], Loss]:
        return resolve_name(self.loss)

    @property
    def reads_images(self) -> bool:
        return self.processor_class == IMAGE_PROCESSOR

    @property
    def encoder_decoder(self) -> bool:
        """Whether one text is read and another written."""
        return "decoder_input_ids" in self.inputs


_RUNNERS, _TRACERS = "bigmodel.inference.ctranslate2_runner", "bigmodel.inference.traced_classifier"
_DECODERS = (
    "llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "opt", "gpt_neox", "gpt_neo", "stablelm", "starcoder2",
    "smollm3", "gemma", "gemma2", "gemma3_text", "gpt2", "bloom", "gptj",
)  # fmt: skip

HEADS: Mapping[str, Head] = {
    "causal-lm": Head(
        inputs=("input_ids",),
        logits="batch, tokens, vocabulary",
        labels="batch, tokens",
        auto_class="AutoModelForCausalLM",
        model_types=(*_DECODERS, "olmo", "olmo2", "granite", "cohere"),
        runner=f"{_RUNNERS}:TextGenerator",
        gpu_min_bytes=64 * 2**20,
        process_bytes={"fp32": 642 * 2**20, "bf16": 642 * 2**20},
        logit_bytes=7,  # with its gradient, and what the loss holds
    ),
    "seq2seq-lm": Head(
        inputs=("input_ids", "attention_mask", "decoder_input_ids"),
        logits="batch, target tokens, vocabulary",
        labels="batch, target tokens",
        auto_class="AutoModelForSeq2SeqLM",
        model_types=("marian", "bart", "mbart", "m2m_100", "pegasus", "t5", "mt5", "umt5"),
        runner=f"{_RUNNERS}:Translator",
        process_bytes={"fp32": 880 * 2**20, "bf16": 1120 * 2**20},  # many shapes, each may keep kernels of its own
    ),
    "image-classification": Head(
        inputs=("pixel_values",),
        logits="batch, classes",
        labels="batch",
        auto_class="AutoModelForImageClassification",
        processor_class=IMAGE_PROCESSOR,
        model_types=(
            "vit", "deit", "beit", "swin", "swinv2", "dinov2", "convnext", "convnextv2", "resnet", "regnet",
            "mobilenet_v2", "efficientnet", "bit", "focalnet", "levit", "poolformer", "pvt", "cvt",
        ),
        classifies=True,
        tracer=f"{_TRACERS}:trace_image_classifier",
        process_bytes={"fp32": 600 * 2**20, "bf16": 600 * 2**20},
    ),
    "text-classification": Head(
        inputs=("input_ids", "attention_mask"),
        logits="batch, classes",
        labels="batch",
        auto_class="AutoModelForSequenceClassification",
        model_types=(
            "bert", "distilbert", "albert", "electra", "deberta-v2", "modernbert", "roberta", "xlm-roberta", "mpnet",
            *_DECODERS,
        ),
        classifies=True,
        tracer=f"{_TRACERS}:trace_text_classifier",
    ),
    # of a pretraining: `places` are those of the flattened batch that are asked for
    "masked-lm": Head(
        inputs=("input_ids", "attention_mask", "places"),
        logits="places, vocabulary",
        labels="places",
        auto_class="AutoModelForMaskedLM",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A number that says how well a model does, with the words that explain it."""

    name: str
    label: Words
    help: Words
    higher_is_better: bool = True
    percent: bool = False


LOSS = Metric("loss", _("Loss"), _("What training makes small: how far the model's answers are from the data."), False)


class Task:
    """What is learnt and how a person tries it.

    A leaf fills the class attributes and overrides what differs. Methods that take rows or models run
    in a worker; everything else must work without torch.
    """

    name: str
    title: Words
    about: Words
    icon: str  # of Streamlit's Material set, ':material/...:'
    required_columns: frozenset[str]
    head: str
    losses: tuple[str, ...] = ("cross-entropy",)  # that the setting `loss` offers; () for a task with its own
    targets: tuple[str, ...] = ("labels",)  # tensors of a batch that the loss is computed from
    metrics: tuple[Metric, ...] = (LOSS,)  # the first decides which checkpoint is the best
    comparison_metric: str = (
        ""  # the metric that two models of any make can be compared by; '' for the first but the loss
    )
    unit: Words = _("examples")  # what the speed counts
    fields: tuple[Field, ...] = ()  # settings of training that only this task has
    encoding_settings: tuple[str, ...] = ()  # names of the settings that `processor` and `encode` depend on
    inputs: tuple[Field, ...] = ()  # what 'Try it' asks for
    chat: bool = False  # whether it is talked with, turn by turn: what a base with a chat template has learnt

    # -- from rows to batches ---------------------------------------------------------------------
    def processor(self, rows: datasets.DatasetDict, settings: Mapping) -> Any:
        """Tokenizer or image processor, made from the training rows."""
        raise NotImplementedError

    def prepare_processor(self, processor: Any) -> Any:
        """A pretrained model's processor with what the task needs of one."""
        return processor

    def facts(self, rows: datasets.DatasetDict, processor: Any, settings: Mapping) -> dict:
        """What an architecture must know to build the model: vocabulary size, classes, picture size ..."""
        return {}

    def encode(self, rows: datasets.Dataset, processor: Any, settings: Mapping) -> dict[str, np.ndarray]:
        """One split as arrays, ready to be gathered into batches; cached by content."""
        raise NotImplementedError

    def remarks(self, processor: Any, arrays: Mapping) -> list[Words]:
        """What people should know of how the rows of a split were encoded: what was cut, or left out."""
        return []

    def batch_indices(self, arrays: Mapping, settings: Mapping, epoch: int | None) -> Sequence[np.ndarray]:
        """Which examples make which batch: an index array for each batch of an epoch.

        Depends only on its arguments, so that a run can go on in the middle. `epoch` None means
        validation: in order, every example once.
        """
        raise NotImplementedError

    def batch(
        self, arrays: Mapping, indices: np.ndarray, settings: Mapping, epoch: int | None
    ) -> dict[str, torch.Tensor]:
        """The examples as the head's inputs and the task's `targets`, in the shapes of its Head, on the CPU."""
        raise NotImplementedError

    # -- what is made small -----------------------------------------------------------------------
    def loss(self, outputs: Any, targets: Mapping[str, torch.Tensor], settings: Mapping) -> Loss:
        """Of what the network returned for a batch, and the batch's `targets`, all on the device.

        Batches of an update, and the pieces of one that is split to fit the memory, are added by `loss_weight`, so that
        both are exact for whatever is a mean over that. Runs inside torch.compile where the run is compiled.
        """
        return HEADS[self.head].loss_function(outputs, targets, settings)

    def loss_weight(self, batch: Mapping[str, torch.Tensor]) -> float:
        """What `loss` is a mean over: how much of it is in a batch; a batch of 0 is left out. Asked on the CPU before
        the forward pass, as the backward passes need the sum over the update and a GPU need not be waited for."""
        return int((batch["labels"] != -100).sum())

    def count_units(self, batch: Mapping[str, torch.Tensor]) -> int:
        """How many units of work a batch holds, for the speed."""
        return len(batch["labels"])

    def language_columns(self, settings: Mapping) -> tuple[str, str] | tuple[()]:
        """The columns that are read and written in a language each, in this order; none where there is one language."""
        return ()

    # -- how good -----------------------------------------------------------------------------------
    def measure(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping, final: bool = False) -> dict:
        """Metric name -> value over a whole split. `final` asks for the slow ones too."""
        raise NotImplementedError

    def records(
        self, model: Any, processor: Any, arrays: Mapping, settings: Mapping
    ) -> Iterator[Mapping[str, Sequence]]:
        """What the model makes of each row of a split, some rows at a time: `row`, its number in the split, and what
        `row_metrics` are computed from; each (rows, ...), or a list of texts."""
        raise NotImplementedError

    def row_metrics(self) -> Sequence[RowMetric]:
        """The metrics of records, in the order in which they are shown; the first is the task's own first."""
        raise NotImplementedError

    def baseline(
        self, train: datasets.Dataset, rows: datasets.Dataset, records: Mapping, settings: Mapping
    ) -> tuple[Words, Mapping] | None:
        """(what it is, records) of the simplest thing that answers at all, beside which the model stands: `rows` are those
        of `records`, `train` what may be learnt from. None where there is none."""
        return None

    def score_signatures(self, records: Mapping) -> Mapping[str, str]:
        """What scores must be quoted with, by name of the metric."""
        return {}

    def eval_passes(self, arrays: Mapping, settings: Mapping, final: bool) -> float:
        """How often `measure` goes through the model for a loss: what the forecast counts on."""
        return len(self.batch_indices(arrays, settings, None))

    def generated_tokens(self, arrays: Mapping, settings: Mapping, final: bool) -> float:
        """Tokens that `measure` has the model write one after the other; those of a batch at the same time are one."""
        return 0.0

    def probe_generation(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping) -> None:
        """Have the model write as `measure` does, for as long as it is let: how long a token takes is looked at."""

    # -- trying it ----------------------------------------------------------------------------------
    def examples(self, rows: Any, settings: Mapping) -> list[dict]:
        """A few filled-in inputs from rows the model has not been trained on. `rows`: list of dicts."""
        return []

    def pinned(self, rows: Any, settings: Mapping) -> list[dict]:
        """The inputs asked at each validation, so that a person sees the model learn."""
        return self.examples(rows, settings)[:3]

    def prompt_and_stop_ids(self, processor: Any, inputs: Mapping, max_length: int) -> tuple[list[int], Set[int]]:
        """(tokens that the network reads for these inputs, tokens that end its answer), for a head with a runner: what
        the runner answers is compared with the network in transformers on them. max_length: tokens."""
        raise NotImplementedError

    def answer(self, model: Any, processor: Any, inputs: Mapping) -> Iterator[Block]:
        """Blocks, as they come. Closing the generator stops the work."""
        raise NotImplementedError

    # -- kept ---------------------------------------------------------------------------------------
    def export(self, model: transformers.PreTrainedModel, processor: Any, settings: Mapping) -> Any:
        """The processor as it is kept beside a trained model: it puts the marks that `answer` puts, and knows how much is
        read. How `answer` writes by default when it is greedy goes into `model.generation_config`. So plain transformers
        answers the same; `processor` stays as it is."""
        return processor


@dataclass(frozen=True)
class Layer:
    """One box of a network's diagram."""

    label: Words
    detail: str = ""
    times: int = 1
    column: int = 0  # encoder 0, decoder 1


class Architecture:
    """A network: the heads it can carry, its knobs, and how it is built from scratch."""

    name: str
    title: Words
    about: Words
    paper: str = ""  # where it comes from
    heads: frozenset[str]
    hyperparameters: tuple[Field, ...] = ()
    default_settings: Mapping[
        str, Any
    ] = {}  # training settings that suit it better than the general defaults; those of one head under its name
    own_loss: frozenset[str] = (
        frozenset()
    )  # heads whose `forward` takes the task's `targets` too and returns `loss` and,
    # where that is made of parts, `loss_dict`, as transformers' detectors do: in place of the task's loss
    overrides: frozenset[str] = frozenset()  # settings of tasks that it makes needless, as it has its own
    fine_tunes: bool = False  # whether it begins with a base model, which the knob 'base' names
    model_type: str = ""  # in the config of what its runs keep, where that is a network of our own
    base_heads: frozenset[str] = frozenset()  # that a network of our own can be fine-tuned with

    def hyperparameters_for(self, task: Task) -> tuple[Field, ...]:
        """Its knobs where it is trained for a task; choices that depend on the home folder are filled in."""
        return self.hyperparameters

    def fingerprint(self, settings: Mapping) -> str:
        """What the encoded data depend on beside the task's settings; needs no torch."""
        return ""

    def processor(self, task: Task, rows: datasets.DatasetDict, settings: Mapping) -> Any:
        """From scratch a network takes the task's own; a pretrained one brings its processor along."""
        return task.processor(rows, settings)

    def check(self, settings: Mapping) -> None:
        """Refuse settings that are right one by one but not together; needs no torch."""

    def model(self, facts: Mapping, settings: Mapping) -> transformers.PreTrainedModel:
        """The network with random weights, seeded by the caller. Must also build on the meta device."""
        raise NotImplementedError

    def export(self, model: transformers.PreTrainedModel) -> transformers.PreTrainedModel:
        """What is kept as the model of a run: a network that plain transformers opens. `model` stays as it is."""
        return model

    def pretraining_model(self, facts: Mapping, settings: Mapping) -> transformers.PreTrainedModel:
        """With the head 'masked-lm', what is trained first where the knob `pretraining_epochs` asks for it."""
        raise NotImplementedError

    def begin_with(self, model: transformers.PreTrainedModel, pretrained: Path) -> None:
        """Put what the pretraining has learnt, a folder, into the model."""
        raise NotImplementedError

    def register(self) -> None:
        """Make transformers' Auto classes know a network of our own; nothing to do for the library's."""

    def diagram(self, settings: Mapping) -> list[Layer]:
        """The network from input to output."""
        return []


@dataclass(frozen=True)
class DatasetInfo:
    """Where a data set comes from and what may be done with it."""

    licence: str
    source: str
    citation: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column as a person reads it: text in a language, a picture, a class."""

    kind: str  # 'text', 'image', 'class'
    label: Words
    names: tuple[Words | str, ...] = ()  # of the classes


class Dataset:
    """Rows with named columns in three fixed splits: train, validation, test."""

    name: str
    title: Words
    about: Words
    facts: DatasetInfo
    columns: Mapping[str, Column]
    default_settings: Mapping[
        str, Any
    ] = {}  # training settings that suit this data; {architecture: {...}} for one alone
    continuous: bool = False  # rows are pieces of a whole text: `rows` says in `continues` which go on in the next

    def path(self) -> Path:
        """A Parquet file with these columns and one named `split`."""
        return Path(__file__).parent.parent / "datasets" / "bundle" / f"{self.name}.parquet"

    def fingerprint(self) -> str:
        """SHA-256 of the rows; what is cached about them is cached under it."""
        return fingerprint(self.path())

    def rows(self) -> datasets.DatasetDict:
        """All rows, by split. Needs `datasets`: for workers."""
        import datasets
        import pyarrow.parquet as parquet

        rows = datasets.DatasetDict(
            {
                split: datasets.Dataset(parquet.read_table(self.path(), filters=[("split", "==", split)]))
                for split in SPLITS
            }
        )
        for name, column in self.columns.items():
            if column.kind == "class" and column.names:  # under the names that people see, which can be translated
                rows = rows.cast_column(name, datasets.ClassLabel(names=[str(name) for name in column.names]))
        return rows


def is_compatible(task: Task, architecture: Architecture | None = None, dataset: Dataset | None = None) -> bool:
    """Whether they can be put together."""
    if architecture is not None and task.head not in architecture.heads:
        return False
    return dataset is None or task.required_columns <= set(dataset.columns)
