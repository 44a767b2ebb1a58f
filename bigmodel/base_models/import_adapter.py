"""Adapters that PEFT has saved: merged into the base model that they belong to, then through the gate like any model."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bigmodel.base_models import safetensors_header, store, validate_folder
from bigmodel.base_models.adapters import ADAPTER_NAME, merge_adapters
from bigmodel.core.contracts import HEADS
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

BASE_OPTION = "--base NAME"
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
# where PEFT saves the weights of an adapter: the layer, the part, and for a LoRA of an embedding no '.weight'
ADAPTER_WEIGHT = re.compile(
    r"base_model\.model\.(?P<layer>[\w.]{1,300})\.(?P<part>lora_[AB]|lora_magnitude_vector|hada_w[12]_[ab]|lokr_w[12](_[ab])?|"
    r"ia3_l)(\.weight)?"
)
FULL_WEIGHT = re.compile(r"base_model\.model\.(?P<name>[\w.]{1,300})")  # of a layer in `modules_to_save`
CONFIG_KEYS = {"LORA": ("r", "lora_alpha", "use_rslora", "use_dora", "fan_in_fan_out"), "LOHA": ("r", "alpha"),
               "LOKR": ("r", "alpha", "decompose_both", "decompose_factor"), "IA3": ("fan_in_fan_out",)}  # fmt: skip
PLAIN_NAME = re.compile(r"[\w.]{1,300}")  # PEFT takes the keys of its patterns for regular expressions
MAX_RANK, MAX_ALPHA = 4_096, 1e6


def is_adapter(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file() and not (folder / "config.json").exists()


def import_adapter(
    home: Path,
    folder: Path,
    roots: Iterable[Path],
    base: str = "",
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> store.Base:
    """Merge an adapter into `base`, or else the base model that its config names, and take the result in."""
    path = validate_folder.resolve_inside(folder, roots)
    config, shapes = validate_adapter(path)
    target = _base_of(home, config, shapes, base)
    store.refuse_full_disk(home, 2 * target.bytes)
    tell("converting", 0, target.bytes)
    store.bases_folder(home).mkdir(parents=True, exist_ok=True)
    prefix = f"{store.process_prefix(store.CONVERTING)}-"
    with tempfile.TemporaryDirectory(dir=store.bases_folder(home), prefix=prefix) as staging:
        merged = Path(staging) / "model"
        _merge(path, config, shapes, target, merged)
        tell("converting", target.bytes, target.bytes)
        return store.import_folder(
            home, merged, [Path(staging)], title=path.name, source=f"adapter: {path.name}, {target.name}",
            licence=target.licence, languages=target.languages, own=target.included, move=True,
        )  # fmt: skip


def validate_adapter(folder: Path) -> tuple[Mapping, Mapping[str, tuple[int, ...]]]:
    """(config, shapes of the weights) of an adapter that can be merged; Refusal for any other. No library reads it yet."""
    if not (folder / WEIGHTS_FILE).is_file():
        what = _("{folder} is an adapter without {name}.", folder=folder.name, name=WEIGHTS_FILE)
        raise Refusal(what, do=_("Save it as safetensors ({call}).", call="PEFT: save_pretrained"), field="source")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if (folder / name).resolve().parent != folder:
            raise validate_folder.invalid_file(name, _("it is a link that leads out of the folder"))
    config = validate_folder.read_json(folder / CONFIG_FILE, validate_folder.MAX_CONFIG_BYTES)
    if not isinstance(config, Mapping):
        raise validate_folder.invalid_file(CONFIG_FILE, _("it is not a JSON object"))
    kind = str(config.get("peft_type"))
    if kind not in CONFIG_KEYS:
        what = _("An adapter of the kind '{kind}' cannot be merged.", kind=kind[:40])
        raise Refusal(what, do=_("Known are: {kinds}.", kinds=", ".join(CONFIG_KEYS)), field="source")
    for key in ("r", "lora_alpha", "alpha", *CONFIG_KEYS[kind]):
        if not 0 <= _number(config.get(key, 0)) <= (MAX_RANK if key == "r" else MAX_ALPHA):
            raise validate_folder.invalid_file(
                CONFIG_FILE, _("'{key}' is {value}", key=key, value=str(config[key])[:40])
            )
    for key in ("rank_pattern", "alpha_pattern"):
        pattern = config.get(key) or {}
        if not isinstance(pattern, Mapping) or not all(map(PLAIN_NAME.fullmatch, pattern)):
            raise validate_folder.invalid_file(CONFIG_FILE, _("'{key}' is {value}", key=key, value=str(pattern)[:40]))
    try:
        shapes = safetensors_header.tensor_shapes(folder / WEIGHTS_FILE)
    except safetensors_header.InvalidHeader as error:
        raise validate_folder.invalid_file(WEIGHTS_FILE, str(error)) from None
    unknown = [name for name in shapes if not FULL_WEIGHT.fullmatch(name)]
    if unknown or not _adapted_layers(shapes):
        what = _("'{name}' is no weight of an adapter", name=(unknown or [""])[0][:80])
        raise validate_folder.invalid_file(WEIGHTS_FILE, what)
    return config, shapes


def _number(value: object) -> float:
    return -1 if value is not None and not isinstance(value, int | float) else value or 0


def _adapted_layers(shapes: Iterable[str]) -> list[str]:
    return sorted({match["layer"] for match in map(ADAPTER_WEIGHT.fullmatch, shapes) if match})


# -- the base model that it belongs to ---------------------------------------------------------------------
def _base_of(home: Path, config: Mapping, shapes: Mapping[str, tuple[int, ...]], asked: str) -> store.Base:
    named = str(config.get("base_model_name_or_path") or "")[:200]
    if asked:
        base = store.get_base(home, asked)
        if problem := _mismatch(base, shapes):
            what = _("This adapter is not one of {base}: {problem}.", base=base.name, problem=problem)
            raise Refusal(what, do=_("Choose the base model that it was trained on."), field="base")
        return base
    bases = list(store.list_bases(home).values())
    fitting = [base for base in bases if _is_named(base, named) and not _mismatch(base, shapes)] if named else []
    if fitting:
        return fitting[0]
    others = ", ".join(base.name for base in bases if not _mismatch(base, shapes)) or "-"
    if named:
        what = _("This is an adapter of {base}, which is not here.", base=named)
        do = _("Bring {base} first, then the adapter again; or name a base model that is here: {option}. Of the right shape are: {names}.", base=named, option=BASE_OPTION, names=others)  # fmt: skip
    else:
        what = _("This is an adapter, and it does not say of which base model.")
        do = _("Name the base model that it was trained on: {option}. Of the right shape are: {names}. If it is not here, bring it first.", option=BASE_OPTION, names=others)  # fmt: skip
    raise Refusal(what, do=do, field="source")


def _is_named(base: store.Base, named: str) -> bool:
    """Whether a base is what an adapter's config names: an id of the Hub, or the path of a folder."""
    folder = named.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return base.source in (f"Hub: {named}", f"folder: {folder}") or str(base.title) == named or base.name == named


