"""The gate: whatever model comes from outside is looked over here first. Nothing is executed, nothing unpickled.

What is let in: a folder inside an allowed root with a config of a known network, weights as safetensors, and what its
tokenizer or image processor needs. Needs neither torch nor transformers.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path

from bigmodel.base_models import (
    chat_template_check,
    check_tensors,
    check_tokenizer,
    safetensors_header,
    sentencepiece_model,
)
from bigmodel.base_models.supported_models import FAMILIES, Family, find_family
from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _

WEIGHTS_PATTERN = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
WEIGHTS_INDEX = "model.safetensors.index.json"
CONFIG_FILES = ("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json",
           "special_tokens_map.json", WEIGHTS_INDEX)  # fmt: skip
VOCABULARY_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json", "target_vocab.json",
         "chat_template.jinja")  # fmt: skip
BYTE_TOKENIZERS = ("ByT5Tokenizer",)  # reads bytes and needs no words
SENTENCEPIECE_FILES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "source.spm", "target.spm")
ABOUT_FILES = ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "bigmodel.json")
ALLOWED_FILES = frozenset((*CONFIG_FILES, *VOCABULARY_FILES, *SENTENCEPIECE_FILES, *ABOUT_FILES))
IGNORED_SUFFIXES = frozenset(
    {".md", ".txt", ".json", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf", ".yaml", ".yml"}
)

# what a Trainer, DeepSpeed or TensorBoard leaves beside weights: ignored, never opened
TRAINING_STATE = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state(_\d+)?)\.(bin|pt|pth)|trainer_state\.json|"
    r"(checkpoint-|global_step)\d+|runs|events\.out\.tfevents\..{1,200}"
)

MAX_LINK_BYTES = 200  # of a file that names a blob
MAX_FILES = 1_000
MAX_CONFIG_BYTES, MAX_VOCABULARY_BYTES = 4 * 2**20, 100 * 2**20
MAX_WEIGHT_BYTES = 200 * 2**30
MAX_JSON_DEPTH = 40  # JSON within JSON
MAX_TOKENIZER_ENTRIES, MAX_CONFIG_ENTRIES = 3_000_000, 400_000  # of all a tokenizer, a config holds

# what makes transformers run somebody's code, or fetch something, when it meets it in a config
CODE_KEYS = ("auto_map", "custom_pipelines", "custom_code", "remote_code", "trust_remote_code", "custom_generate",
        "custom_object", "module_file", "py_modules", "kernel_config", "hub_kernels", "base_model_name_or_path",
        "peft_config", "adapter_config", "transformers_weights")  # fmt: skip
REMOTE_WEIGHT_KEYS = ("use_timm_backbone", "use_pretrained_backbone", "timm_model")
ATTENTION_IMPLEMENTATIONS = (None, "eager", "sdpa", "flash_attention_2", "flex_attention")
DTYPES = (None, "float32", "float16", "bfloat16", "auto")

# greatest values of the numbers in a config, by name; every other number is held to OTHER
MAX_VALUES: Mapping[str, int] = (
    dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers", "depth",
                   "num_decoder_layers"), 512)
    | dict.fromkeys(("hidden_size", "n_embd", "d_model", "embed_dim", "dim", "word_embed_proj_dim", "d_kv",
                     "head_dim", "embedding_size", "channels"), 65_536)
    | dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim",
                     "hidden_dim"), 1_000_000)
    | dict.fromkeys(("num_attention_heads", "n_head", "num_key_value_heads", "num_heads", "n_heads",
                     "encoder_attention_heads", "decoder_attention_heads"), 4_096)
    | dict.fromkeys(("vocab_size", "num_embeddings", "num_labels"), 4_000_000)
    | dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length",
                     "max_target_positions", "relative_attention_max_distance"), 20_000_000)
    | dict.fromkeys(("image_size", "patch_size", "num_channels", "width", "height", "shortest_edge",
                     "longest_edge"), 8_192)
    | dict.fromkeys(("num_experts", "num_local_experts", "stages", "num_stages"), 256)
)  # fmt: skip
DEFAULT_MAX_VALUE = 10**10
MAX_LIST_LENGTH = 4_096  # entries of a list of numbers
MAX_LABELS = 200_000


@dataclass(frozen=True)
class FolderReport:
    """What the gate has found out about a folder that it lets in."""

    model_type: str
    heads: frozenset[str]
    parameters: int
    bytes: int
    longest: int  # tokens it reads at most, 0 for no bound
    chat: bool  # whether it brings a chat template
    files: tuple[str, ...]  # names of those that belong to the model
    paths: Mapping[str, Path]  # where each of them is: in a cache of the Hub under another name
    ignored: tuple[str, ...]  # training state beside the weights, never opened
    classes: int  # of a classifier that knows some already, else 0


def validate(folder: Path, roots: Iterable[Path], own: bool = False) -> FolderReport:
    """Look a folder over; Refusal says what is wrong with it. `own`: networks of bigmodel's own are known too."""
    path = hub_snapshot(resolve_inside(folder, roots))
    files, ignored = _model_files(path)
    config, family, chat, index = _check_configs(path, files, own)
    shapes = _tensor_shapes(files, index)
    parameters = sum(map(prod, shapes.values()))
    _check_parameter_count(config, parameters)
    heads = family.heads
    if not own and not family.reads_images:
        check_tensors.refuse_missing_layers(config, shapes)
        check_tensors.refuse_large_tokenizer(config, files)
        heads = check_tensors.available_heads(config, heads, shapes)
    labels = config.get("id2label")
    return FolderReport(
        model_type=config["model_type"],
        heads=heads,
        parameters=parameters,
        bytes=sum(file.stat().st_size for file in files.values()),
        longest=max(int(config.get(family.max_length_key) or 0) - family.reserved_positions, 0)
        if family.max_length_key
        else 0,
        chat=chat,
        files=tuple(sorted(files)),
        paths=files,
        ignored=tuple(ignored),
        classes=len(labels) if isinstance(labels, Mapping) else 0,
    )


