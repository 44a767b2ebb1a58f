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
from pkgutil import resolve_name
from typing import Any

from bigmodel.core import catalog, files
from bigmodel.core.contracts import HEADS, Task
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import head
from bigmodel.inference.background import check_cancelled
from bigmodel.inference.ctranslate2_runner import Runner
from bigmodel.training import out_of_memory

FORMAT_VERSION = 3  # of what is kept; a new one makes all conversions anew
MAX_CACHED, MAX_CACHE_BYTES = 20, 10 * 2**30  # conversions in the cache; those not used for the longest time leave
HASHED_SUFFIXES = {".json", ".safetensors", ".model", ".spm", ".txt", ".jinja"}  # of files a conversion depends on
MAX_WEIGHT_BYTES = 2 * 2**30  # larger models take as long by transformers, and much memory to quantize
MEMORY_FACTOR = 4  # times the weights: memory that converting needs
FALLBACK_PROMPTS = ("Once upon a time there was a king.", "The house is open today.", "春天来了，花开了。")
LONG_CONTEXT_TOKENS = 512  # tokens at most, over which the probabilities of a writer are compared
PRECISIONS = ("float32", "int8")
CHECKED_TOKENS = 48  # of each pinned example
LOG_PROB_TOLERANCE = 1e-2  # between logarithmic probabilities: a hundredth of each, far above what rounding does
EVAL_ROWS = 40  # of the test split that say what 8 bits cost
EVAL_TOKENS = 4096  # of a text that are read for the same


@dataclass(frozen=True)
class ConvertedModel:
    """A model that answers as it does in transformers, in CTranslate2's form."""

    folder: Path
    runner: type[Runner]
    record: Mapping[str, Any]

    def load(self, precision: str) -> Runner:
        """precision: 'float32' or 'int8'."""
        return self.runner(self.folder / precision, self.record["facts"])


def get_or_convert(
    folder: Path, cache: Path, task: Task, spec: Mapping, model: Callable, processor: Any
) -> ConvertedModel | None:
    """The conversion of the model in a folder, made and checked where it is not yet in the cache; None where there is
    none to be had or it answers differently. `model()` is the model in transformers, loaded only when it is needed."""
    if not HEADS[task.head].runner or find_spec("ctranslate2") is None:
        return None
    runner = resolve_name(HEADS[task.head].runner)
    if _read_json(folder / "config.json").get("model_type") not in runner.model_types:
        return None
    target = cache / "converted" / _cache_key(folder, task)
    record = _read_json(target / "record.json")
    if not record:
        record = _convert_and_verify(target, runner, task, spec, folder, model(), processor)
    elif record["agrees"]:
        with suppress(OSError):
            os.utime(target)  # least recently used conversions are dropped first
    return ConvertedModel(target, runner, record) if record["agrees"] else None


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # not there, or not whole: made anew
        return {}


def _cache_key(folder: Path, task: Task) -> str:
    """A hash of all that a conversion depends on."""
    key = hashlib.sha256(f"{FORMAT_VERSION} {version('ctranslate2')} {version('transformers')} {task.name}".encode())
    for path in sorted(folder.iterdir()):
        if path.suffix in HASHED_SUFFIXES and path.name != "bigmodel.json":
            key.update(path.name.encode())
            with path.open("rb") as file:
                key.update(hashlib.file_digest(file, "sha256").digest())
    return key.hexdigest()[:32]


# -- made ----------------------------------------------------------------------------------------------
def _convert_and_verify(
    target: Path, runner: type[Runner], task: Task, spec: Mapping, folder: Path, model: Any, processor: Any
) -> dict:
    """Converted into a folder beside, compared, and renamed: it is there wholly or not at all."""
    staging = None
    try:
        files.make_folder(target.parent)
        _drop_oldest(target.parent)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".staging-"))
        record = _convert(staging, runner, task, model, processor, _comparison_inputs(task, spec, folder))
        if not record["agrees"]:
            print(f"{folder} is answered by transformers: {record}", file=sys.stderr, flush=True)
            for precision in PRECISIONS:
                shutil.rmtree(staging / precision, ignore_errors=True)
        (staging / "record.json").write_text(json.dumps(record, indent=1), "utf-8")
        with suppress(FileExistsError):
            staging.rename(target)
        return record
    except Exception as error:
        if not _is_transient(error):
            raise
        if other := _read_json(target / "record.json"):  # another process was quicker, and its work is as good
            return other
        print(f"{folder} cannot be converted: {error}", file=sys.stderr, flush=True)
        return {"agrees": False}
    finally:
        if staging:
            shutil.rmtree(staging, ignore_errors=True)


