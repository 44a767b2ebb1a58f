"""A base model in memory: its network with the head of a task, its processor, what of it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bigmodel.base_models import adapters, languages, validate_folder
from bigmodel.base_models.store import Base
from bigmodel.base_models.supported_models import EMBEDDING_MODULES, HEAD_MODULES, is_within
from bigmodel.core.contracts import HEADS, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.model import STARTERS
from bigmodel.core.words import _

MAX_MISSING_SHARE = (
    0.2  # of a body's parameters; where more are not in the file, the weights are those of another network
)


def load_processor(base: Base, task: Task, rows: Mapping, settings: Mapping) -> Any:
    """The base's own tokenizer or image processor, with what tasks ask of one: padding and end tokens, one size, the
    languages of a translation."""
    from transformers import AutoConfig, AutoTokenizer

    safe = {"local_files_only": True, "trust_remote_code": False}
    seen = revalidate(base)
    if "tokenizer.json" not in seen.files and set(seen.files) & set(validate_folder.SENTENCEPIECE_FILES):
        import sentencepiece  # noqa: F401  # transformers' tokenizer of such a base stands on it
    head, columns = HEADS[task.head], task.language_columns(settings)
    if head.reads_images:
        return _image_processor(base)
    spoken = _language_pair(base, rows["train"], columns, settings) if columns else ("", "")
    found = AutoTokenizer.from_pretrained(base.folder, **safe, **_language_kwargs(base, spoken))
    if found.eos_token_id is None:
        found.eos_token = found.sep_token or found.bos_token or found.pad_token
    if found.eos_token_id is None and not head.classifies:
        what = _("The tokenizer of {base} has no token for the end of a text.", base=base.title)
        raise Refusal(what, do=_("Choose another base model."), field="base")
    if found.pad_token_id is None:
        found.pad_token = found.eos_token or found.unk_token
    if head.encoder_decoder:
        config = AutoConfig.from_pretrained(base.folder, **safe)
        found.init_kwargs["decoder_start_token_id"] = _decoder_start_token(config, found)
        before = languages.source_prefix(settings["prefix"], base.folder, base.model_type, spoken)
        if before:
            found.init_kwargs["source_prefix"] = before
    return found


# -- languages -------------------------------------------------------------------------------------------
def _language_pair(base: Base, rows: Mapping, columns: tuple[str, str], settings: Mapping) -> tuple[str, str]:
    """(what is read, what is written), each as it was asked for, or else by looking at the texts."""
    needed = base.model_type == "t5" or languages.tokenizer_class(base.folder) in languages.MULTILINGUAL_TOKENIZERS
    return tuple(
        settings[f"{column}_language"].strip() or (languages.detect_language(rows[column]) if needed else "")
        for column in columns
    )


def _language_kwargs(base: Base, spoken: tuple[str, str]) -> dict:
    """Both languages as the tokenizer of a base of many wants them; nothing for any other."""
    if languages.tokenizer_class(base.folder) not in languages.MULTILINGUAL_TOKENIZERS or not any(spoken):
        return {}
    known = languages.language_codes(base.folder) or _added_language_codes(base)
    for one in spoken:
        languages.refuse_unknown(one, known, base.title, "base")
    return dict(zip(("src_lang", "tgt_lang"), (languages.find_code(one, known) for one in spoken), strict=True))


def _added_language_codes(base: Base) -> tuple[str, ...]:
    """Where the files of a base do not list them, its tokenizer knows; Refusal where that does not either."""
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(base.folder, local_files_only=True, trust_remote_code=False)
    known = languages.filter_language_codes(found.get_added_vocab())
    if not known:
        what = _("The tokenizer of {base} has no tokens for languages.", base=base.title)
        raise Refusal(what, do=_("Take the model with all its files, tokenizer.json among them."), field="base")
    return known


def _decoder_start_token(config: Any, tokenizer: Any) -> int:
    """What the decoder reads first. For mBART it is what its translations end with: the end, or their language."""
    if config.model_type == "mbart":
        return tokenizer(text_target="a")["input_ids"][-1]
    start = getattr(config, "decoder_start_token_id", None)
    return tokenizer.pad_token_id if start is None else start


# -- pictures --------------------------------------------------------------------------------------------
def _image_processor(base: Base) -> Any:
    """The base's own: its sizes, its way of cutting, its mean and spread. One that leaves pictures as long or wide as
    they are brings them to a square instead, as pictures of a batch are of one size."""
    from transformers import AutoImageProcessor

    safe = {"local_files_only": True, "trust_remote_code": False}
    own = AutoImageProcessor.from_pretrained(base.folder, backend="pil", do_convert_rgb=True, do_resize=True, **safe)
    long, wide = (_output_size(own, *size) for size in ((300, 200), (200, 300)))
    if long != wide:
        side = min(long)
        own.size, own.do_center_crop = {"height": side, "width": side}, False
    return own


def _output_size(processor: Any, width: int, height: int) -> tuple[int, ...]:
    """(height, width) of what becomes of a picture."""
    from PIL import Image

    picture = Image.new("RGB", (width, height))
    return processor(picture, return_tensors="np")["pixel_values"].shape[-2:]


def revalidate(base: Base) -> validate_folder.FolderReport:
    """Through the gate again, each time: a folder may have been changed since it was taken in."""
    return validate_folder.validate(base.folder, [STARTERS if base.included else base.folder.parent], own=True)


def load_model(base: Base, head: str, facts: Mapping, settings: Mapping) -> Any:
    """The base with the head of a task, in fp32, everything trainable. On the meta device nothing is read."""
    import torch
    import transformers

    revalidate(base)
    auto_class = getattr(transformers, HEADS[head].auto_class)
    safe = {"local_files_only": True, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(base.folder, **safe)
    _update_config(config, head, facts)
    if torch.empty(0).is_meta:
        return auto_class.from_config(config, trust_remote_code=False)
    _refuse_no_memory(base)
    more = {}
    if settings.get("quantize", "none") != "none":
        with torch.device("meta"):
            skeleton = auto_class.from_config(config, trust_remote_code=False)
        more = _quantization_kwargs(settings["quantize"], _unquantized_modules(skeleton, head))
    model, told = auto_class.from_pretrained(
        base.folder, config=config, dtype=torch.float32, use_safetensors=True, ignore_mismatched_sizes=True,
        output_loading_info=True, **safe, **more,
    )  # fmt: skip
    _refuse_mismatched_weights(base, model, told)
    if HEADS[head].encoder_decoder:
        _set_start_tokens(model, facts)
    return model


def _set_start_tokens(model: Any, facts: Mapping) -> None:
    """Let what is written begin as what is trained on does: with the token of its language where it has one."""
    model.generation_config.forced_bos_token_id = facts.get("first")
    if facts.get("start") is not None:
        model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = facts["start"]


def _update_config(config: Any, head: str, facts: Mapping) -> None:
    """Write into the config what the task's data ask for."""
    config.use_cache = True
    if HEADS[head].classifies:
        names = [str(name) for name in facts["classes"]]
        config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
        config.problem_type = None
    if HEADS[head].reads_images:
        config.grey, config.dark_ground = facts.get("grey", False), facts.get("dark_ground", False)
        config.seen_size = facts.get("seen_size")
    elif facts.get("pad") is not None:
        config.pad_token_id = facts["pad"]


