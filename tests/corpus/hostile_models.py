"""Model folders that must be refused: pickles, programs, remote code, bombs, links, endless templates, weights that lie."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 64,
    "max_position_embeddings": 64, "tie_word_embeddings": True,
}  # fmt: skip
TOKENIZER = {
    "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None,
    "decoder": None, "truncation": None, "padding": None,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1}, "unk_token": "<unk>"},
}  # fmt: skip


# -- a folder that is as it should be -----------------------------------------------------------------------
def sound(folder: Path) -> Path:
    """What every hostile folder begins as; it is let in."""
    folder.mkdir(parents=True)
    _json(folder, "config.json", CONFIG)
    _json(folder, "tokenizer.json", TOKENIZER)
    _json(folder, "tokenizer_config.json", {"unk_token": "<unk>", "eos_token": "a"})
    shapes = {
        "model.embed_tokens.weight": [64, 16],
        "model.norm.weight": [16],
        "model.layers.0.mlp.up_proj.weight": [32, 16],
    }
    (folder / "model.safetensors").write_bytes(weights(shapes))
    return folder


def weights(shapes: Mapping[str, list[int]], header: Mapping | None = None, tail: bytes = b"") -> bytes:
    entries, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for number in shape:
            size *= number
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(entries if header is None else header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end) + tail


def _json(folder: Path, name: str, data: object) -> None:
    (folder / name).write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")


class _Bomb:
    """Unpickled, it leaves its mark where the trial looks for it."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch '{self.canary}'",)


def _pickle(canary: Path) -> bytes:
    return pickle.dumps(_Bomb(canary))


# -- what is done to it ---------------------------------------------------------------------------------------
def _file(name: str, data: Callable[[Path], bytes] = _pickle) -> Callable[[Path, Path], None]:
    return lambda folder, canary: (folder / name).write_bytes(data(canary))


def _program(canary: Path) -> bytes:
    return f"import os\nos.system(\"touch '{canary}'\")\n".encode()


def _archive(canary: Path) -> bytes:
    import io

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("archive/data.pkl", _pickle(canary))
    return data.getvalue()


def _config(**more: object) -> Callable[[Path, Path], None]:
    return lambda folder, canary: _json(folder, "config.json", CONFIG | more)


def _without(name: str) -> Callable[[Path, Path], None]:
    return lambda folder, canary: (folder / name).unlink()


def _tokenizer(**more: object) -> Callable[[Path, Path], None]:
    return lambda folder, canary: _json(folder, "tokenizer.json", TOKENIZER | more)


def _words(**more: object) -> Callable[[Path, Path], None]:
    return lambda folder, canary: _json(folder, "tokenizer_config.json", more)


def _template(text: str) -> Callable[[Path, Path], None]:
    return lambda folder, canary: (folder / "chat_template.jinja").write_text(text, "utf-8")


def _weights(data: bytes) -> Callable[[Path, Path], None]:
    return lambda folder, canary: (folder / "model.safetensors").write_bytes(data)