def _convert(
    staging: Path, runner: type[Runner], task: Task, model: Any, processor: Any, examples: Sequence[Mapping]
) -> dict:
    """The precisions that a task can be asked for, what a runner must know, and whether it answers the same. A network
    that CTranslate2 has no words for is no failure."""
    import torch

    try:
        facts = _runner_config(runner, model, processor)
        precisions = next((field.options for field in task.inputs if field.name == "precision"), PRECISIONS[:1])
        with torch.no_grad():
            for precision in precisions:
                check_cancelled()
                weights = copy.deepcopy(model)  # quantization overwrites the weights that it is given
                spec = _loader(weights, processor)(weights, processor)
                spec.validate()
                spec.optimize(quantization=None if precision == "float32" else precision)
                (staging / precision).mkdir()
                spec.save(str(staging / precision))
                del weights, spec
        compared = _compare(runner(staging / "float32", facts), task, model, processor, examples)
    except Exception as error:  # the converter's errors are of many kinds, and mean that transformers goes on
        if _is_transient(error):
            raise
        traceback.print_exc()
        return {"agrees": False, "reason": repr(error)}
    return compared | {"facts": facts}


def _runner_config(runner: type[Runner], model: Any, processor: Any) -> dict:
    """What a runner must know. Raises ValueError for what it could not do as transformers does, MemoryError where there
    is not the room to convert."""
    import psutil

    size = sum(weight.numel() for weight in model.parameters()) * 4
    if size > MAX_WEIGHT_BYTES:
        raise ValueError(f"{size} bytes of weights are more than {MAX_WEIGHT_BYTES}")
    if psutil.virtual_memory().available < MEMORY_FACTOR * size:
        raise MemoryError(f"converting needs {MEMORY_FACTOR * size} bytes")
    ids = sorted(processor.get_vocab().values())
    if ids != list(range(len(ids))):
        raise ValueError("the numbers of the tokenizer's tokens are not one after the other")
    return {"bytes": size, "end": processor.eos_token_id} | runner.config_of(model, processor)


def _is_transient(error: Exception) -> bool:
    """Whether it says nothing of the network: a disk that is full or cannot be written, memory that was short. Nothing
    is kept then, so that it is tried again when the model is loaded the next time."""
    return isinstance(error, OSError) or out_of_memory.is_out_of_memory(error)


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
    folders = [path for path in conversions.iterdir() if path.is_dir() and not path.name.startswith(".")]
    newest_first = sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for number, folder in enumerate(newest_first):
        total += sum(file.stat().st_size for file in folder.rglob("*"))
        if number >= MAX_CACHED - 1 or total > MAX_CACHE_BYTES:
            removed = folder.rename(folder.with_name(f".gone-{folder.name}"))  # never half of one under its own name
            shutil.rmtree(removed, ignore_errors=True)


# -- compared --------------------------------------------------------------------------------------------
def _comparison_inputs(task: Task, spec: Mapping, folder: Path) -> list[dict]:
    """The inputs that are looked at while the model is trained, and those that a starter brings along; a few texts for
    a model of which neither is known."""
    from bigmodel.core import blocks

    examples = [blocks.unpack(one) for one in _read_json(folder / "bigmodel.json").get("examples", ())][:3]
    dataset = catalog.find_dataset(spec["dataset"])
    if dataset is not None and dataset.path().exists():
        examples += task.pinned(head(dataset, "validation", EVAL_ROWS), spec["settings"])
    return examples or [{task.inputs[0].name: text} for text in FALLBACK_PROMPTS]


