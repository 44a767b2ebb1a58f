"""GPT-2 124M on a GPU: tokens a second and how much of the peak that is, ours beside nanoGPT's loop.

    python -m benchmarks speed gpt2 --device cuda             training
    python -m benchmarks speed gpt2-writing --device cuda     writing 200 tokens, beside transformers' generate

Block 1,024, bf16, as large a batch as fits. Model FLOPs utilisation (MFU) counts as PaLM does (Chowdhery et al. 2022,
appendix B): 6 per weight and token, and 12 x layers x width x block for attention, of the GPU's dense bf16 peak.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from benchmarks.speed.language_model import bare_loop
from benchmarks.speed.report import alone, compared
from benchmarks.speed.side import Side, alternate
from benchmarks.speed.training import OURS, fresh_model, prepared, spec_from, spec_of
from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec

NANOGPT = "benchmarks.speed.gpu:nanogpt_side"
WRITING = "benchmarks.speed.gpu:writing_side"
GENERATE = "benchmarks.speed.gpu:generate_side"
TOKENS = 200
PROMPT = [11, 12, 13, 14, 15]
VOCABULARY = 50_304  # GPT-2's, rounded up as nanoGPT has it; a text that does not fill it leaves a few rows out
BYTES_A_SEQUENCE = (
    1.3e9  # memory that one sequence of 1,024 tokens holds on to where nothing is compiled; decides the batch
)
# dense bf16 TFLOP/s by the name of the GPU, from the makers' data sheets
PEAKS: Mapping[str, float] = {
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10": 125,
    "RTX 4090": 165,
    "RTX 3090": 71,
    "T4": 65,
}


def spec(batch: int, **more: object) -> RunSpec:
    """124 million parameters: 12 layers of 768, 12 heads."""
    shape = {"layers": 12, "width": 768, "attention_heads": 12, "block_size": 1024, "vocabulary": VOCABULARY}
    given = {**shape, "batch_size": batch, "dropout": 0.0, "learning_rate": 6e-4, "precision": "bf16", **more}
    return spec_of("text-generation", "gpt", "bench_texts_tenth", "cuda", **given)


def gpt2(rounds: int, device: str = "cuda", steps: int = 30, warm: int = 15) -> list[dict]:
    name, memory = gpu()
    batch = max(1, min(64, int(memory * 0.8 / BYTES_A_SEQUENCE)))
    asked = spec(batch)
    task = {"spec": asked.to_json(), "steps": steps, "warm": warm}
    found = alternate(
        {
            "ours": Side(OURS, **task),
            "nanogpt": Side(NANOGPT, **task),
            "nanogpt, compiled": Side(NANOGPT, **task, compiled=True),
        },
        rounds,
    )
    weights = found["nanogpt"][0]["parameters"]
    work = f"GPT-2, {weights / 1e6:.0f} M parameters, 1,024 tokens x {batch}, bf16, {name}"
    rows = [
        compared(work, found["ours"], "nanoGPT's loop", found["nanogpt"], "tokens/s", ">= 1"),
        compared(work, found["ours"], "nanoGPT's loop, compiled", found["nanogpt, compiled"], "tokens/s", ">= 1"),
    ]
    peak = peak_of(name)
    if peak is None:
        rows[0]["note"] = f"no MFU: the peak of {name} is not in the table PEAKS of benchmarks/speed/gpu.py"
        return rows
    each = flops_a_token(weights, asked.settings)
    theirs = [
        median(one["rate"] for one in found[side]) * each / peak / 1e12 for side in ("nanogpt", "nanogpt, compiled")
    ]
    note = f"nanoGPT's loop {theirs[0]:.1%}, compiled {theirs[1]:.1%}; peak {peak:.0f} TFLOP/s"
    used = [our["rate"] * each / peak / 1e12 for our in found["ours"]]
    return [*rows, alone(f"{work}: MFU", used, "of the peak", ">= 0.5", note)]


def gpt2_writing(rounds: int, device: str = "cuda") -> list[dict]:
    name, _memory = gpu()
    found = alternate({"ours": Side(WRITING), "generate": Side(GENERATE)}, rounds)
    work = f"writing {TOKENS} tokens, GPT-2, greedy, fp32, {name}"
    rows = [compared(work, found["ours"], "transformers generate", found["generate"], "tokens/s", ">= 1.7")]
    same = found["ours"][0]["text"] == found["generate"][0]["text"] if isinstance(found["generate"], list) else False
    rows[0]["note"] = "same text" if same else "other text"
    return [*rows, alone(f"{work}: the first token", [our["first"] * 1e3 for our in found["ours"]], "ms", "<= 100")]


def gpu() -> tuple[str, float]:
    """(its name, bytes of its memory); Refusal where there is none."""
    import torch

    if not torch.cuda.is_available():
        raise Refusal("This machine has no cuda device.", do="Leave out --device cuda.", field="device")
    found = torch.cuda.get_device_properties(0)
    return found.name, float(found.total_memory)


def peak_of(name: str) -> float | None:
    """Dense bf16 TFLOP/s; the longest name that fits is meant."""
    fits = [known for known in PEAKS if known in name]
    return PEAKS[max(fits, key=len)] if fits else None


def flops_a_token(parameters: int, settings: Mapping) -> float:
    """Forward and backward. Position embeddings are looked up, not multiplied with."""
    width, block = settings["width"], settings["block_size"]
    return 6 * (parameters - block * width) + 12 * settings["layers"] * width * block


def nanogpt_side(spec: Mapping, steps: int, warm: int, compiled: bool = False) -> Callable[[], dict]:
    """TF32 where it is not bf16, fused AdamW, flash attention: what nanoGPT's train.py sets."""
    import torch

    torch.set_float32_matmul_precision("high")
    asked = spec_from(spec)
    data = prepared(asked)
    weights = sum(weight.numel() for weight in fresh_model(asked, data).parameters())

    def measure() -> dict:
        return bare_loop(asked, data, steps, warm, "bf16", compiled) | {"parameters": weights}

    return measure


def writing_side() -> Callable[[], dict]:
    """The writing of the app with a model on the GPU, token by token as a page receives it."""
    from bigmodel.inference.kv_cache import make_decoder

    model = _gpt2()

    def measure() -> dict:
        begun, first, text, unread = time.perf_counter(), None, [], PROMPT
        reading = make_decoder(model, len(PROMPT) + TOKENS, TOKENS)
        while len(text) < TOKENS:
            text.append(int(reading.next_logits(unread).argmax()))
            first = first or time.perf_counter() - begun
            unread = text[-1:]
        return {"rate": TOKENS / (time.perf_counter() - begun), "first": first, "text": text, "precision": "fp32"}

    measure()
    return measure


def generate_side() -> Callable[[], dict]:
    import torch

    model = _gpt2()
    given = torch.tensor([PROMPT], device="cuda")

    def measure() -> dict:
        begun = time.perf_counter()
        with torch.inference_mode():
            asked = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False}
            text = model.generate(given, attention_mask=torch.ones_like(given), **asked)[0, len(PROMPT) :].tolist()
        return {"rate": TOKENS / (time.perf_counter() - begun), "text": text, "precision": "fp32"}

    measure()
    return measure


def _gpt2() -> Any:
    """With random weights: what it says does not matter here, only how fast. The end token is one it never says."""
    import torch

    torch.manual_seed(0)
    facts = {"vocabulary": VOCABULARY, "end": VOCABULARY - 1, "pad": VOCABULARY - 1}
    return catalog.architecture("gpt").model(facts, spec(1).settings).to("cuda").eval()
