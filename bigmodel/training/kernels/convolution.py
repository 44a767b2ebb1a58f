"""Convolutions that leave out the weights which only ever meet the padding: over a single pixel, eight of nine in a 3 x 3 kernel.
The last stages of a network for small pictures are made of these, and the CPU computes with all of them."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def cropped_conv2d() -> type:
    """As torch.nn.Conv2d, in numbers and gradients."""
    import torch

    class LeanConvolution(torch.nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.device.type != "cpu" or x.ndim != 4:
                return super().forward(x)
            sides = list(zip(x.shape[2:], self.kernel_size, self.stride, self.padding, strict=True))
            (top, bottom), (left, right) = (kernel_overlap(*side) for side in sides)
            if (bottom - top, right - left) == self.kernel_size:
                return super().forward(x)
            weight, padding = self.weight[:, :, top:bottom, left:right], (self.padding[0] - top, self.padding[1] - left)
            return torch.nn.functional.conv2d(x, weight, self.bias, self.stride, padding, groups=self.groups)

    return LeanConvolution


def kernel_overlap(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """From where to where the weights of a kernel meet a picture of `size` pixels, wherever the kernel stands."""
    places = (size + 2 * padding - kernel) // stride + 1
    return max(padding - (places - 1) * stride, 0), min(padding + size, kernel)


def apply_cpu_kernels(model: Any) -> None:
    """Let the model's convolutions compute so. Nothing else about them changes, nor what is saved."""
    import torch

    for module in model.modules():
        if type(module) is torch.nn.Conv2d and _is_supported(module):
            module.__class__ = cropped_conv2d()


def _is_supported(module: Any) -> bool:
    """Padded by a number of zeros, each weight beside the next."""
    return module.padding_mode == "zeros" and module.dilation == (1, 1) and isinstance(module.padding, tuple)