def _refuse_mismatched_weights(base: Base, model: Any, told: Mapping) -> None:
    """Weights that are not in the file begin at random: right for a new head, wrong for a body."""
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    missing = [name for name in told["missing_keys"] if not set(name.split(".")) & set(HEAD_MODULES)]
    lost = sum(sizes.get(name, 0) for name in missing)
    if lost > MAX_MISSING_SHARE * sum(sizes.values()):
        what = _("The weights of {base} are not those of the network that its config describes.", base=base.title)
        raise Refusal(what, do=_("Choose another base model."), field="base")


def _refuse_no_memory(base: Base) -> None:
    import psutil
    import torch

    needed = 4 * base.parameters
    if not torch.cuda.is_available() and needed > psutil.virtual_memory().available:
        what = _("{base} needs {needed} GB of memory to be loaded.", base=base.title, needed=round(needed / 1e9, 1))
        raise Refusal(what, do=_("Choose a smaller base model, or close other programs."), field="base")


def _quantization_kwargs(asked: str, whole: list[str]) -> dict:
    """Weights in 8 or 4 bits, which only some graphics cards can compute with; those of the layers `whole` as they are."""
    from importlib.util import find_spec

    import torch

    packed = find_spec("bitsandbytes") is not None
    if not packed or not torch.cuda.is_available():
        what = _("Weights of 8 or 4 bits need an NVIDIA graphics card and the package bitsandbytes.")
        do = _("Choose 'As they are' for the frozen weights.")
        if torch.cuda.is_available():
            do = _("Install it with `pip install bitsandbytes`, or choose 'As they are' for the frozen weights.")
        raise Refusal(what, do=do, field="quantize")
    return {"quantization_config": quantization_config(asked, whole), "device_map": {"": 0}}