def _compare(runner: Runner, task: Task, model: Any, processor: Any, examples: Sequence[Mapping]) -> dict:
    """How many tokens of greedy answers are the same, and how far their log-probabilities are apart.

    One teacher-forced pass of transformers over what the runner has written tells at each position what transformers
    would have written there; where all are the same, both write the same. Sampling needs the same probabilities too.
    """
    equal, compared, diff, long_text = 0, 0, 0.0, []
    forced = 0 if runner.forced_bos_id is None else 1  # the token of the language stands there, likely or not
    for inputs in examples:
        check_cancelled()
        prompt, stop_ids = task.prompt_and_stop_ids(processor, inputs, runner.max_length)
        if runner.decoder_only:
            prompt = prompt[-max(runner.max_length // 2, 1) :]
        count = min(CHECKED_TOKENS, runner.max_length - (len(prompt) if runner.decoder_only else 2))
        new = runner.greedy(prompt, count, stop_ids)
        log_probs = _log_probs(runner, model, prompt, new)
        diff = max(diff, _max_abs_diff(runner, prompt, new, log_probs))
        long_text += [*prompt, *new]
        log_probs[:, runner.suppressed_ids] = float("-inf")
        greedy = log_probs.argmax(-1).tolist()
        equal += sum(one == other for one, other in zip(new[forced:], greedy[forced:], strict=False))
        compared += len(new) - forced
        if len(new) < count:  # it has come to an end, and so must the other
            equal, compared = equal + (greedy[len(new)] in stop_ids), compared + 1
    if runner.decoder_only:  # position embeddings that differ only far from the beginning
        long_text = (long_text * LONG_CONTEXT_TOKENS)[: min(LONG_CONTEXT_TOKENS, runner.max_length)]
        prompt, new = long_text[: len(long_text) // 2], long_text[len(long_text) // 2 :]
        diff = max(diff, _max_abs_diff(runner, prompt, new, _log_probs(runner, model, prompt, new)))
    agrees = 0 < compared == equal and diff < LOG_PROB_TOLERANCE
    return {"agrees": agrees, "tokens_compared": compared, "tokens_equal": equal, "log_probabilities_apart": diff}


def _log_probs(runner: Runner, model: Any, prompt: Sequence[int], new: Sequence[int]) -> Any:
    """By transformers: log-probabilities (new + 1, vocabulary) at each position of what is new, and behind it."""
    import torch

    if runner.decoder_only:
        inputs = {"input_ids": torch.tensor([[*prompt, *new]])}
    else:
        decoded = [model.config.decoder_start_token_id, *new]
        inputs = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([decoded])}
    with torch.no_grad():
        logits = model(**inputs).logits[0].float()
    return logits[len(prompt) - 1 if runner.decoder_only else 0 :].log_softmax(-1)


def _max_abs_diff(runner: Runner, prompt: Sequence[int], new: Sequence[int], log_probs: Any) -> float:
    """Between the log-probabilities of the new tokens by the runner and those (new + 1, vocabulary) by transformers."""
    import torch

    if not len(new):
        return 0.0
    reference = log_probs[: len(new)].gather(1, torch.tensor(new, dtype=torch.long)[:, None])[:, 0]
    return float((torch.tensor(runner.log_probs(prompt, new)) - reference).abs().max())


# -- what 8 bits cost --------------------------------------------------------------------------------------
def quantization_note(conversion: ConvertedModel, task: Task, spec: Mapping, processor: Any) -> Words:
    """What answering with 8-bit numbers costs on rows that the model has not been trained on; measured once."""
    kept = _read_json(conversion.folder / "int8.json")
    if not kept:
        kept = _measure(conversion, task, spec, processor)
        with suppress(OSError):  # it is measured again next time
            (conversion.folder / "int8.json").write_text(json.dumps(kept), "utf-8")
    if not kept["rows"]:
        return _("Answered with 8-bit numbers; its data are not here, so what that costs is not known.")
    before, after = round(kept["float32"], 2), round(kept["int8"], 2)
    return conversion.runner.quantization_note(before, after, kept["rows"])


def _measure(conversion: ConvertedModel, task: Task, spec: Mapping, processor: Any) -> dict:
    import datasets

    dataset = catalog.find_dataset(spec["dataset"])
    if dataset is None or not dataset.path().exists():
        return {"rows": 0}
    rows = datasets.Dataset.from_list(head(dataset, "test", EVAL_ROWS))
    arrays = task.encode(rows, processor, spec["settings"])
    figures = {}
    for precision in ("float32", "int8"):
        check_cancelled()
        figures[precision], figures["rows"] = conversion.load(precision).quality(arrays, processor, EVAL_TOKENS)
    return figures
