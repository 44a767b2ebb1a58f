"""A network of pictures made ready for single ones: batch norms folded into convolutions, channels last, no Python inside."""

from __future__ import annotations

import copy
import warnings
from typing import Any

ALIKE = 1e-4  # between the answers of the network and those of what was made of it


def traced(model: Any, height: int, width: int) -> Any:
    """What is called as the model is, on one picture of this size, in half the time or less; the model itself where
    it could not be traced or does not answer the same."""
    import torch
    from transformers.modeling_outputs import ImageClassifierOutput

    class Logits(torch.nn.Module):
        def __init__(self, model: Any):
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            return self.model(pixel_values=pixel_values).logits

    class Traced(torch.nn.Module):
        """The model's weights and config, around the traced program."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.config, self.program = model, model.config, program

        def forward(self, pixel_values: Any) -> Any:
            logits = self.program(pixel_values.contiguous(memory_format=torch.channels_last))
            return ImageClassifierOutput(logits=logits)

    folded = copy.deepcopy(model).eval()
    _fold(folded)
    folded = folded.to(memory_format=torch.channels_last).requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    picture, other = (torch.rand(1, 3, height, width, generator=random) * 2 - 1 for _time in range(2))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a trace takes for fixed, the picture's size, is fixed here
        try:
            program = torch.jit.freeze(torch.jit.trace(Logits(folded).eval(), picture, check_trace=False))
        except RuntimeError as error:  # a network that decides by what it sees cannot be traced
            warnings.warn(f"{type(model).__name__} is not traced: {error}", stacklevel=2)
            return model
        alike = all(
            torch.allclose(Logits(model)(one), program(one.contiguous(memory_format=torch.channels_last)), atol=ALIKE)
            for one in (picture, other)
        )
    return Traced().eval() if alike else model


def _fold(module: Any) -> None:
    """Each batch norm that follows a convolution becomes part of it (Ioffe, Szegedy 2015, section 3.1)."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    before = ""
    for name, child in list(module.named_children()):
        if isinstance(child, torch.nn.BatchNorm2d) and before:
            setattr(module, before, fuse_conv_bn_eval(getattr(module, before), child))
            setattr(module, name, torch.nn.Identity())
        _fold(child)
        before = name if isinstance(child, torch.nn.Conv2d) else ""
