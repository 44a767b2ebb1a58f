"""What an image processor makes of pictures, step by step: first their size, once; then their numbers, batch by batch."""

from __future__ import annotations

from typing import Any


def to_tensor(pixels: Any, scale: Any, shift: Any) -> Any:
    """uint8 (n, height, width[, 3]) -> float32 (n, 3, height, width), scaled as the processor does it."""
    import torch

    values = torch.from_numpy(pixels)
    values = values[:, None].expand(-1, 3, -1, -1) if values.ndim == 3 else values.permute(0, 3, 1, 2)
    values = values.to(torch.float32)
    if len({*scale.tolist()}) == len({*shift.tolist()}) == 1:  # the usual case: in one piece
        return values.mul_(float(scale[0])).add_(float(shift[0]))
    return values.mul_(torch.tensor(scale)[:, None, None]).add_(torch.tensor(shift)[:, None, None])


def pixel_scale_shift(processor: Any) -> tuple[Any, Any]:
    """(scale, shift), float32 (3,) each: what a processor does to the numbers of a pixel, whatever it calls that. It is
    a straight line, so black and white tell it."""
    import numpy as np

    if type(processor).__name__ == "ViTImageProcessorPil" and processor.do_rescale and processor.do_normalize:
        mean, std = (np.asarray(one, dtype=np.float64) for one in (processor.image_mean, processor.image_std))
        return (processor.rescale_factor / std).astype(np.float32), (-mean / std).astype(np.float32)
    asked = {"do_resize": False, "do_center_crop": False, "input_data_format": "channels_last", "return_tensors": "np"}
    black, white = (
        processor(np.full((4, 4, 3), value, dtype=np.uint8), **asked)["pixel_values"][0, :, 0, 0] for value in (0, 255)
    )
    return ((white - black) / 255).astype(np.float32), black.astype(np.float32)


def resize_image(picture: Any, processor: Any) -> Any:
    """uint8 (height, width[, 3]): a grey or coloured picture brought to the size that the processor brings it to."""
    import numpy as np

    if ignores_aspect_ratio(processor):
        return np.asarray(picture.resize((processor.size["width"], processor.size["height"]), processor.resample))
    asked = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
    if hasattr(processor, "include_top"):  # EfficientNet's name for being scaled a second time
        asked["include_top"] = False
    made = processor(picture.convert("RGB"), **asked)
    pixels = made["pixel_values"][0].transpose(1, 2, 0)
    return np.ascontiguousarray(pixels[..., 0] if picture.mode == "L" else pixels)


def ignores_aspect_ratio(processor: Any) -> bool:
    """Whether it brings each picture as a whole to a size, whatever its form, as ours do."""
    plain = type(processor).__name__ == "ViTImageProcessorPil" and not getattr(processor, "do_center_crop", None)
    return plain and processor.do_resize and bool(processor.size.get("height") and processor.size.get("width"))


def output_size(processor: Any) -> tuple[int, int]:
    """(height, width) of what becomes of a picture."""
    from PIL import Image as Pictures

    if ignores_aspect_ratio(processor):
        return processor.size["height"], processor.size["width"]
    return resize_image(Pictures.new("L", (64, 64)), processor).shape