def _mismatch(base: store.Base, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The first layer that the adapter changes and the base has not, or has in another shape; '' where all fit."""
    weights = _base_shapes(base)
    for layer in _adapted_layers(shapes):
        weight = weights.get(f"{layer}.weight") or weights.get(f"{layer.partition('.')[2]}.weight")
        down, up = (shapes.get(f"base_model.model.{layer}.lora_{part}.weight") for part in "AB")
        if weight is None:
            return layer
        if down and up and len(weight) == 2 and {up[0], down[1]} != set(weight):
            return f"{layer} {weight}"
    return ""


def _base_shapes(base: store.Base) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(base.folder.glob("model*.safetensors")):
        shapes |= safetensors_header.tensor_shapes(file)
    return shapes


# -- merged ------------------------------------------------------------------------------------------------
def _merge(
    folder: Path, config: Mapping, shapes: Mapping[str, tuple[int, ...]], base: store.Base, target: Path
) -> None:
    """Write the base with the adapter's weights added to its own, beside the adapter's tokenizer or the base's."""
    import torch
    import transformers
    from peft import inject_adapter_in_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    head = next(head for name, head in HEADS.items() if name in base.heads)
    safe = {"local_files_only": True, "trust_remote_code": False}
    what = _("The adapter {name} cannot be merged into {base}.", name=folder.name, base=base.name)
    do = _("Merge it where it was trained ({call}), and bring the model that comes out.", call="PEFT: merge_and_unload")
    try:
        model = getattr(transformers, head.auto_class).from_pretrained(base.folder, dtype=torch.float32, **safe)
        weights = load_file(folder / WEIGHTS_FILE)
        adapter = {name: weight for name, weight in weights.items() if ADAPTER_WEIGHT.fullmatch(name)}
        _load_full_weights(model, {name: weight for name, weight in weights.items() if name not in adapter})
        inject_adapter_in_model(_peft_config(config, shapes, model), model, ADAPTER_NAME)
        result = set_peft_model_state_dict(
            model, {name.removeprefix("base_model.model."): weight.float() for name, weight in adapter.items()}
        )
        if result.unexpected_keys:
            raise Refusal(what, _("It has no layer for {name}.", name=result.unexpected_keys[0][:80]), do, field="base")
        merge_adapters(model).save_pretrained(target)
    except (Refusal, MemoryError):
        raise
    except Exception as error:
        why = _("The system says: {reason}.", reason=str(error)[:200])
        raise Refusal(what, why, do, field="base") from error
    _copy_tokenizer(folder, base.folder, target)


def _peft_config(config: Mapping, shapes: Mapping[str, tuple[int, ...]], model: Any) -> Any:
    """A config of our own making: exact names of layers in place of the adapter's, which are regular expressions."""
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind = str(config["peft_type"])
    layers = _adapted_layers(shapes)
    values = {key: config[key] for key in CONFIG_KEYS[kind] if config.get(key) is not None}
    made: PeftConfig = PEFT_TYPE_TO_CONFIG_MAPPING[kind](target_modules=layers, **values)
    if kind == "IA3":
        named = config.get("feedforward_modules") or ()
        made.feedforward_modules = {
            layer for layer in layers if isinstance(named, list) and layer.endswith(tuple(map(str, named)))
        }
        return made
    ranks = {
        layer: shapes[name][0] for layer in layers if (name := f"base_model.model.{layer}.lora_A.weight") in shapes
    }
    alphas = config.get("alpha_pattern") or {}
    made.rank_pattern = {_exact(layer): rank for layer, rank in ranks.items() if rank != made.r}
    made.alpha_pattern = {
        _exact(layer): alpha for layer in layers for name, alpha in alphas.items() if f".{layer}".endswith(f".{name}")
    }
    return made


def _exact(layer: str) -> str:
    return "^" + re.escape(layer)


def _load_full_weights(model: Any, weights: Mapping[str, Any]) -> None:
    """Layers that were trained whole and not by an adapter. Raises RuntimeError for one that the model has not."""
    if not weights:
        return
    names = {name: FULL_WEIGHT.fullmatch(name)["name"].replace(".modules_to_save", "") for name in weights}
    result = model.load_state_dict({names[name]: weight.float() for name, weight in weights.items()}, strict=False)
    if result.unexpected_keys:
        raise RuntimeError(result.unexpected_keys[0])


def _copy_tokenizer(adapter: Path, base: Path, target: Path) -> None:
    names = {*validate_folder.VOCABULARY_FILES, *validate_folder.SENTENCEPIECE_FILES, "tokenizer_config.json",
             "special_tokens_map.json", "preprocessor_config.json"}  # fmt: skip
    brought = (adapter / "tokenizer.json").is_file() or (adapter / "tokenizer.model").is_file()
    source = adapter if brought else base
    for name in names:
        file = source / name
        if file.is_file() and not file.is_symlink() and not (target / name).exists():
            shutil.copyfile(file, target / name)
