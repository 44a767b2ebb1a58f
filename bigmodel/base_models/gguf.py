"""Models in GGUF files, where transformers reads them: brought into fp32 safetensors, then through the gate."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterable
from math import prod
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
MAX_ARRAY_ENTRIES = 2_000_000  # of all arrays together: vocabulary, scores, types, merges; the largest have 1,300,000
MAX_STRING_BYTES = 2**20
MAX_DIMENSIONS = 4
STRING, ARRAY = 8, 9
VALUE_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# greatest values of what a network of the header has, by the end of the name
MAX_VALUES = {"block_count": 512, "embedding_length": 65_536, "feed_forward_length": 1_000_000, "head_count": 4_096,
              "head_count_kv": 4_096, "context_length": 20_000_000, "expert_count": 256, "vocab_size": 4_000_000,
              "key_length": 65_536, "value_length": 65_536, "general.alignment": 2**20}  # fmt: skip
# (weights, bytes) of a block of each type of tensors, as in ggml
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 10: (256, 84),
          11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
          18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
          26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
          39: (32, 17)}  # fmt: skip


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
    """The network that a GGUF file holds. Refusal where it is none, of a kind that is not known, or where the numbers of
    its header do not fit the file: all of them are looked at before any library reads it."""
    if not file.is_file() or file.is_symlink():
        raise Refusal(_("There is no file {file}.", file=file.name[:100]), field="source")
    header = _Header(file)
    architecture = str(header.values.get("general.architecture", ""))
    if architecture not in MODEL_TYPES:
        what = _("This is a network of the kind '{kind}', which is not known here.", kind=architecture[:40])
        raise Refusal(what, do=_("Known are: {kinds}.", kinds=", ".join(MODEL_TYPES)), field="source")
    header.refuse_large(architecture)
    return architecture


class _Header:
    """The entries of a header and the sizes of its tensors, each count held against the bytes that are left."""

    def __init__(self, file: Path):
        self.name, self.size = file.name, file.stat().st_size
        self.values: dict[str, object] = {}
        self.array_entries = 0
        with file.open("rb") as self.data:
            if self.data.read(4) != b"GGUF":
                raise Refusal(_("{name} is not a GGUF file.", name=file.name[:100]), field="source")
            version, tensors, entries = self._unpack("IQQ")
            if version not in (2, 3) or not 0 < tensors <= MAX_ENTRIES or not 0 < entries <= MAX_ENTRIES:
                raise _damaged(file.name)
            for _number in range(entries):
                key = self._string()
                self.values[key] = self._value(*self._unpack("I"))
            self.parameters = sum(self._tensor() for _number in range(tensors))
            self.tensors = tensors

    def refuse_large(self, architecture: str) -> None:
        """Refusal for a network that its tensors cannot fill, or that is too large."""
        for key, value in self.values.items():
            most = next((most for end, most in MAX_VALUES.items() if key.endswith(end)), None)
            if most is not None and not (isinstance(value, int) and 0 <= value <= most) and value is not None:
                raise _impossible(self.name, key, value)
        blocks = self.values.get(f"{architecture}.block_count", 0)
        if isinstance(blocks, int) and blocks > self.tensors:
            raise _impossible(self.name, f"{architecture}.block_count", blocks)
        if self.parameters > limits.PARAMETERS:
            what = _(
                "A network of {billions} billion parameters is too large.", billions=round(self.parameters / 1e9, 1)
            )
            raise Refusal(what, do=_("Choose a smaller model."), field="source")

    def _value(self, kind: int) -> object:
        """A number or text; None for an array, which is passed over."""
        if kind in VALUE_FORMATS:
            return self._unpack(VALUE_FORMATS[kind])[0]
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            raise _damaged(self.name)
        inner, count = self._unpack("IQ")
        smallest = struct.calcsize(VALUE_FORMATS[inner]) if inner in VALUE_FORMATS else 8
        if (inner not in VALUE_FORMATS and inner != STRING) or count * smallest > self.size - self.data.tell():
            raise _damaged(self.name)
        self.array_entries += count
        if self.array_entries > MAX_ARRAY_ENTRIES:
            what = _("its lists have {count} entries", count=self.array_entries)
            raise validate_folder.invalid_file(self.name, what)
        if inner != STRING:
            self.data.seek(count * smallest, 1)
            return None
        for _number in range(count):
            self._skip_string()
        return None

    def _tensor(self) -> int:
        """How many weights a tensor has; they must be in the file."""
        name = self._string()
        (dimensions,) = self._unpack("I")
        if not 0 < dimensions <= MAX_DIMENSIONS:
            raise _damaged(self.name)
        weights = prod(self._unpack("Q" * dimensions))
        kind, offset = self._unpack("IQ")
        if kind not in BLOCKS:
            raise _impossible(self.name, name, f"type {kind}")
        per_block, block_bytes = BLOCKS[kind]
        if weights % per_block or offset + weights // per_block * block_bytes > self.size:
            raise _damaged(self.name)
        return weights

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        if length > min(MAX_STRING_BYTES, self.size - self.data.tell()):
            raise _damaged(self.name)
        return self.data.read(length).decode("utf-8", "replace")

    def _skip_string(self) -> None:
        (length,) = LENGTH.unpack(self.data.read(8).ljust(8, b"\xff"))
        if length > MAX_STRING_BYTES:
            raise _damaged(self.name)
        self.data.read(length)

    def _unpack(self, form: str) -> tuple:
        length = struct.calcsize(f"<{form}")
        part = self.data.read(length)
        if len(part) != length:
            raise _damaged(self.name)
        return struct.unpack(f"<{form}", part)


LENGTH = struct.Struct("<Q")


def _impossible(name: str, key: str, value: object) -> Refusal:
    return validate_folder.invalid_file(name, _("'{key}' is {value}", key=key[:80], value=str(value)[:40]))


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
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **parts)
        model = _without_quantization(model)
        if len(tokenizer) > model.config.vocab_size:  # tokens that transformers adds to every tokenizer of this kind
            model.resize_token_embeddings(len(tokenizer))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except (Refusal, MemoryError):
        raise
    except Exception as error:
        why = _("The system says: {reason}.", reason=str(error)[:200])
        raise Refusal(what, why, _("Take the same model as safetensors."), field="source") from error
