"""Models in CTranslate2's form: converted once, kept in the cache by content, used only where the answers are the same."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

from bigmodel.core import catalog
from bigmodel.core.contracts import Task
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import head
from bigmodel.inference import chat, generate_text, translate
from bigmodel.inference.background import seam
from bigmodel.inference.ctranslate2_runner import Translator, Writer
from bigmodel.inference.generate_text import context_of
from bigmodel.inference.translate import LONGEST
from bigmodel.training import out_of_memory

FORM = 3  # of what is kept; a new one makes all conversions anew
KEPT, KEPT_BYTES = 20, 10 * 2**30  # conversions in the cache; those not used for the longest time leave
MADE_OF = {".json", ".safetensors", ".model", ".spm", ".txt", ".jinja"}  # a folder's files that a conversion depends on
RUNNERS: Mapping[str, type[Writer] | type[Translator]] = {  # transformers' model_type -> what runs it
    **dict.fromkeys(("gpt2", "llama", "mistral", "qwen2", "qwen3"), Writer),
    **dict.fromkeys(("marian", "t5", "mt5", "m2m_100"), Translator),
}
LARGEST = 2 * 2**30  # bytes of weights; larger ones take as long by transformers, and their 8 bits much memory to make
ROOM = 4  # times the weights: what converting needs of memory
TEXTS = (
    "Once upon a time there was a king.",
    "The house is open today.",
    "春天来了，花开了。",
)  # where nothing else is known
LONG = 512  # tokens at most, over which the probabilities of a writer are compared
PRECISIONS = ("float32", "int8")
PLAIN = {  # settings of `generate` that change what is written, and what they are where they do not
    "no_repeat_ngram_size": (None, 0), "encoder_no_repeat_ngram_size": (None, 0), "repetition_penalty": (None, 1.0),
    "length_penalty": (None, 1.0), "min_length": (None, 0), "min_new_tokens": (None, 0), "suppress_tokens": (None,),
    "begin_suppress_tokens": (None,), "early_stopping": (None, False),
}  # fmt: skip
CHECKED_TOKENS = 48  # of each pinned example
ALIKE = 1e-2  # between logarithmic probabilities: a hundredth of each, far above what rounding does
ROWS = 40  # of the test split that say what 8 bits cost
TOKENS = 4096  # of a text that are read for the same


@dataclass(frozen=True)
class Converted:
    """A model that answers as it does in transformers, in CTranslate2's form."""

    place: Path
    runner: type[Writer] | type[Translator]
    record: Mapping[str, Any]

    def load(self, precision: str) -> Writer | Translator:
        """precision: 'float32' or 'int8'."""
        return self.runner(self.place / precision, self.record["facts"])


def converted(
    folder: Path, cache: Path, task: Task, spec: Mapping, model: Callable, processor: Any
) -> Converted | None:
    """The conversion of the model in a folder, made and checked where it is not yet in the cache; None where there is
    none to be had or it answers differently. `model()` is the model in transformers, loaded only when it is needed."""
    runner = RUNNERS.get(_read(folder / "config.json").get("model_type"))
    if runner is None or runner.head != task.head or find_spec("ctranslate2") is None:
        return None
    place = cache / "converted" / _key(folder, task)
    record = _read(place / "record.json")
    if not record:
        record = _make(place, runner, task, spec, folder, model(), processor)
    elif record["agrees"]:
        with suppress(OSError):
            os.utime(place)  # used just now
    return Converted(place, runner, record) if record["agrees"] else None


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # not there, or not whole: made anew
        return {}


def _key(folder: Path, task: Task) -> str:
    """A hash of all that a conversion depends on."""
    total = hashlib.sha256(f"{FORM} {version('ctranslate2')} {version('transformers')} {task.name}".encode())
    made_of = [path for path in folder.iterdir() if path.suffix in MADE_OF and path.name != "bigmodel.json"]
    for path in sorted(made_of):
        total.update(path.name.encode())
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:32]


