"""Sensible models to begin with: on the Hub, open, with safetensors, of a size that ordinary machines can train."""

from __future__ import annotations

from dataclasses import dataclass

from bigmodel.core.contracts import HEADS, Task


@dataclass(frozen=True)
class Suggestion:
    """megabytes: what is fetched, about; the exact size is shown before. millions: of parameters. licence: '?' where its
    page names none. languages: some, of one that knows many. chat: whether it has learnt to answer."""

    id: str
    model_type: str
    millions: float
    megabytes: int
    licence: str
    languages: tuple[str, ...]
    chat: bool = False

    @property
    def head(self) -> str:
        """What it is made for; it may carry others."""
        return next(name for name, head in HEADS.items() if self.model_type in head.model_types)

    @property
    def revision(self) -> str:
        """Which one is suggested; '' for the newest."""
        return revision_of(self.id)


MANY_LANGUAGES = "zh en de fr es ru ar ja ko"
SUGGESTIONS: tuple[Suggestion, ...] = tuple(
    Suggestion(id, model_type, millions, megabytes, licence, tuple(languages.split()), *chat)
    for id, model_type, millions, megabytes, licence, languages, *chat in (
        ("HuggingFaceTB/SmolLM2-135M", "llama", 135, 269, "Apache-2.0", "en"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "llama", 135, 269, "Apache-2.0", "en", True),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", "llama", 362, 724, "Apache-2.0", "en", True),
        ("HuggingFaceTB/SmolLM2-1.7B-Instruct", "llama", 1711, 3423, "Apache-2.0", "en", True),
        ("Qwen/Qwen3-0.6B", "qwen3", 596, 1503, "Apache-2.0", "zh en", True),
        ("Qwen/Qwen3-1.7B", "qwen3", 1721, 4064, "Apache-2.0", "zh en", True),
        ("Qwen/Qwen2.5-0.5B", "qwen2", 494, 988, "Apache-2.0", "zh en"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "qwen2", 494, 988, "Apache-2.0", "zh en", True),
        ("Qwen/Qwen2.5-1.5B-Instruct", "qwen2", 1544, 3087, "Apache-2.0", "zh en", True),
        ("distilbert/distilgpt2", "gpt2", 82, 353, "Apache-2.0", "en"),
        ("openai-community/gpt2", "gpt2", 124, 548, "MIT", "en"),
        ("EleutherAI/pythia-70m", "gpt_neox", 70, 166, "Apache-2.0", "en"),
        ("EleutherAI/pythia-160m", "gpt_neox", 162, 375, "Apache-2.0", "en"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "llama", 1100, 2200, "Apache-2.0", "en", True),
        ("google-t5/t5-small", "t5", 61, 242, "Apache-2.0", "en de fr"),
        ("google/flan-t5-small", "t5", 77, 308, "Apache-2.0", "en de fr"),
        ("google-t5/t5-base", "t5", 223, 892, "Apache-2.0", "en de fr"),
        ("google/flan-t5-base", "t5", 248, 990, "Apache-2.0", "en de fr"),
        ("facebook/bart-base", "bart", 139, 558, "Apache-2.0", "en"),
        ("Helsinki-NLP/opus-mt-zh-en", "marian", 78, 312, "CC-BY-4.0", "zh en"),
        ("Helsinki-NLP/opus-mt-en-zh", "marian", 78, 312, "Apache-2.0", "en zh"),
        ("Helsinki-NLP/opus-mt-en-de", "marian", 74, 298, "CC-BY-4.0", "en de"),
        ("google/mt5-small", "mt5", 300, 1205, "Apache-2.0", MANY_LANGUAGES),
        ("facebook/m2m100_418M", "m2m_100", 484, 1942, "MIT", MANY_LANGUAGES),
        ("facebook/nllb-200-distilled-600M", "m2m_100", 615, 2482, "CC-BY-NC-4.0", MANY_LANGUAGES),
        ("facebook/mbart-large-50-many-to-many-mmt", "mbart", 611, 2449, "?", MANY_LANGUAGES),
        ("WinKawaks/vit-tiny-patch16-224", "vit", 6, 23, "Apache-2.0", ""),
        ("microsoft/resnet-18", "resnet", 12, 47, "Apache-2.0", ""),
        ("microsoft/resnet-50", "resnet", 26, 103, "Apache-2.0", ""),
        ("facebook/dinov2-small", "dinov2", 22, 88, "Apache-2.0", ""),
        ("microsoft/swin-tiny-patch4-window7-224", "swin", 28, 114, "Apache-2.0", ""),
        ("facebook/convnext-tiny-224", "convnext", 29, 114, "Apache-2.0", ""),
        ("facebook/convnextv2-tiny-1k-224", "convnextv2", 29, 115, "Apache-2.0", ""),
        ("google/vit-base-patch16-224", "vit", 87, 346, "Apache-2.0", ""),
        ("sentence-transformers/all-MiniLM-L6-v2", "bert", 23, 91, "Apache-2.0", "en"),
        ("BAAI/bge-small-zh-v1.5", "bert", 24, 96, "MIT", "zh"),
        ("BAAI/bge-small-en-v1.5", "bert", 33, 133, "MIT", "en"),
        ("distilbert/distilbert-base-uncased", "distilbert", 67, 268, "Apache-2.0", "en"),
        ("google-bert/bert-base-uncased", "bert", 110, 440, "Apache-2.0", "en"),
        ("google-bert/bert-base-chinese", "bert", 103, 412, "Apache-2.0", "zh"),
        ("distilbert/distilbert-base-multilingual-cased", "distilbert", 135, 542, "Apache-2.0", "zh en de fr"),
        ("FacebookAI/roberta-base", "roberta", 125, 499, "MIT", "en"),
        ("intfloat/multilingual-e5-small", "bert", 118, 471, "MIT", "zh en de fr"),
        ("answerdotai/ModernBERT-base", "modernbert", 150, 599, "Apache-2.0", "en"),
    )
)

# where the safetensors are of models whose newest revision has pickled weights only
SAFETENSORS_REVISIONS = {
    "google/mt5-small": "6f9238ffa7de159b1245f899909bac7f40de53ae",
    "facebook/m2m100_418M": "refs/pr/19",
    "facebook/nllb-200-distilled-600M": "refs/pr/39",
}

TRAINING_BYTES_PER_PARAMETER = {
    "full": 16,
    "lora": 5,
    "last": 7,
    "head": 5,
}  # bytes of memory for each parameter, by how it is fine-tuned


def training_method(parameters: float, memory: int) -> str:
    """How so many parameters can be trained with so many bytes of memory: 'full', 'lora' or '' for not at all."""
    return next((way for way in ("full", "lora") if parameters * TRAINING_BYTES_PER_PARAMETER[way] * 1.3 < memory), "")


def revision_of(id: str) -> str:
    """Which revision of a model of the Hub is suggested; '' for the newest."""
    return SAFETENSORS_REVISIONS.get(id, "")


def suggestions_for(task: Task, memory: int) -> list[tuple[Suggestion, str]]:
    """(suggestion, how it can be trained with so many bytes of memory), those made for this kind of task first: where
    it is to be talked with, those that have learnt to answer."""
    fitting = [one for one in SUGGESTIONS if one.model_type in HEADS[task.head].model_types]
    fitting.sort(key=lambda one: (one.head != task.head, task.chat and not one.chat))
    return [(one, training_method(one.millions * 10**6, memory)) for one in fitting]