def validate_configs(folder: Path) -> None:
    """Refusal where configs or tokenizer are wrong: looked at before the weights are fetched."""
    _check_configs(folder, _model_files(folder)[0], own=False)


def _check_configs(path: Path, files: Mapping[str, Path], own: bool) -> tuple[Mapping, Family, bool, object]:
    """(config, family, whether there is a chat template, index of the weights): all but the weights is looked over."""
    if "config.json" not in files:
        what = _("{folder} holds no model: there is no config.json.", folder=path.name)
        raise Refusal(what, do=_("Choose the folder that has config.json and model.safetensors in it."), field="source")
    configs = {name: read_json(files[name], MAX_CONFIG_BYTES, name) for name in CONFIG_FILES if name in files}
    for name, config in configs.items():
        if not isinstance(config, Mapping):
            raise invalid_file(name, _("it is not a JSON object"))
        _refuse_code(name, config)
    config = configs["config.json"]
    family = _family(config, own)
    for name in ("config.json", "preprocessor_config.json", "generation_config.json"):
        _check_bounds(name, configs.get(name, {}))
    for name in VOCABULARY_FILES:
        if name in files:
            _check_vocabulary(files[name], name)
    for name in SENTENCEPIECE_FILES:
        if name in files:
            _check_sentencepiece(files[name], name)
    chat = _check_chat_template(files, configs.get("tokenizer_config.json", {}))
    if configs.get("tokenizer_config.json", {}).get("tokenizer_class") not in BYTE_TOKENIZERS:
        _require_processor(family, files.keys())
    return config, family, chat, configs.get(WEIGHTS_INDEX)


# -- files ---------------------------------------------------------------------------------------------
def resolve_inside(folder: Path, roots: Iterable[Path]) -> Path:
    """The folder with every link followed; refused where it is not inside one of the roots."""
    roots = list(roots)
    try:
        path = folder.resolve(strict=True)
        is_folder = path.is_dir()
    except (OSError, RuntimeError, ValueError):
        is_folder = False
    if not is_folder:
        raise Refusal(_("There is no folder {folder}.", folder=str(folder)[:200]), field="source")
    if not any(path.is_relative_to(root.resolve()) for root in roots):
        what = _("{folder} is not in a folder that models may come from.", folder=str(folder)[:200])
        allowed = ", ".join(str(root) for root in roots) or "-"
        raise Refusal(
            what, do=_("Allowed are: {folders}. BIGMODEL_DATA_ROOTS names more.", folders=allowed), field="source"
        )
    return path