# -- made ----------------------------------------------------------------------------------------------
def _make(place: Path, runner: type, task: Task, spec: Mapping, folder: Path, model: Any, processor: Any) -> dict:
    """Converted into a folder beside, compared, and renamed: it is there wholly or not at all."""
    staging = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _drop_oldest(place.parent)
        staging = Path(tempfile.mkdtemp(dir=place.parent, prefix=".staging-"))
        record = _convert(staging, runner, task, model, processor, _pinned(task, spec, folder))
        if not record["agrees"]:
            print(f"{folder} is answered by transformers: {record}", file=sys.stderr, flush=True)
            for precision in PRECISIONS:
                shutil.rmtree(staging / precision, ignore_errors=True)
        (staging / "record.json").write_text(json.dumps(record, indent=1), "utf-8")
        with suppress(FileExistsError):
            staging.rename(place)
        return record
    except Exception as error:
        if not _passes(error):
            raise
        if _read(place / "record.json"):  # another process was quicker, and its work is as good as ours
            return _read(place / "record.json")
        print(f"{folder} cannot be converted: {error}", file=sys.stderr, flush=True)
        return {"agrees": False}
    finally:
        if staging:
            shutil.rmtree(staging, ignore_errors=True)


def _convert(staging: Path, runner: type, task: Task, model: Any, processor: Any, asked: Sequence[Mapping]) -> dict:
    """The precisions that a task can be asked for, what a runner must know, and whether it answers the same. A network
    that CTranslate2 has no words for is no failure."""
    import torch

    try:
        facts = _facts(runner, model, processor)
        chosen = next((field.options for field in task.inputs if field.name == "precision"), PRECISIONS[:1])
        with torch.no_grad():
            for precision in chosen:
                seam()
                own = copy.deepcopy(model)  # rounding to 8 bits overwrites the weights that it is given
                spec = _loader(own, processor)(own, processor)
                spec.validate()
                spec.optimize(quantization=None if precision == "float32" else precision)
                (staging / precision).mkdir()
                spec.save(str(staging / precision))
                del own, spec
        compared = _compare(runner(staging / "float32", facts), task, model, processor, asked)
    except Exception as error:  # the converter's errors are of many kinds, and mean that transformers goes on
        if _passes(error):
            raise
        traceback.print_exc()
        return {"agrees": False, "reason": repr(error)}
    return compared | {"facts": facts}


def _facts(runner: type, model: Any, processor: Any) -> dict:
    """What a runner must know. Raises ValueError for what it could not do as transformers does, MemoryError where there
    is not the room to convert."""
    import psutil

    size = sum(weight.numel() for weight in model.parameters()) * 4
    if size > LARGEST:
        raise ValueError(f"{size} bytes of weights are more than {LARGEST}")
    if psutil.virtual_memory().available < ROOM * size:
        raise MemoryError(f"converting needs {ROOM * size} bytes")
    ids = sorted(processor.get_vocab().values())
    if ids != list(range(len(ids))):
        raise ValueError("the numbers of the tokenizer's tokens are not one after the other")
    facts = {"bytes": size, "end": processor.eos_token_id}
    if runner is Writer:
        never = {processor.pad_token_id, processor.unk_token_id} - {None, processor.eos_token_id}
        extra = range(len(ids), model.get_output_embeddings().weight.shape[0])  # outputs without a token
        return facts | {"context": context_of(model.config), "never": [*sorted(never), *extra]}
    own = model.generation_config
    unlike = [name for name, plain in PLAIN.items() if getattr(own, name, None) not in plain]
    bad = own.bad_words_ids or []
    if unlike or any(len(words) > 1 for words in bad):
        raise ValueError(f"it is told how to write: {', '.join(unlike) or 'bad_words_ids'}")
    context = getattr(model.config, "max_position_embeddings", None) or LONGEST
    closed = own.forced_eos_token_id is not None  # the last token of a translation that is cut off is the end
    never, first = [one for (one,) in bad], own.forced_bos_token_id
    return facts | {"context": context, "never": never, "first": first, "closed": int(closed)}


