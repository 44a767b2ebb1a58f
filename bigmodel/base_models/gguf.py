"""Models in GGUF files, where transformers reads them: brought into fp32 safetensors, then through the gate."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from bigmodel.base_models import store, validate_folder
from bigmodel.base_models.adapters import without_quantization
from bigmodel.core import files, limits
from bigmodel.core.contracts import HEADS
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "mistral": "mistral", "gpt2": "gpt2", "phi3": "phi3",
         "gemma2": "gemma2", "gemma3": "gemma3_text", "stablelm": "stablelm", "starcoder2": "starcoder2",
         "bloom": "bloom", "t5": "t5"}  # fmt: skip
MAX_ENTRIES = 100_000  # of tensors, and of entries of the header
MAX_STRING_BYTES = 2**20


def import_gguf(
    home: Path,
    file: Path,
    roots: Iterable[Path],
    name: str = "",
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> store.Base:
    """Convert and take in. The file is looked over before any library reads it."""
    roots = list(roots)
    place = validate_folder.resolve_inside(file.parent, roots) / file.name
    architecture = read_architecture(place)
    size = place.stat().st_size
    store.refuse_full_disk(home, 8 * size)  # four bits become thirty-two
    tell("converting", 0, size)
    files.make_folder(store.bases_folder(home))
    with tempfile.TemporaryDirectory(
        dir=store.bases_folder(home), prefix=f"{store.process_prefix(store.CONVERTING)}-"
    ) as folder:
        _convert(place, Path(folder) / "model", MODEL_TYPES[architecture])
        tell("converting", size, size)
        title = file.stem
        base = store.import_folder(
            home, Path(folder) / "model", [Path(folder)], title=title, source=f"GGUF: {file.name}", name=name,
            revision=store.file_sha256(place)[:12], licence=_licence(place), move=True,
        )  # fmt: skip
    assert base.model_type == MODEL_TYPES[architecture] or base.model_type in validate_folder.FAMILIES
    return base


def read_architecture(file: Path) -> str:
    """The network that a GGUF file holds; Refusal where it is none, or of a kind that is not known."""
    if not file.is_file() or file.is_symlink():
        raise Refusal(_("There is no file {file}.", file=file.name[:100]), field="source")
    size = file.stat().st_size
    with file.open("rb") as data:
        start = data.read(24)
        if len(start) < 24 or start[:4] != b"GGUF":
            raise Refusal(_("{name} is not a GGUF file.", name=file.name[:100]), field="source")
        version, tensors, entries = struct.unpack("<IQQ", start[4:])
        if version not in (2, 3) or not 0 < tensors <= MAX_ENTRIES or not 0 < entries <= MAX_ENTRIES:
            raise _damaged(file.name)
        found = ""
        for _number in range(entries):  # the first entry names the network, in every file there is
            key = _read_string(data, file.name)
            (kind,) = struct.unpack("<I", _read_exactly(data, 4, file.name))
            if key == "general.architecture" and kind == 8:
                found = _read_string(data, file.name)
                break
            _skip(data, kind, file.name, size)
    if found not in MODEL_TYPES:
        what = _("This is a network of the kind '{kind}', which is not known here.", kind=found[:40])
        raise Refusal(what, do=_("Known are: {kinds}.", kinds=", ".join(MODEL_TYPES)), field="source")
    return found


VALUE_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def _skip(data, kind: int, name: str, size: int) -> None:
    if kind in VALUE_SIZES:
        _read_exactly(data, VALUE_SIZES[kind], name)
    elif kind == 8:
        _read_string(data, name)
    elif kind == 9:
        inner, count = struct.unpack("<IQ", _read_exactly(data, 12, name))
        if count > 10**7 or inner == 9:
            raise _damaged(name)
        for _number in range(count):
            _skip(data, inner, name, size)
    else:
        raise _damaged(name)


def _read_string(data, name: str) -> str:
    (length,) = struct.unpack("<Q", _read_exactly(data, 8, name))
    if length > MAX_STRING_BYTES:
        raise _damaged(name)
    return _read_exactly(data, length, name).decode("utf-8", "replace")


def _read_exactly(data, count: int, name: str) -> bytes:
    found = data.read(count)
    if len(found) != count:
        raise _damaged(name)
    return found


def _damaged(name: str) -> Refusal:
    what = _("{name} is damaged, or not complete.", name=name[:100])
    return Refusal(what, do=_("Take the file from where it comes from again."), field="source")


def _licence(file: Path) -> str:
    from gguf import GGUFReader

    field = GGUFReader(file).fields.get("general.license")
    return bytes(field.parts[field.data[0]]).decode("utf-8", "replace")[:100] if field is not None else ""


def _without_quantization(model):
    """The same weights in a network that does not remember where it was read from, and can be saved."""
    import torch

    with torch.device("meta"):
        plain = type(model)(without_quantization(model.config))
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    return plain


def _convert(file: Path, folder: Path, model_type: str) -> None:
    import torch
    import transformers
    from transformers import AutoConfig, AutoTokenizer

    head = next(head for head in HEADS.values() if model_type in head.model_types)
    transformers.utils.logging.disable_progress_bar()
    what = _("{name} cannot be converted.", name=file.name[:100])
    try:
        parts = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(file.parent, **parts)
        if head.encoder_decoder:  # each T5 that transformers reads has gates, of which the file does not say the form
            config.update({"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_new", "is_gated_act": True})
        model, told = getattr(transformers, head.auto_class).from_pretrained(
            file.parent, config=config, dtype=torch.float32, output_loading_info=True, **parts
        )
        if told["missing_keys"]:
            why = _("{count} of its layers are called otherwise than in the network that it names.",
                    count=len(told["missing_keys"]))  # fmt: skip
            raise Refusal(what, why, _("Take the same model as safetensors."), field="source")
        if sum(weight.numel() for weight in model.parameters()) > limits.PARAMETERS:
            raise Refusal(what, do=_("Choose a smaller model."), field="source")
        _without_quantization(model).save_pretrained(folder)
        AutoTokenizer.from_pretrained(file.parent, **parts).save_pretrained(folder)
    except (Refusal, MemoryError):
        raise
    except Exception as error:
        why = _("The system says: {reason}.", reason=str(error)[:200])
        raise Refusal(what, why, _("Take the same model as safetensors."), field="source") from error