def quantization_config(asked: str, whole: list[str]) -> Any:
    """How transformers is told of weights in '8bit' or '4bit'."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_8bit=asked == "8bit", load_in_4bit=asked == "4bit", bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16, llm_int8_skip_modules=whole,
    )  # fmt: skip


def _unquantized_modules(model: Any, head: str) -> list[str]:
    """Names of the layers that are never quantized: a head, which is trained itself, and the output of words."""
    own = {id(weight) for weight in _head_weights(model, head)}
    return [
        name
        for name, layer in model.named_modules()
        if any(id(weight) in own for weight in layer.parameters(recurse=False))
    ]


# -- what is trained -------------------------------------------------------------------------------------
def set_trainable(model: Any, head: str, settings: Mapping) -> Any:
    """Freeze what is not to be trained; put the adapters in where they are asked for."""
    method = settings["method"]
    if method == "full":
        return model
    heads = _head_weights(model, head)
    if method == "lora":
        adapters.inject_adapters(model, settings)
    else:
        model.requires_grad_(False)
    if method == "last":
        for weight in _last_layers(model, settings["last_layers"]):
            weight.requires_grad_(True)
    if method != "lora" or HEADS[head].classifies:
        for weight in heads:
            weight.requires_grad_(True)
    _freeze_batch_norm_statistics(model)
    return model


def _head_weights(model: Any, head: str) -> list:
    """What is not the body; for a language model its output and the norm before it."""
    body = {id(weight) for weight in model.base_model.parameters()} if model.base_model is not model else set()
    found = [
        weight for name, weight in model.named_parameters() if id(weight) not in body or is_within(name, ("pooler",))
    ]
    if HEADS[head].classifies:
        if not body:  # a network of our own, without a body by name
            found = [weight for name, weight in model.named_parameters() if is_within(name, HEAD_MODULES)]
        return found
    output = model.get_output_embeddings()
    return [*found, *(output.parameters() if output is not None else ())]


def _layer_stacks(model: Any) -> list[tuple[str, Any]]:
    """The longest rows of layers that stand one after the other, by name: an encoder's, a decoder's."""
    import torch

    found = [
        (name, row) for name, row in model.named_modules() if isinstance(row, torch.nn.ModuleList) and len(row) > 1
    ]
    return [(name, row) for name, row in found if not any(name.startswith(f"{other}.") for other, _row in found)]


def _last_layers(model: Any, count: int) -> list:
    """The weights of the last layers of each row, and of the norms that come after all of them."""
    rows = _layer_stacks(model)
    if not rows:
        what = _("This base model has no row of layers to choose the last ones of.")
        raise Refusal(what, do=_("Choose another way of fine-tuning."), field="method")
    found = [weight for _name, row in rows for layer in list(row)[-count:] for weight in layer.parameters()]
    inside = tuple(f"{name}." for name, _row in rows)
    for name, weight in model.named_parameters():
        norm = weight.ndim == 1 and not name.startswith(inside) and not any(part in name for part in EMBEDDING_MODULES)
        if norm:
            found.append(weight)
    return found


def _freeze_batch_norm_statistics(model: Any) -> None:
    """A batch norm whose weights stand still keeps its statistics too, also while the rest is trained."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()
            module.train = lambda mode=True, module=module: module