def _passes(error: Exception) -> bool:
    """Whether it says nothing of the network: a disk that is full or cannot be written, memory that was short. Nothing
    is kept then, so that it is tried again when the model is loaded the next time."""
    return isinstance(error, OSError) or out_of_memory.was_short(error)


def _loader(model: Any, processor: Any) -> Callable:
    """CTranslate2's own for this network, but for two.

    The Marian of our runs goes as Bart, with its norms after the layers: the one for Marian expects the padding token at
    the end of the vocabulary and begins with zeros; ours is at the beginning and has weights. And T5 and mT5 are all tied
    in transformers 5, which says elsewhere whether outputs are scaled.
    """
    from ctranslate2.converters import transformers as loaders

    class Ours(loaders.BartLoader):
        def get_model_spec(self, model: Any) -> Any:
            model.config.normalize_before = model.config.normalize_embedding = False
            return super().get_model_spec(model)

    class Scaled(loaders.T5Loader):
        def get_model_spec(self, model: Any) -> Any:
            model.config.tie_word_embeddings = getattr(model.config, "scale_decoder_outputs", False)
            return super().get_model_spec(model)

    if model.config.model_type == "marian" and processor.pad_token_id == 0:
        return Ours()
    if model.config.model_type in ("t5", "mt5"):
        return Scaled()
    return loaders._MODEL_LOADERS[type(model.config).__name__]


def _drop_oldest(conversions: Path) -> None:
    """Room for one more: so many at most, and so many bytes."""
    places = [path for path in conversions.iterdir() if path.is_dir() and not path.name.startswith(".")]
    newest = sorted(places, key=lambda path: path.stat().st_mtime, reverse=True)
    sizes = accumulate(sum(file.stat().st_size for file in place.rglob("*")) for place in newest)
    for place in [
        place
        for number, (place, size) in enumerate(zip(newest, sizes, strict=True))
        if number >= KEPT - 1 or size > KEPT_BYTES
    ]:
        gone = place.rename(place.with_name(f".gone-{place.name}"))  # never half of one under its own name
        shutil.rmtree(gone, ignore_errors=True)


# -- compared --------------------------------------------------------------------------------------------
def _pinned(task: Task, spec: Mapping, folder: Path) -> list[dict]:
    """The inputs that are looked at while the model is trained, and those that a starter brings along; a few texts for
    a model of which neither is known."""
    from bigmodel.core import blocks

    examples = [blocks.unpack(one) for one in _read(folder / "bigmodel.json").get("examples", ())][:3]
    dataset = catalog.find_dataset(spec["dataset"])
    if dataset is not None and dataset.path().exists():
        examples += task.pinned(head(dataset, "validation", ROWS), spec["settings"])
    return examples or [{task.inputs[0].name: text} for text in TEXTS]


def _given(task: Task, processor: Any, inputs: Mapping, longest: int) -> tuple[list[int], Set[int]]:
    """(what a network reads for these inputs, the tokens that end its answer)."""
    end = frozenset({processor.eos_token_id})
    if "message" in inputs:
        return chat.given(task.adopt(processor), inputs["message"], inputs.get("system", ""))
    if "prompt" in inputs:
        return generate_text.given(processor, inputs["prompt"]), end
    return translate.pieces(processor, inputs["text"].strip(), longest)[0], end


