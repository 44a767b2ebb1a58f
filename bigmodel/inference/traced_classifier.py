"""A network that names classes made ready for single pictures or texts: traced, with no Python inside."""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

LOGIT_TOLERANCE = 1e-4  # between the answers of the network and those of what was made of it
TRACED_LENGTHS = (1, 2, 7, 33, 128)  # tokens of the texts that are compared; longer ones spend their time elsewhere
MAX_WEIGHT_BYTES = 200 * 2**20  # bytes of weights from which on the time is spent elsewhere, too
TIMING_REPEATS = 7  # of each program, to see which is the quickest
LINEAR = """
graph(%given, %weight, %bias):
  %found = aten::linear(%given, %weight, %bias)
  return (%found)"""
ONEDNN = """
graph(%given, %weight, %bias):
  %attribute : str = prim::Constant[value="none"]()
  %scalars : Scalar?[] = prim::ListConstruct()
  %algorithm : str = prim::Constant[value=""]()
  %found = mkldnn::_linear_pointwise(%given, %weight, %bias, %attribute, %scalars, %algorithm)
  return (%found)"""


def trace_image_classifier(model: Any, processor: Any) -> Any:
    """What is called as the model is, on one picture of the processor's size, in half the time or less: batch norms folded into
    convolutions, channels last. The model itself where it could not be traced or does not answer the same."""
    import torch

    from bigmodel.data.image_transforms import output_size

    def laid_out(picture: Any) -> dict:
        return {"pixel_values": picture.contiguous(memory_format=torch.channels_last)}

    folded = copy.deepcopy(model).eval()
    _fuse_batch_norms(folded)
    folded = folded.to(memory_format=torch.channels_last)
    random = torch.Generator().manual_seed(0)
    pictures = [torch.rand(1, 3, *output_size(processor), generator=random) * 2 - 1 for _time in range(2)]
    program = _fastest_program(model, folded, [laid_out(picture) for picture in pictures])
    return _wrap_as_model(model, lambda pixel_values: program(**laid_out(pixel_values))) if program else model


def trace_text_classifier(model: Any, processor: Any) -> Any:
    """The same for a single text, of any length up to the last of TRACED_LENGTHS; longer ones are for the model itself."""
    import torch

    from bigmodel.data.tokenizers import max_input_tokens

    if sum(weight.nbytes for weight in model.parameters()) >= MAX_WEIGHT_BYTES:
        return model
    random, entries = torch.Generator().manual_seed(0), model.get_input_embeddings().num_embeddings
    longest = max_input_tokens(processor, model.config)
    lengths = [length for length in TRACED_LENGTHS if length <= longest]
    texts = [{"input_ids": torch.randint(0, entries, (1, length), generator=random)} for length in lengths]
    program = _fastest_program(model, model, texts)

    def logits(input_ids: Any, attention_mask: Any) -> Any:
        if len(input_ids) == 1 and input_ids.shape[1] <= lengths[-1]:  # alone it is not padded and needs no mask
            return program(input_ids=input_ids)
        return model(input_ids=input_ids, attention_mask=attention_mask).logits

    return _wrap_as_model(model, logits) if program else model


def _fastest_program(model: Any, changed: Any, examples: Sequence[dict]) -> Callable | None:
    """`changed` without its Python, the quicker of two ways to multiply; None where it cannot be had, or says something
    else than the model of an example."""
    import torch

    (name,) = examples[0]
    programs = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a trace takes for fixed is compared
        for way in (_trace_and_freeze, _trace_with_onednn):
            try:
                program = way(changed, name, examples[-1][name])
                if all(
                    torch.allclose(model(**example).logits, program(example[name]), atol=LOGIT_TOLERANCE)
                    for example in examples
                ):
                    programs.append((_min_seconds(program, examples[-1][name]), len(programs), program))
            except Exception as error:  # one that decides by what it sees cannot be traced, and says so in many ways
                print(f"{type(model).__name__} is not traced: {error}", file=sys.stderr, flush=True)
    if not programs:
        return None
    *_figures, quickest = min(programs)
    return lambda **given: quickest(given[name])


def _trace_and_freeze(network: Any, name: str, example: Any) -> Any:
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.requires_grad_(False)

        def forward(self, given: Any) -> Any:
            return self.network(**{name: given}).logits

    return torch.jit.freeze(torch.jit.trace(Logits().eval(), example, check_trace=False))


def _min_seconds(program: Callable, example: Any) -> float:
    """The quickest of a few times; what a program does at its first calls is not among them."""
    times = []
    for _time in range(TIMING_REPEATS):
        begun = time.perf_counter()
        program(example)
        times.append(time.perf_counter() - begun)
    return min(times)


def _trace_with_onednn(network: Any, name: str, example: Any) -> Any:
    """The same, multiplied by oneDNN and not by the library that torch was built with: on AMD's processors up to twice as
    fast, on others not always."""
    import torch

    program = _trace_and_freeze(network, name, example)
    torch._C._jit_pass_custom_pattern_based_rewrite_graph(LINEAR, ONEDNN, program.graph)
    return program


def _wrap_as_model(model: Any, logits: Callable) -> Any:
    """What is called as the model is, and answers always: there is nothing in it to switch between training and answering."""
    import torch
    from transformers.modeling_outputs import SequenceClassifierOutput

    class Ready(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.config, self.training = model, model.config, False

        def forward(self, **given: Any) -> Any:
            return SequenceClassifierOutput(logits=logits(**given))

        def train(self, mode: bool = True) -> Any:
            return self

    return Ready()


def _fuse_batch_norms(module: Any) -> None:
    """Each batch norm that follows a convolution becomes part of it (Ioffe, Szegedy 2015, section 3.1)."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    before = ""
    for name, child in list(module.named_children()):
        if isinstance(child, torch.nn.BatchNorm2d) and before:
            setattr(module, before, fuse_conv_bn_eval(getattr(module, before), child))
            setattr(module, name, torch.nn.Identity())
        _fuse_batch_norms(child)
        before = name if isinstance(child, torch.nn.Conv2d) else ""
