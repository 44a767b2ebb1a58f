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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bigmodel.core import catalog
from bigmodel.core.contracts import Task
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import head
from bigmodel.inference.aside import seam
from bigmodel.inference.fast import Translator, Writer
from bigmodel.training import memory

FORM = 2  # of what is kept; a new one makes all conversions anew
KEPT = 20  # conversions in the cache; those not used for the longest time leave
FILES = ("config.json", "tokenizer.json", "model.safetensors")
RUNNERS = {"gpt2": Writer, "marian": Translator}  # transformers' model_type -> what runs it
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
    whole = all((folder / name).exists() for name in FILES)  # a pretrained one may have its words in other files
    if runner is None or find_spec("ctranslate2") is None or not whole:
        return None
    place = cache / "converted" / _key(folder)
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


def _key(folder: Path) -> str:
    """A hash of all that a conversion depends on."""
    total = hashlib.sha256(f"{FORM} {version('ctranslate2')} {version('transformers')}".encode())
    for name in FILES:
        with (folder / name).open("rb") as file:
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
        record = _convert(staging, runner, model, processor, _pinned(task, spec, folder))
        if not record["agrees"]:
            print(f"{folder} is answered by transformers: {record}", file=sys.stderr, flush=True)
            shutil.rmtree(staging / "float32", ignore_errors=True)
            shutil.rmtree(staging / "int8", ignore_errors=True)
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


def _convert(staging: Path, runner: type, model: Any, processor: Any, asked: Sequence[Mapping]) -> dict:
    """Both precisions, what a runner must know, and whether it answers the same. A network that CTranslate2 has no
    words for is no failure."""
    import torch

    facts = {
        "context": model.config.max_position_embeddings,
        "bytes": sum(weight.numel() for weight in model.parameters()) * 4,
        "end": processor.eos_token_id,
        "never": [token for token in _never(runner, processor) if token is not None],
    }
    try:
        with torch.no_grad():
            for precision in ("float32", "int8"):
                seam()
                own = copy.deepcopy(model)  # rounding to 8 bits overwrites the weights that it is given
                spec = (_gpt if runner is Writer else _marian)(own, processor)
                spec.validate()
                spec.optimize(quantization=None if precision == "float32" else precision)
                (staging / precision).mkdir()
                spec.save(str(staging / precision))
        compared = _compare(runner(staging / "float32", facts), model, processor, asked)
    except Exception as error:  # the converter's errors are of many kinds, and mean that transformers goes on
        if _passes(error):
            raise
        traceback.print_exc()
        return {"agrees": False, "reason": repr(error)}
    return compared | {"facts": facts}


def _passes(error: Exception) -> bool:
    """Whether it says nothing of the network: a disk that is full or cannot be written, memory that was short. Nothing
    is kept then, so that it is tried again when the model is loaded the next time."""
    return isinstance(error, OSError) or memory.was_short(error)


def _never(runner: type, processor: Any) -> tuple:
    """Tokens that are not written. A translator's generation config names the padding alone."""
    return (processor.pad_token_id, processor.unk_token_id) if runner is Writer else (processor.pad_token_id,)


def _gpt(model: Any, processor: Any) -> Any:
    from ctranslate2.converters.transformers import GPT2Loader

    return GPT2Loader()(model, processor)


def _marian(model: Any, processor: Any) -> Any:
    """As Bart, with its norms after the layers. CTranslate2's own loader for Marian expects the padding token at the
    end of the vocabulary and begins with zeros; ours is at the beginning and has weights."""
    from ctranslate2.converters.transformers import BartLoader

    class Loader(BartLoader):
        def get_model_spec(self, model: Any) -> Any:
            model.config.normalize_before = model.config.normalize_embedding = False
            return super().get_model_spec(model)

    return Loader()(model, processor)


def _drop_oldest(conversions: Path) -> None:
    places = [path for path in conversions.iterdir() if path.is_dir() and not path.name.startswith(".")]
    for place in sorted(places, key=lambda path: path.stat().st_mtime)[: -KEPT + 1]:
        gone = place.rename(place.with_name(f".gone-{place.name}"))  # never half of one under its own name
        shutil.rmtree(gone, ignore_errors=True)


# -- compared --------------------------------------------------------------------------------------------
def _pinned(task: Task, spec: Mapping, folder: Path) -> list[dict]:
    """The inputs that are looked at while the model is trained, and those that a starter brings along."""
    from bigmodel.core import blocks

    examples = [blocks.unpack(one) for one in _read(folder / "bigmodel.json").get("examples", ())][:3]
    dataset = catalog.find_dataset(spec["dataset"])
    if dataset is not None and dataset.path().exists():
        examples += task.pinned(head(dataset, "validation", ROWS), spec["settings"])
    return examples


def _compare(fast: Writer | Translator, model: Any, processor: Any, asked: Sequence[Mapping]) -> dict:
    """How many tokens of greedy answers are the same, and how far their logarithmic probabilities are apart.

    One pass of transformers over what CTranslate2 has written tells at each place what transformers would have
    written there; where all are the same, both write the same. Drawn texts need the probabilities to be the same too.
    """
    import torch

    same, compared, apart = 0, 0, 0.0
    for inputs in asked:
        seam()
        given, new = fast.greedy(processor, inputs, CHECKED_TOKENS)
        if isinstance(fast, Translator):
            before = [model.config.decoder_start_token_id, *new[:-1]]
            read = {"input_ids": torch.tensor([given]), "decoder_input_ids": torch.tensor([before])}
        else:
            read = {"input_ids": torch.tensor([[*given, *new[:-1]]])}
        with torch.no_grad():
            logits = model(**read).logits[0, -len(new) :].float()
        chances = logits.log_softmax(-1).gather(1, torch.tensor(new)[:, None])[:, 0]
        apart = max(apart, float((torch.tensor(fast.chances(given, new)) - chances).abs().max()))
        logits[:, fast.never] = -torch.inf
        same += sum(one == other for one, other in zip(new, logits.argmax(-1).tolist(), strict=True))
        compared += len(new)
    agrees = 0 < compared == same and apart < ALIKE
    return {"agrees": agrees, "tokens_compared": compared, "tokens_equal": same, "log_probabilities_apart": apart}


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