def hub_snapshot(path: Path) -> Path:
    """Of a cache folder of the Hub's own client (models--org--name) the snapshot that its main branch names, else its
    only one; any other folder as it is."""
    snapshots = path / "snapshots"
    if not path.name.startswith("models--") or not snapshots.is_dir():
        return path
    names = sorted(entry.name for entry in os.scandir(snapshots) if entry.is_dir(follow_symlinks=False))
    with suppress(OSError):
        main = (path / "refs" / "main").read_bytes()[:100].decode("ascii", "replace").strip()
        names = [name for name in names if name == main] or names
    if len(names) != 1:
        what = _("{folder} holds {count} snapshots of a model.", folder=path.name[:100], count=len(names))
        raise Refusal(what, do=_("Name one of the folders in its folder {name}.", name="snapshots"), field="source")
    return snapshots / names[0]


def _blobs_folder(path: Path) -> Path | None:
    """Where the links of a snapshot in a cache of the Hub lead."""
    cache = path.parent.parent
    blobs = cache / "blobs"
    in_cache = path.parent.name == "snapshots" and cache.name.startswith("models--")
    return blobs if in_cache and blobs.is_dir() and not blobs.is_symlink() else None


def _model_files(path: Path) -> tuple[dict[str, Path], list[str]]:
    """(file by name of all that belongs to the model, names of the training state beside it). Anything that could be a
    program, or leads away, is refused."""
    files, ignored = {}, []
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        what = _("{folder} cannot be read: {reason}.", folder=path.name, reason=error.strerror or str(error))
        raise Refusal(what, field="source") from error
    if len(entries) > MAX_FILES:
        raise Refusal(_("{folder} has {count} files.", folder=path.name, count=len(entries)),
                      do=_("Choose a folder that holds one model and nothing else."), field="source")  # fmt: skip
    blobs = _blobs_folder(path)
    has_weights = any(WEIGHTS_PATTERN.fullmatch(entry.name) for entry in entries)
    for entry in entries:
        belongs = entry.name in ALLOWED_FILES or bool(WEIGHTS_PATTERN.fullmatch(entry.name))
        if has_weights and TRAINING_STATE.fullmatch(entry.name):
            ignored.append(entry.name)
            continue
        if not belongs and (entry.name.startswith(".") or entry.is_dir()):
            continue  # never looked into
        file = _regular_file(entry, blobs)
        if belongs:
            files[entry.name] = file
        elif Path(entry.name).suffix.lower() not in IGNORED_SUFFIXES:
            raise _disallowed_file(entry.name)
        elif _is_program(file):
            raise _disguised_file(entry.name)
    return files, ignored


def _regular_file(entry: os.DirEntry, blobs: Path | None) -> Path:
    """The file itself. A link only where it stays in the folder, or leads from a snapshot of the Hub's cache to a blob
    of the same model."""
    what = _("{name} is not a plain file.", name=entry.name[:100])
    try:
        file = _blob(entry, blobs) or Path(entry.path).resolve(strict=True)
        inside = file.is_relative_to(Path(entry.path).parent.resolve())
        if not inside and not (blobs and file.parent == blobs.resolve()):
            raise Refusal(what, _("It is a link that leads out of the folder."), field="source")
        kind = file.stat().st_mode
    except (OSError, RuntimeError) as error:
        raise Refusal(what, _("It is a link that leads nowhere."), field="source") from error
    if not stat.S_ISREG(kind):
        raise Refusal(what, _("A model is made of files alone."), field="source")
    return file


def _blob(entry: os.DirEntry, blobs: Path | None) -> Path | None:
    """The blob that a snapshot's file names in words: a link as git and archives keep it where there are no links."""
    if blobs is None or not entry.is_file(follow_symlinks=False) or entry.stat().st_size > MAX_LINK_BYTES:
        return None
    target = re.fullmatch(rb"\.\./\.\./blobs/([\w][\w.-]*)\n?", Path(entry.path).read_bytes())
    return (blobs / target[1].decode("ascii")).resolve(strict=True) if target else None