def _link(name: str, target: str) -> Callable[[Path, Path], None]:
    def act(folder: Path, canary: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return act


def _pipe(name: str) -> Callable[[Path, Path], None]:
    def act(folder: Path, canary: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return act


def _raw(name: str, text: str) -> Callable[[Path, Path], None]:
    return lambda folder, canary: _json(folder, name, text)


def _only_pickled(folder: Path, canary: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(_archive(canary))


def _many_files(folder: Path, canary: Path) -> None:
    for number in range(1500):
        (folder / f"x{number}.txt").touch()


def _index(mapped: object) -> Callable[[Path, Path], None]:
    return lambda folder, canary: _json(folder, "model.safetensors.index.json", {"weight_map": mapped})


def _huge(name: str, size: int) -> Callable[[Path, Path], None]:
    """A file that is large and takes no room: nobody may read it to its end."""

    def act(folder: Path, canary: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return act


_SHAPE = {"a": [4, 4]}
_ENTRY = {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}
NESTED = "[" * 100_000 + "]" * 100_000
HOSTILE: Mapping[str, Callable[[Path, Path], None]] = {
    # pickles and programs, under their own names and under others
    "only pickled weights": _only_pickled,
    **{f"a pickle named {name}": _file(name) for name in (
        "pytorch_model.bin", "model.pt", "model.pth", "x.ckpt", "x.pkl", "x.pickle", "vocab.pkl", "x.joblib", "x.npy", "x.txt", "x.json", "README.png", "model.safetensors", "config.json",
        "tokenizer.json", "vocab.txt", "merges.txt", "spiece.model", "tokenizer.model", "noextension", "x.BIN",
    )},
    "a zip of a pickle named tokenizer.model": _file("tokenizer.model", _archive),
    "a zip of a pickle named model.safetensors": _file("model.safetensors", _archive),
    "a zip of a pickle named notes.txt": _file("notes.txt", _archive),
    **{f"a program named {name}": _file(name, _program) for name in (
        "modeling_evil.py", "configuration_evil.py", "setup.sh", "x.so", "sitecustomize.py", "x.ipynb", "x.pyc",
    )},
    # configs that make code run, or load something else
    **{f"config.json names {key}": _config(**{key: value}) for key, value in {
        "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}, "custom_pipelines": {"x": {"impl": "evil.Pipe"}},
        "trust_remote_code": True, "custom_generate": "evil/repo", "transformers_weights": "../other.safetensors",
        "quantization_config": {"quant_method": "awq"}, "use_timm_backbone": True, "use_pretrained_backbone": True,
        "_attn_implementation": "evil/kernels", "attn_implementation": {"": "evil/kernels@main"}, "dtype": "os.system",
        "peft_config": {"base_model_name_or_path": "evil/base"},
    }.items()},
    "auto_map deep inside": _config(sub={"more": [{"auto_map": {"AutoModel": "evil--x.Y"}}]}),
    "auto_map of the tokenizer": _words(auto_map={"AutoTokenizer": ["evil.Tokenizer", None]}),
    "a tokenizer file elsewhere": _words(vocab_file="/etc/passwd"),
    "a tokenizer class that is a path": _words(tokenizer_class="../../evil.Tokenizer"),
    "an unknown network": _config(model_type="evil"),
    "a network that is a path": _config(model_type="../../evil"),
    "a network that is a list": _config(model_type=["llama"]),
    "an adapter": _file("adapter_model.bin"),
    # bombs
    **{f"config.json: {key} {value}": _config(**{key: value}) for key, value in {
        "num_hidden_layers": 10**9, "hidden_size": 10**7, "vocab_size": 10**10, "num_labels": 10**9,
        "intermediate_size": 10**12, "num_attention_heads": -1, "max_position_embeddings": 10**15, "rope_theta": 1e300,
    }.items()},
    "a network that its weights cannot fill": _config(hidden_size=8192, num_hidden_layers=80, intermediate_size=32768),
    "a width that is a word": _config(hidden_size="16"),
    "a list of a million layers": _config(layer_types=[1] * 1_000_000),
    "a config nested too deeply": _raw("config.json", '{"model_type":"llama","a":' + NESTED + "}"),
    "a config with a name twice": _raw("config.json", '{"model_type":"llama","auto_map":1,"model_type":"gpt2"}'),
    "a config that is not a number": _raw("config.json", '{"model_type":"llama","hidden_size":NaN}'),
    "a config with a number of a million digits": _raw("config.json", '{"model_type":"llama","hidden_size":' + "9" * 10**6 + "}"),
    "a config that is a list": _raw("config.json", "[]"),
    "a config that is no JSON": _raw("config.json", "__import__('os').system('true')"),
    "a config of a terabyte": _huge("config.json", 2**40),
    "a tokenizer of a terabyte": _huge("tokenizer.json", 2**40),
    "a vocabulary of a terabyte": _huge("vocab.txt", 2**40),
    "a tokenizer nested too deeply": _raw("tokenizer.json", '{"model":' + NESTED + "}"),
    "an expression that takes for ever": _tokenizer(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}}),
    "an expression of a megabyte": _tokenizer(pre_tokenizer={"type": "Split", "pattern": {"Regex": "a" * 10**6}}),
    "a normalizer that blows texts up": _tokenizer(normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "x" * 10**6}),
    "padding to a billion": _tokenizer(padding={"strategy": {"Fixed": 10**9}}),
    "a tokenizer without a model": _tokenizer(model=None),
    # chat templates
    "a template that never ends": _template("{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}"),
    "a template with a huge number": _template("{% for a in range(999999999999) %}x{% endfor %}"),
    "a template that fills the memory": _template("{% set n = namespace(s='xxxxxxxx') %}{% for a in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}"),
    "a template that multiplies": _template("{{ ('x' * 9999) * 9999 * 9999 }}"),
    "a template that calls itself": _template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    "two macros that call each other": _template("{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}"),
    "a template that reaches for Python": _template("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "a template that reaches by a word": _template("{{ cycler['__init__']['__globals__'].os.system('touch x') }}"),
    "a template that wants a file": _template("{% include '/etc/passwd' %}"),
    "a template of powers": _template("{{ 9 ** 9 ** 9 }}"),
    "a template that writes lipsum": _template("{{ lipsum(n=9999) }}"),
    "a template that is none": _template("{% for x %}"),
    "a template of a megabyte": _template("x" * 10**6),
    "a template in the config": _words(chat_template="{{ ''.__class__ }}"),
    "a template that is a list of numbers": _words(chat_template=[1, 2, 3]),
    # links and what is no file
    "a link to /etc/passwd": _link("README.md", "/etc/passwd"),
    "a config that is a link out": _link("config.json", "/etc/hostname"),
    "weights that are a link to a device": _link("model.safetensors", "/dev/zero"),
    "a link to itself": _link("vocab.txt", "vocab.txt"),
    "a link to nowhere": _link("vocab.txt", "gone"),
    "a pipe named config.json": _pipe("config.json"),
    "a pipe named model.safetensors": _pipe("model.safetensors"),
    "fifteen hundred files": _many_files,
    # weights that lie
    "weights whose header is longer than the file": _weights(struct.pack("<Q", 2**40) + b"{}"),
    "weights of three bytes": _weights(b"abc"),
    "weights whose header is no JSON": _weights(struct.pack("<Q", 4) + b"{{{{"),
    "weights that overlap": _weights(weights(_SHAPE, {"a": _ENTRY, "b": _ENTRY})),
    "weights with a hole": _weights(weights(_SHAPE, {"a": {**_ENTRY, "data_offsets": [8, 72]}}, bytes(8))),
    "weights with a tail": _weights(weights(_SHAPE, None, _pickle(Path("canary")))),
    "weights of a size that is not theirs": _weights(weights(_SHAPE, {"a": {**_ENTRY, "shape": [9, 9]}})),
    "weights with a negative size": _weights(weights(_SHAPE, {"a": {**_ENTRY, "shape": [-4, -4]}})),
    "weights of an unknown kind": _weights(weights(_SHAPE, {"a": {**_ENTRY, "dtype": "PICKLE"}})),
    "weights whose header is nested": _weights(struct.pack("<Q", len(NESTED)) + NESTED.encode()),
    "an index that leads away": _index({"a": "../../other.safetensors"}),
    "an index of nothing": _index([1, 2]),
    # what is not there
    "no config": _without("config.json"),
    "no weights": _without("model.safetensors"),
    "no tokenizer": _without("tokenizer.json"),
}  # fmt: skip