def _compare(fast: Writer | Translator, task: Task, model: Any, processor: Any, asked: Sequence[Mapping]) -> dict:
    """How many tokens of greedy answers are the same, and how far their logarithmic probabilities are apart.

    One pass of transformers over what CTranslate2 has written tells at each place what transformers would have
    written there; where all are the same, both write the same. Drawn texts need the probabilities to be the same too.
    """
    import torch

    writes = isinstance(fast, Writer)
    same, compared, apart, longer = 0, 0, 0.0, []
    for inputs in asked:
        seam()
        given, ends = _given(task, processor, inputs, fast.longest)
        given = given[-max(fast.longest // 2, 1) :] if writes else given
        count = min(CHECKED_TOKENS, fast.longest - (len(given) if writes else 2))
        new = fast.greedy(given, count, ends)
        chances = _chances(model, given, new, writes)
        apart = max(apart, _apart(fast, given, new, chances))
        longer += [*given, *new]
        chances[:, fast.never] = -torch.inf
        likely = chances.argmax(-1).tolist()
        forced = 0 if writes or fast.first is None else 1  # the token of the language stands there, likely or not
        same += sum(one == other for one, other in zip(new[forced:], likely[forced:], strict=False))
        compared += len(new) - forced
        if len(new) < count:  # it has come to an end, and so must the other
            same, compared = same + (likely[len(new)] in ends), compared + 1
    if writes:  # what counts only far from the beginning
        longer = (longer * LONG)[: min(LONG, fast.longest)]
        half = len(longer) // 2
        apart = max(
            apart, _apart(fast, longer[:half], longer[half:], _chances(model, longer[:half], longer[half:], True))
        )
    agrees = 0 < compared == same and apart < ALIKE
    return {"agrees": agrees, "tokens_compared": compared, "tokens_equal": same, "log_probabilities_apart": apart}


def _chances(model: Any, given: Sequence[int], new: Sequence[int], writes: bool) -> Any:
    """By transformers: the logarithmic probabilities at each place of what is new, and behind it, (new + 1, entries)."""
    import torch

    if writes:
        read = {"input_ids": torch.tensor([[*given, *new]])}
    else:
        before = [model.config.decoder_start_token_id, *new]
        read = {"input_ids": torch.tensor([given]), "decoder_input_ids": torch.tensor([before])}
    with torch.no_grad():
        logits = model(**read).logits[0].float()
    return logits[len(given) - 1 if writes else 0 :].log_softmax(-1)


def _apart(fast: Writer | Translator, given: Sequence[int], new: Sequence[int], chances: Any) -> float:
    import torch

    wanted = torch.tensor(new, dtype=torch.long)
    theirs = chances[: len(new)].gather(1, wanted[:, None])[:, 0]
    return float((torch.tensor(fast.chances(given, new)) - theirs).abs().max()) if len(new) else 0.0


# -- what 8 bits cost --------------------------------------------------------------------------------------
def cost(conversion: Converted, task: Task, spec: Mapping, processor: Any) -> Words:
    """What answering with 8-bit numbers costs on rows that the model has not been trained on; measured once."""
    kept = _read(conversion.place / "int8.json")
    if not kept:
        kept = _measure(conversion, task, spec, processor)
        with suppress(OSError):  # it is measured again next time
            (conversion.place / "int8.json").write_text(json.dumps(kept), "utf-8")
    if not kept["rows"]:
        return _("Answered with 8-bit numbers; its data are not here, so what that costs is not known.")
    values = {"before": round(kept["float32"], 2), "after": round(kept["int8"], 2), "count": kept["rows"]}
    if conversion.runner is Writer:
        return _("Answered with 8-bit numbers: perplexity {after}, as trained {before}, on {count} tokens of the test split.", **values)  # fmt: skip
    return _("Answered with 8-bit numbers: chrF {after}, as trained {before}, on {count} sentences of the test split.", **values)  # fmt: skip


def _measure(conversion: Converted, task: Task, spec: Mapping, processor: Any) -> dict:
    import datasets

    dataset = catalog.find_dataset(spec["dataset"])
    if dataset is None or not dataset.path().exists():
        return {"rows": 0}
    rows = datasets.Dataset.from_list(head(dataset, "test", ROWS))
    arrays = task.encode(rows, processor, spec["settings"])
    figures = {}
    for precision in ("float32", "int8"):
        seam()
        figures[precision], figures["rows"] = conversion.load(precision).quality(arrays, processor, TOKENS)
    return figures