def _disallowed_file(name: str) -> Refusal:
    what = _("{name} is not let in.", name=name[:100])
    suffix = Path(name).suffix.lower()
    if name == "adapter_model.safetensors":
        why = _("It is an adapter, and beside it stands a model.")
        return Refusal(what, why, _("Put the adapter into a folder of its own."), field="source")
    if suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".mar", ".nemo"):
        why = _("Files of this kind are pickled Python, which can run any program when it is read.")
        return Refusal(what, why, _("Take a model whose weights are .safetensors."), field="source")
    if suffix in (".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".exe", ".ipynb"):
        why = _("It is a program. Models that need their own programs are not loaded.")
        return Refusal(what, why, _("Take a model of a kind that transformers has itself."), field="source")
    why = _("Only safetensors, JSON and text files are read.")
    return Refusal(what, why, _("Put the files of the model alone into a folder."), field="source")


def _is_program(file: Path) -> bool:
    """Whether the first bytes are those of a pickle, an archive, or an executable, whatever the name says."""
    with file.open("rb") as data:
        start = data.read(8)
    return start[:1] == b"\x80" or start.startswith((b"PK\x03\x04", b"\x7fELF", b"MZ", b"#!", b"\x1f\x8b", b"BZh", b"\x93NUMPY", b"GGUF"))  # fmt: skip


def _disguised_file(name: str) -> Refusal:
    why = _("It is not what its name says but a pickle, an archive or a program.")
    return Refusal(_("{name} is not let in.", name=name[:100]), why, field="source")


def invalid_file(name: str, why: Words | str) -> Refusal:
    what = _("{name} cannot be used: {reason}.", name=name[:100], reason=why)
    return Refusal(what, do=_("Take the model from where it comes from again, or choose another."), field="source")


# -- JSON ----------------------------------------------------------------------------------------------
def read_json(file: Path, most: int, name: str = "") -> object:
    """Bounded in size, depth and count, without numbers that are none; Refusal for what is not so."""
    name = name or file.name
    if file.stat().st_size > most:
        raise invalid_file(name, _("it has {size} MB", size=file.stat().st_size // 2**20))
    if _is_program(file):
        raise _disguised_file(name)
    try:
        found = json.loads(
            file.read_bytes().decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_reject_constant
        )
    except RecursionError:
        raise invalid_file(name, _("it is nested too deeply")) from None
    except ValueError as error:
        raise invalid_file(name, _("it is no proper JSON: {error}", error=str(error)[:80])) from None
    _check_json_size(name, found, MAX_TOKENIZER_ENTRIES if most > MAX_CONFIG_BYTES else MAX_CONFIG_ENTRIES)
    return found


def _unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """A key twice is two readers who understand two things."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _check_json_size(name: str, found: object, most: int) -> None:
    count, stack = 0, [(found, 0)]
    while stack:
        value, depth = stack.pop()
        count += 1
        if depth > MAX_JSON_DEPTH:
            raise invalid_file(name, _("it is nested too deeply"))
        if count > most:
            raise invalid_file(name, _("it has too many entries"))
        if isinstance(value, Mapping | list):
            stack += [(part, depth + 1) for part in (value.values() if isinstance(value, Mapping) else value)]


def _walk(found: object, key: str = "") -> Iterator[tuple[str, object]]:
    """(name, value) of everything in a JSON object, entries of lists under the list's name."""
    if isinstance(found, Mapping):
        for name, part in found.items():
            yield name, part
            yield from _walk(part, name)
    elif isinstance(found, list):
        for part in found:
            yield key, part
            yield from _walk(part, key)


# -- what configs say ------------------------------------------------------------------------------------
def _refuse_code(name: str, config: Mapping) -> None:
    for key, value in _walk(config):
        if key in CODE_KEYS:
            what = _("{name} names '{key}'.", name=name, key=key)
            why = _("That makes a program of somebody else run when the model is loaded.")
            raise Refusal(what, why, _("Take a model of a kind that transformers has itself."), field="source")
        if key in REMOTE_WEIGHT_KEYS and value:
            what = _("{name} names '{key}'.", name=name, key=key)
            raise Refusal(
                what, _("That loads other weights from the network."), _("Choose another model."), field="source"
            )
        if key in ("quantization_config", "compression_config") and value:
            method = value.get("quant_method") if isinstance(value, Mapping) else value
            raise check_tensors.quantized(str(method or key))
        if key.lstrip("_") in ("attn_implementation", "experts_implementation") and not _allowed(
            value, ATTENTION_IMPLEMENTATIONS
        ):
            raise invalid_file(name, _("'{key}' is {value}", key=key, value=str(value)[:40]))
        if key in ("dtype", "torch_dtype") and not _allowed(value, DTYPES):
            raise invalid_file(name, _("'{key}' is {value}", key=key, value=str(value)[:40]))
        if key.endswith("_file") and isinstance(value, str) and ("/" in value or "\\" in value or ".." in value):
            raise invalid_file(name, _("'{key}' names a file elsewhere", key=key))
        if key.endswith(("_class", "_type")) and isinstance(value, str) and not re.fullmatch(r"[\w.-]{1,80}", value):
            raise invalid_file(name, _("'{key}' is {value}", key=key, value=value[:40]))


def _allowed(value: object, options: tuple) -> bool:
    if isinstance(value, Mapping):
        return all(_allowed(part, options) for part in value.values())
    return (value is None or isinstance(value, str)) and value in options


def _family(config: Mapping, own: bool) -> Family:
    model_type = config.get("model_type")
    family = find_family(model_type) if own and isinstance(model_type, str) else FAMILIES.get(str(model_type))
    if family is None:
        what = _("This is a network of the kind '{kind}', which is not known here.", kind=str(model_type)[:40])
        raise Refusal(what, do=_("Known are: {kinds}.", kinds=", ".join(FAMILIES)), field="source")
    return family


def _check_bounds(name: str, config: Mapping) -> None:
    """Every number within what a network can have."""
    for key, value in _walk(config):
        if not _is_number(value):
            continue
        most = MAX_VALUES.get(key, DEFAULT_MAX_VALUE)
        low = -DEFAULT_MAX_VALUE if key not in MAX_VALUES else 0
        if not low <= value <= most:
            raise invalid_file(name, _("'{key}' is {value}", key=key, value=str(value)[:40]))
    for key, value in _walk(config):
        if isinstance(value, list) and len(value) > MAX_LIST_LENGTH and key != "bad_words_ids":
            raise invalid_file(name, _("'{key}' has {count} entries", key=key, count=len(value)))
        if key in ("id2label", "label2id") and isinstance(value, Mapping) and len(value) > MAX_LABELS:
            raise invalid_file(name, _("'{key}' has {count} entries", key=key, count=len(value)))
    _check_numeric(name, config)


def _check_numeric(name: str, config: Mapping) -> None:
    """What is multiplied with each other must be a number, and not a word or a list."""
    for key in MAX_VALUES:
        value = config.get(key, 0)
        parts = value if isinstance(value, list) else [value]
        if not all(part is None or _is_number(part) for part in parts):
            raise invalid_file(name, _("'{key}' is {value}", key=key, value=str(value)[:40]))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_parameter_count(config: Mapping, parameters: int) -> None:
    """A config that promises a network far larger than its weights is a bomb: it would be built before it is filled."""
    layers = max(int(config.get(key) or 0) for key in ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers"))
    width = max(int(config.get(key) or 0) for key in ("hidden_size", "n_embd", "d_model", "dim"))
    inner = max(int(config.get(key) or 0) for key in ("intermediate_size", "n_inner", "d_ff", "encoder_ffn_dim"))
    wide = int(config.get("vocab_size") or 0) * width if width else 0
    learned = config.get("model_type") in ("bert", "marian", "opt")  # position embeddings that are weights
    positions = config.get("max_position_embeddings") or 0 if learned else 0
    promised = layers * (2 * width * width + width * inner) + wide + int(positions) * width
    if promised > 2 * parameters + 10**6:
        reason = _("it promises {promised} million parameters, the weights have {found}", promised=promised // 10**6,
                   found=round(parameters / 1e6, 1))  # fmt: skip
        raise invalid_file("config.json", reason)


# -- tokenizers --------------------------------------------------------------------------------------------
def _check_vocabulary(file: Path, name: str) -> None:
    if Path(name).suffix != ".json":
        size = file.stat().st_size
        if size > MAX_VOCABULARY_BYTES:
            raise invalid_file(name, _("it has {size} MB", size=size // 2**20))
        if _is_program(file):
            raise _disguised_file(name)
        with file.open("rb") as data:
            if b"\0" in data.read(2**20):
                raise invalid_file(name, _("it is no text"))
        return
    found = read_json(file, MAX_VOCABULARY_BYTES, name)
    if not isinstance(found, Mapping):
        raise invalid_file(name, _("it is not a JSON object"))
    if name == "tokenizer.json":
        _refuse_unsafe(name, lambda: check_tokenizer.check(found))


def _refuse_unsafe(name: str, check: Callable[[], None]) -> None:
    try:
        check()
    except check_tokenizer.Unsafe as error:
        raise invalid_file(name, str(error)) from None
    except sentencepiece_model.InvalidProto:
        raise _disguised_file(name) from None


def _check_sentencepiece(file: Path, name: str) -> None:
    """SentencePiece: a protocol buffer, whose first field is a piece."""
    with file.open("rb") as data:
        if data.read(1) != b"\x0a":
            raise _disguised_file(name)
    if file.stat().st_size > MAX_VOCABULARY_BYTES:
        raise invalid_file(name, _("it has {size} MB", size=file.stat().st_size // 2**20))

    def check() -> None:
        for charsmap in sentencepiece_model.read(file).charsmaps:
            check_tokenizer.check_charsmap(charsmap)

    _refuse_unsafe(name, check)


def _check_chat_template(files: Mapping[str, Path], config: Mapping) -> bool:
    """Whether it brings a chat template; every template is looked over."""
    found = config.get("chat_template") or []
    templates = [found] if isinstance(found, str) else found
    if not isinstance(templates, list):
        raise invalid_file("tokenizer_config.json", _("'{key}' is {value}", key="chat_template", value=str(found)[:40]))
    texts = [template.get("template") if isinstance(template, Mapping) else template for template in templates]
    if "chat_template.jinja" in files:
        texts.append(files["chat_template.jinja"].read_text("utf-8", errors="replace"))
    for text in texts:
        problem = chat_template_check.find_problem(text) if isinstance(text, str) else "it is no text"
        if problem:
            raise invalid_file("chat_template", problem)
    return bool(texts)


def _require_processor(family: Family, names: Set[str]) -> None:
    if family.reads_images:
        wanted = {"preprocessor_config.json"}
    else:
        wanted = {"tokenizer.json", "vocab.txt", "vocab.json", *SENTENCEPIECE_FILES}
    if not wanted & names:
        what = _("{name} is missing.", name=" / ".join(sorted(wanted)))
        why = _("Without it nobody knows how the model wants its input.")
        raise Refusal(what, why, _("Take the model with all its files."), field="source")


# -- weights -------------------------------------------------------------------------------------------------
def _tensor_shapes(files: Mapping[str, Path], index: object) -> dict[str, tuple[int, ...]]:
    """Shape by name of every tensor, of all weight files."""
    names = sorted(name for name in files if WEIGHTS_PATTERN.fullmatch(name))
    if not names:
        what = _("There are no weights in the form of safetensors.")
        raise Refusal(what, do=_("Take a model whose weights are .safetensors."), field="source")
    mapped = None
    if index is not None:
        mapped = index.get("weight_map")
        if not isinstance(mapped, Mapping) or set(map(str, mapped.values())) - set(names):
            raise invalid_file(WEIGHTS_INDEX, _("it names files that are not there"))
    elif names != ["model.safetensors"]:
        raise invalid_file(names[0], _("{name} is missing", name=WEIGHTS_INDEX))
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        try:
            shapes |= safetensors_header.tensor_shapes(files[name])
        except safetensors_header.QuantizedTensor as error:
            raise check_tensors.quantized(str(error)) from None
        except safetensors_header.InvalidHeader as error:
            raise invalid_file(name, str(error)) from None
    if mapped is not None and (missing := sorted(set(mapped) - set(shapes))):
        raise check_tensors.missing_weights(missing)
    parameters, size = sum(map(prod, shapes.values())), sum(files[name].stat().st_size for name in names)
    if parameters > limits.PARAMETERS or size > MAX_WEIGHT_BYTES:
        what = _("A network of {billions} billion parameters is too large.", billions=round(parameters / 1e9, 1))
        raise Refusal(what, do=_("Choose a smaller model."), field="source")
    return shapes
