"""Convolutions without the weights that only ever meet zero padding: over a single pixel, eight of nine in a 3 x 3 kernel.
The last stages of a network for small images are made of these, and the CPU would compute with all of them."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def cropped_conv2d() -> type:
    """A torch.nn.Conv2d with the same outputs and gradients: (batch, channels, height, width) -> the same."""
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
    """[first, last) of the kernel's weights that meet one of `size` pixels at any of its positions."""
    positions = (size + 2 * padding - kernel) // stride + 1
    return max(padding - (positions - 1) * stride, 0), min(padding + size, kernel)


def apply_cpu_kernels(model: Any) -> None:
    """Replace the model's convolutions in place; what is saved stays the same."""
    import torch

    for module in model.modules():
        if type(module) is torch.nn.Conv2d and _is_supported(module):
            module.__class__ = cropped_conv2d()


def _is_supported(module: Any) -> bool:
    """Zero padding of a fixed width, no dilation."""
    return module.padding_mode == "zeros" and module.dilation == (1, 1) and isinstance(module.padding, tuple)
