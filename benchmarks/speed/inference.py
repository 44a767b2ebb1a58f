"""Answering: ours beside transformers as it comes, same weights, same inputs; texts, translations, pictures."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmarks.speed.report import alone, compared
from benchmarks.speed.side import Failed, Missing, Side, alternate
from bigmodel.core import catalog
from bigmodel.core.spec import RunSpec

STARTERS = Path(__file__).parents[2] / "bigmodel" / "starters"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
TOKENS = 200
SENTENCES = 32
CLASSIFIED = 60  # pictures, texts
PEER = "transformers generate"
WRITERS: Mapping[str, tuple[str, dict, str]] = {  # what it is, settings, the goal of 8 bits
    "small": ("as small as a starter", {"layers": 4, "width": 192, "attention_heads": 4, "block_size": 256}, ">= 8"),
    "large": ("", {"layers": 6, "width": 384, "attention_heads": 6, "block_size": 256}, ">= 5"),
}
SAMPLED = {"temperature": 0.8, "top_p": 0.95}

T = TypeVar("T")


# -- texts -----------------------------------------------------------------------------------------------
def text_generation(rounds: int) -> list[dict]:
    """Writing 200 tokens, batch 1, one thread: greedy and drawn, as trained and with 8-bit numbers; the first token."""
    return [row for size in WRITERS for row in _written(size, rounds)]


def _written(size: str, rounds: int) -> list[dict]:
    words, _settings, goal = WRITERS[size]
    with tempfile.TemporaryDirectory() as folder:
        parameters = _untrained_gpt(Path(folder), size)
        work = f"writing {TOKENS} tokens, GPT of {parameters / 1e6:.1f} M" + (f", {words}" if words else "")
        ours = {"folder": folder, "cache": f"{folder}/cache"}
        found = alternate(
            {
                "float32": _side("our_writer", precision="float32", **ours),
                "int8": _side("our_writer", precision="int8", **ours),
                "peer": _side("their_writer", folder=folder),
            },
            rounds,
        )
    _same([each["text"] for each in found["float32"]], [each["text"] for each in found["peer"]], work)
    ceiling = max(each["ceiling"] for each in found["float32"])
    note = (
        f"same text; {median(each['rate'] for each in found['float32']) / ceiling:.0%} of the speed of reading memory"
    )
    unit = "tokens/s"
    return [
        compared(f"{work}, greedy", found["float32"], PEER, found["peer"], unit, ">= 1.7", note=note),
        compared(f"{work}, greedy, 8 bits", found["int8"], PEER, found["peer"], unit, goal, note=_alike(found)),
        compared(f"{work}, drawn", _drawn(found["float32"]), PEER, _drawn(found["peer"]), unit, ">= 1.7"),
        compared(f"{work}, drawn, 8 bits", _drawn(found["int8"]), PEER, _drawn(found["peer"]), unit, ""),
        alone(f"{work}: the first token", [each["first"] for each in found["float32"]], "ms", "<= 100"),
    ]


def _drawn(found: list[dict] | Missing) -> list[dict] | Missing:
    return found if isinstance(found, Missing) else [each | {"rate": each["drawn"]} for each in found]


def _alike(found: Mapping) -> str:
    """How far the 8-bit text goes with the other: an untrained network hesitates between all tokens, so not far."""
    ours, theirs = found["int8"][0]["text"], found["peer"][0]["text"]
    same = next((index for index, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(ours))
    return f"the first {same} characters are the same; the app measures the loss of each model"


def our_writer(folder: str, cache: str, precision: str) -> Callable[[], dict]:
    """What the Try page does: inputs checked, tokens drawn, blocks yielded."""
    engine = _engine(folder, cache)
    asked = {"prompt": "", "max_new_tokens": TOKENS, "precision": precision}
    sampled = asked | {"seed": 1} | SAMPLED
    weights = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))

    def write(inputs: Mapping) -> tuple[Any, float, float]:
        begun = time.perf_counter()
        first = last = None
        for block in engine.task.answer(engine.load(precision), engine.processor, _checked(engine, inputs)):
            first, last = first or (block.tokens and time.perf_counter()), block
        if last.tokens != TOKENS:
            raise Failed(f"{last.tokens} tokens were written and not {TOKENS}")
        return last.text, time.perf_counter() - begun, first - begun

    def measure() -> dict:
        text, seconds, _first = write(asked | {"temperature": 0.0})
        _text, drawn, first = write(sampled)
        values = {"rate": TOKENS / seconds, "drawn": TOKENS / drawn, "first": first * 1000, "text": text}
        return values | {"ceiling": _bandwidth(weights) / weights, "precision": precision, "threads": 1}

    write(asked | {"temperature": 0.0})
    return measure


def their_writer(folder: str) -> Callable[[], dict]:
    import torch

    model, tokenizer = _theirs(folder, "causal-lm")
    ids = torch.tensor([[tokenizer.eos_token_id]])
    never = {"bad_words_ids": [[tokenizer.pad_token_id], [tokenizer.unk_token_id]]}

    def write(**how: object) -> tuple[str, float]:
        begun = time.perf_counter()
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, **never, **how)
        text = tokenizer.decode(out[0, 1:])
        seconds = time.perf_counter() - begun
        if out.shape[1] - 1 != TOKENS:
            raise Failed(f"{out.shape[1] - 1} tokens were written and not {TOKENS}")
        return text, seconds

    def measure() -> dict:
        text, seconds = write(do_sample=False)
        _text, drawn = write(do_sample=True, top_k=0, **SAMPLED)
        return {"rate": TOKENS / seconds, "drawn": TOKENS / drawn, "text": text, "precision": "float32", "threads": 1}

    write(do_sample=False)
    return measure


def _untrained_gpt(folder: Path, size: str) -> int:
    """A network of this size with random weights, which never comes to an end by itself; its number of weights."""
    import torch

    _words, settings, _goal = WRITERS[size]
    spec = RunSpec.check(
        {"task": "text-generation", "architecture": "gpt", "dataset": "poetry_zh", "settings": settings}
    )
    tokenizer = _processor(STARTERS / "poet")
    facts = {"vocabulary": len(tokenizer), "pad": tokenizer.pad_token_id, "end": tokenizer.eos_token_id}
    torch.manual_seed(0)
    model = catalog.architecture("gpt").model(facts, spec.settings)
    with torch.no_grad():  # one direction speaks against the end token alone, so that nobody ends early
        model.transformer.wte.weight[:, 0] = 0
        model.transformer.wte.weight[tokenizer.eos_token_id, 0] = -1
        model.transformer.ln_f.bias[0] = 50
    return _saved(folder, model, tokenizer, spec)


# -- translations --------------------------------------------------------------------------------------------
def translation(rounds: int) -> list[dict]:
    """Translating sentences of the test split with the starter, one thread: one by one and 16 together."""
    folder = str(STARTERS / "translator")
    with tempfile.TemporaryDirectory() as cache:
        found = alternate(
            {
                "float32": _side("our_translator", folder=folder, cache=cache, precision="float32"),
                "int8": _side("our_translator", folder=folder, cache=cache, precision="int8"),
                "peer": _side("their_translator", folder=folder),
            },
            rounds,
        )
    rows = []
    for beams in (1, 4):
        for batch in (1, 16):
            for precision in ("float32", "int8"):
                rows.append(_translated(found, beams, batch, precision))
    return rows


def _translated(found: Mapping, beams: int, batch: int, precision: str) -> dict:
    name = f"{beams} {batch}"
    goal = {"float32": {1: ">= 2.2", 16: ">= 1.8"}, "int8": {1: ">= 8", 16: ""}}[precision][batch]
    same = sum(map(str.__eq__, found[precision][0]["texts"][name], found["peer"][0]["texts"][name]))
    chrf, theirs = (found[side][0]["chrf"][name] for side in (precision, "peer"))
    note = f"{same} of {SENTENCES} translations the same, chrF {chrf:.1f} and {theirs:.1f}"
    work = f"translating, batch {batch}, " + ("greedy" if beams == 1 else f"{beams} beams")
    values = {side: [each | {"rate": each["rates"][name]} for each in found[side]] for side in (precision, "peer")}
    work += ", 8 bits" if precision == "int8" else ""
    return compared(work, values[precision], PEER, values["peer"], "sentences/s", goal, note=note)


def our_translator(folder: str, cache: str, precision: str) -> Callable[[], dict]:
    engine = _engine(folder, cache)
    sources, references = _sentences(engine.spec)

    def translate(beams: int, batch: int) -> list[str]:
        done = []
        for start in range(0, len(sources), batch):
            asked = {"text": "\n".join(sources[start : start + batch]), "beams": beams, "precision": precision}
            *_before, last = engine.task.answer(engine.load(precision), engine.processor, _checked(engine, asked))
            done += last.text.split("\n")
        return done

    return _translator(translate, references, precision)


def their_translator(folder: str) -> Callable[[], dict]:
    import torch

    model, tokenizer = _theirs(folder, "seq2seq-lm")
    spec = json.loads((Path(folder) / "bigmodel.json").read_text("utf-8"))["spec"]
    sources, references = _sentences(spec)

    def translate(beams: int, batch: int) -> list[str]:
        done = []
        for start in range(0, len(sources), batch):
            end = tokenizer.eos_token
            some = [text + end for text in sources[start : start + batch]]
            given = tokenizer(some, padding=True, return_tensors="pt", return_token_type_ids=False)
            with torch.inference_mode():
                out = model.generate(**given, num_beams=beams, do_sample=False, max_length=121)
            done += tokenizer.batch_decode(out, skip_special_tokens=True)
        return done

    return _translator(translate, references, "float32")


def _translator(translate: Callable, references: Sequence[str], precision: str) -> Callable[[], dict]:
    from sacrebleu import corpus_chrf

    def measure() -> dict:
        rates, texts, chrf = {}, {}, {}
        for beams in (1, 4):
            for batch in (1, 16):
                begun = time.perf_counter()
                done = translate(beams, batch)
                name = f"{beams} {batch}"
                rates[name] = SENTENCES / (time.perf_counter() - begun)
                texts[name], chrf[name] = done, corpus_chrf(done, [list(references)]).score
        return {"rates": rates, "texts": texts, "chrf": chrf, "precision": precision, "threads": 1}

    translate(1, 16)
    return measure


def _sentences(spec: Mapping) -> tuple[list[str], list[str]]:
    from bigmodel.data.prepare import head

    rows = head(catalog.dataset(spec["dataset"]), "test", 2 * SENTENCES)
    one, other = ("source", "target") if spec["settings"]["direction"] == "forward" else ("target", "source")
    rows = [row for row in rows if len(row[one]) < 200][:SENTENCES]
    return [row[one] for row in rows], [row[other] for row in rows]


# -- pictures and texts put into classes -----------------------------------------------------------------------
def classification(rounds: int) -> list[dict]:
    """Classifying one picture, from its file, and one text, from its characters, to the names of its classes: the middle
    of many."""
    return [*(_picture_classified(name, rounds) for name in ("vit", "cnn", "resnet")), _text_classified(rounds)]


def _picture_classified(architecture: str, rounds: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        parameters = _untrained_classifier(Path(folder), architecture)
        found = alternate(
            {side: _side(f"{side}_classifier", folder=folder, architecture=architecture) for side in ("our", "their")},
            rounds,
        )
    work = f"classifying a picture, {architecture} of {parameters / 1e6:.1f} M, p50"
    return _classified(work, found, "transformers, eager, PIL processor")


def _text_classified(rounds: int) -> dict:
    """With the starter."""
    folder = STARTERS / "connoisseur"
    found = alternate({side: _side(f"{side}_reader", folder=str(folder)) for side in ("our", "their")}, rounds)
    parameters = json.loads((folder / "bigmodel.json").read_text("utf-8"))["parameters"]
    work = f"classifying a text, bert of {parameters / 1e6:.1f} M, p50"
    return _classified(work, found, "transformers, eager, fast tokenizer")


def _classified(work: str, found: Mapping, peer: str) -> dict:
    worst = max(abs(one - other) for one, other in zip(found["our"][0]["all"], found["their"][0]["all"], strict=True))
    if worst > 1e-3:
        raise Failed(f"{work}: the answers differ by {worst}")
    note = f"answers within {worst:.0e}"
    return compared(work, found["our"], peer, found["their"], "ms", ">= 1.5", "ms", note)


def our_classifier(folder: str, architecture: str) -> Callable[[], dict]:
    engine = _engine(folder, f"{folder}/cache")

    def classify(png: bytes) -> dict[str, float]:
        scores = next(iter(engine.task.answer(engine.load("float32"), engine.processor, {"image": png})))
        return dict(zip(scores.names, scores.values, strict=True))

    return _classifier(classify, _pictures())


def their_classifier(folder: str, architecture: str) -> Callable[[], dict]:
    import io

    import torch
    from PIL import Image

    catalog.architecture(architecture).register()
    model, processor = _theirs(folder, "image-classification")

    def classify(png: bytes) -> dict[str, float]:
        pixels = processor(images=Image.open(io.BytesIO(png)).convert("RGB"), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            chances = model(pixel_values=pixels).logits[0].softmax(-1).tolist()
        return {model.config.id2label[index]: chance for index, chance in enumerate(chances)}

    return _classifier(classify, _pictures())


def our_reader(folder: str) -> Callable[[], dict]:
    engine = _engine(folder, "")

    def classify(text: str) -> dict[str, float]:
        scores = next(iter(engine.task.answer(engine.load("float32"), engine.processor, {"text": text})))
        return dict(zip(scores.names, scores.values, strict=True))

    return _classifier(classify, _texts(engine.spec))


def their_reader(folder: str) -> Callable[[], dict]:
    import torch

    model, tokenizer = _theirs(folder, "text-classification")
    spec = json.loads((Path(folder) / "bigmodel.json").read_text("utf-8"))["spec"]

    def classify(text: str) -> dict[str, float]:
        read = tokenizer(text, truncation=True, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            chances = model(**read).logits[0].softmax(-1).tolist()
        return {model.config.id2label[index]: chance for index, chance in enumerate(chances)}

    return _classifier(classify, _texts(spec))


def _classifier(classify: Callable[[T], dict[str, float]], asked: Sequence[T]) -> Callable[[], dict]:
    answers = [classify(one) for one in asked]

    def measure() -> dict:
        times = []
        for one in asked:
            begun = time.perf_counter()
            classify(one)
            times.append((time.perf_counter() - begun) * 1000)
        chances = [answer[name] for answer in answers for name in sorted(answer)]
        return {"ms": median(times), "all": chances, "precision": "float32", "threads": 1}

    return measure


def _pictures() -> list[bytes]:
    from bigmodel.data.prepare import head

    return [row["image"]["bytes"] for row in head(catalog.dataset("fashion_mnist"), "test", CLASSIFIED)]


def _texts(spec: Mapping) -> list[str]:
    from bigmodel.data.prepare import head

    return [row["text"] for row in head(catalog.dataset(spec["dataset"]), "test", CLASSIFIED)]


def _untrained_classifier(folder: Path, architecture: str) -> int:
    import torch

    spec = RunSpec.check({"task": "image-classification", "architecture": architecture, "dataset": "fashion_mnist"})
    facts = {"height": 28, "width": 28, "classes": [f"class {n}" for n in range(10)], "grey": True, "dark_ground": True}
    torch.manual_seed(0)
    model = catalog.architecture(architecture).model(facts, spec.settings)
    return _saved(folder, model, _processor(STARTERS / "classifier"), spec)


# -- shared --------------------------------------------------------------------------------------------------
def _side(function: str, **arguments: object) -> Side:
    return Side(f"{__name__}:{function}", ONE_THREAD, **arguments)


def _saved(folder: Path, model: Any, processor: Any, spec: RunSpec) -> int:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "bigmodel.json").write_text(json.dumps({"spec": spec.to_json()}), "utf-8")
    return sum(weight.numel() for weight in model.parameters())


def _processor(folder: Path) -> Any:
    from bigmodel.data.prepare import load_processor

    return load_processor(folder)


def _engine(folder: str, cache: str) -> Any:
    """Ours, with the conversion made before anything is measured."""
    from bigmodel.inference.engine import Engine

    engine = Engine(Path(folder), Path(cache))
    if engine.conversion is None and engine.task.head in ("causal-lm", "seq2seq-lm"):
        raise Failed("CTranslate2 is missing or answers differently: see above")
    return engine


def _checked(engine: Any, inputs: Mapping) -> dict:
    from bigmodel.core.spec import check_inputs

    return check_inputs(engine.task, inputs)


def _theirs(folder: str, head: str) -> tuple[Any, Any]:
    """The same files, opened as transformers' documentation says."""
    import torch
    import transformers

    auto = {
        "causal-lm": transformers.AutoModelForCausalLM,
        "seq2seq-lm": transformers.AutoModelForSeq2SeqLM,
        "image-classification": transformers.AutoModelForImageClassification,
        "text-classification": transformers.AutoModelForSequenceClassification,
    }[head]
    return auto.from_pretrained(folder, dtype=torch.float32).eval(), _processor(Path(folder))


def _bandwidth(size: int) -> float:
    """Bytes a second that one thread reads from a block of this size: no network can be gone through faster."""
    import torch

    block, vector, times = torch.ones(size // 4096, 1024), torch.ones(1024), []
    for read in [lambda: torch.mv(block, vector), block.sum] * 10:
        begun = time.perf_counter()
        read()
        times.append(time.perf_counter() - begun)
    return block.nbytes / min(times)


def _same(ours: Sequence[str], theirs: Sequence[str], work: str) -> None:
    if len({*ours, *theirs}) != 1:
        raise Failed(f"{work}: what was written is not the same")
