"""Base models of every class in small: real tokenizers, trained on the spot, and networks with random weights."""

import io
import json
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _
from bigmodel.data.prepare import head

NLLB, MBART, MBART50, M2M100 = "NllbTokenizer", "MBartTokenizer", "MBart50Tokenizer", "M2M100Tokenizer"


def texts(count=300):
    """English and German."""
    rows = head(catalog.dataset("en_de"), "train", count)
    return [row["source"] for row in rows], [row["target"] for row in rows]


def pieces(sentences, **more) -> bytes:
    """A SentencePiece model."""
    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=made, vocab_size=300, hard_vocab_limit=False,
        minloglevel=2, **more,
    )  # fmt: skip
    return made.getvalue()


def written(folder: Path, **files) -> None:
    for name, content in files.items():
        file = folder / name.replace("__", ".")
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())


SMALL = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 256,
}  # fmt: skip


def marian(folder: Path):
    from sentencepiece import SentencePieceProcessor
    from transformers import MarianConfig, MarianMTModel

    english, german = texts()
    models = {"source__spm": pieces(english), "target__spm": pieces(german)}
    vocabulary = {"</s>": 0, "<unk>": 1}
    for model in models.values():
        reader = SentencePieceProcessor(model_proto=model)
        for place in range(reader.get_piece_size()):
            vocabulary.setdefault(reader.id_to_piece(place), len(vocabulary))
    pad = vocabulary["<pad>"] = len(vocabulary)
    own = {"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de", "model_max_length": 256}
    written(folder, **models, vocab__json=vocabulary, tokenizer_config__json=own)
    config = MarianConfig(
        **SMALL, vocab_size=len(vocabulary), pad_token_id=pad, eos_token_id=0, decoder_start_token_id=pad,
        forced_eos_token_id=0, bos_token_id=0,
    )  # fmt: skip
    return MarianMTModel(config)


def t5(folder: Path):
    """Its words as SentencePiece alone."""
    from transformers import T5Config, T5ForConditionalGeneration

    model = pieces([*texts()[0], *texts()[1]], pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    written(folder, spiece__model=model, tokenizer_config__json={"tokenizer_class": "T5Tokenizer", "extra_ids": 100})
    return T5ForConditionalGeneration(_t5(T5Config, 500))


def byt5(folder: Path):
    from transformers import T5Config, T5ForConditionalGeneration

    written(folder, tokenizer_config__json={"tokenizer_class": "ByT5Tokenizer", "extra_ids": 125})
    return T5ForConditionalGeneration(_t5(T5Config, 384))


def mt5(folder: Path):
    """Its words as tokenizer.json."""
    from transformers import MT5Config, MT5ForConditionalGeneration

    t5(folder)
    _saved_as_one(folder)
    return MT5ForConditionalGeneration(_t5(MT5Config, 500))


def _t5(config, vocabulary: int, **more):
    return config(
        vocab_size=vocabulary, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_decoder_layers=1, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, **more,
    )  # fmt: skip


def _saved_as_one(folder: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    for file in [*folder.glob("*.model"), *folder.glob("*.spm")]:
        file.unlink()


def nllb(folder: Path):
    return _many(folder, NLLB, model_type="bpe")


def m2m100(folder: Path):
    from sentencepiece import SentencePieceProcessor
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    model = pieces([*texts()[0], *texts()[1]], model_type="bpe")
    reader = SentencePieceProcessor(model_proto=model)
    words = [reader.id_to_piece(place) for place in range(3, reader.get_piece_size())]
    vocabulary = {word: index for index, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *words])}
    languages = [f"__{code}__" for code in ("en", "de", "zh")]
    written(
        folder, sentencepiece__bpe__model=model, vocab__json=vocabulary,
        tokenizer_config__json={"tokenizer_class": M2M100},
        special_tokens_map__json={"additional_special_tokens": languages},
    )  # fmt: skip
    size = len(M2M100Tokenizer.from_pretrained(folder)) + 8
    return M2M100ForConditionalGeneration(_bart(M2M100Config, size + 100))


def mbart(folder: Path):
    return _many(folder, MBART)


def mbart50(folder: Path):
    return _many(folder, MBART50)


def _many(folder: Path, tokenizer: str, **more):
    from transformers import (
        AutoTokenizer,
        M2M100Config,
        M2M100ForConditionalGeneration,
        MBartConfig,
        MBartForConditionalGeneration,
    )

    model = pieces([*texts()[0], *texts()[1]], **more)
    written(folder, sentencepiece__bpe__model=model, tokenizer_config__json={"tokenizer_class": tokenizer})
    listed = {"extra_special_tokens": ["eng_Latn", "deu_Latn", "zho_Hans"]} if tokenizer == NLLB else {}
    found = AutoTokenizer.from_pretrained(folder, **listed)
    size = len(found)
    found.save_pretrained(folder)
    (folder / "sentencepiece.bpe.model").unlink()
    if tokenizer == NLLB:
        return M2M100ForConditionalGeneration(_bart(M2M100Config, size))
    return MBartForConditionalGeneration(_bart(MBartConfig, size))


def bart(folder: Path):
    from tokenizers import processors
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    from bigmodel.data.tokenizers import _byte_pairs

    words = _byte_pairs([*texts()[0], *texts()[1]], 400, ["<s>", "<pad>", "</s>", "<unk>"])
    words.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return BartForConditionalGeneration(_bart(BartConfig, 400))


def _bart(config, size: int):
    return config(
        **SMALL, vocab_size=size, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
        scale_embedding=True, dropout=0.0,
    )  # fmt: skip


def bert(folder: Path):
    """A BERT that tells kinds of texts apart."""
    from transformers import BertConfig, BertForSequenceClassification

    bart(folder)  # its words
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    return BertForSequenceClassification(
        BertConfig(**sizes, vocab_size=400, max_position_embeddings=64, pad_token_id=1)
    )


PAIRS = {one.__name__: one for one in (marian, t5, mt5, byt5, bart, mbart, mbart50, m2m100, nllb)}


# -- tokenizers of writers ---------------------------------------------------------------------------------
def llama(folder: Path):
    """One that puts a mark of its own at the beginning."""
    return _words_of_class(folder, "llama", "LlamaTokenizer", add_bos_token=True)


def gpt_neox(folder: Path):
    return _words_of_class(folder, "gpt_neox", "GPTNeoXTokenizer")


def gpt2(folder: Path):
    return _words_of_class(folder, "gpt2", "GPT2Tokenizer")


def qwen2_words(folder: Path):
    return _words_of_class(folder, "qwen2", "Qwen2Tokenizer")


def gemma(folder: Path):
    return _words_of_class(folder, "gemma", "GemmaTokenizer")


def _words_of_class(folder: Path, model_type: str, name: str, **more):
    """A tokenizer of one's own letters, as a base of this network brings it along."""
    import transformers

    letters = ["<pad>", "<s>", "</s>", "<unk>", "▁", "Ġ", *map(chr, range(33, 127))]
    signs = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    vocabulary = {letter: place for place, letter in enumerate(letters)}
    made = getattr(transformers, name)(vocab=vocabulary, merges=[], **signs, **more)
    made.save_pretrained(folder)
    written(folder, config__json={"model_type": model_type})
    return transformers.AutoTokenizer.from_pretrained(folder)


WRITERS = {one.__name__: one for one in (llama, gpt_neox, gpt2, qwen2_words, gemma)}


# -- as GGUF files ---------------------------------------------------------------------------------------
WIDTHS = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def qwen2(_folder: Path):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**WIDTHS, num_key_value_heads=2, vocab_size=300, tie_word_embeddings=True))


def gemma3(_folder: Path):
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    more = {"num_key_value_heads": 1, "head_dim": 16, "vocab_size": 300, "sliding_window": 8}
    return Gemma3ForCausalLM(Gemma3TextConfig(**WIDTHS, **more))


def flan_t5(_folder: Path):
    from transformers import T5Config, T5ForConditionalGeneration

    return T5ForConditionalGeneration(_t5(T5Config, 300, feed_forward_proj="gated-gelu"))


def as_gguf(model, file: Path, lacking: str = "") -> None:
    """The file as llama.cpp's own converter writes it, without the tensors whose names have `lacking` in them."""
    import gguf
    import numpy as np

    config, kind = model.config, model.config.model_type.removesuffix("_text")
    layers = getattr(config, "num_hidden_layers", 0) or config.num_layers
    writer = gguf.GGUFWriter(file, kind)
    writer.add_block_count(layers)
    writer.add_context_length(64)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", 0) or config.d_ff)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    if kind == "t5":
        writer.add_key_length(config.d_kv)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        writer.add_relative_attn_buckets_count(config.relative_attention_num_buckets)
        writer.add_decoder_start_token_id(config.decoder_start_token_id)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if kind == "gemma3":
        writer.add_key_length(config.head_dim)
        writer.add_sliding_window(config.sliding_window)
    _words_of(writer, kind, config.vocab_size)
    names = gguf.get_tensor_name_map(next(one for one, name in gguf.MODEL_ARCH_NAMES.items() if name == kind), layers)
    for name, weight in model.state_dict().items():
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None or "lm_head" in name or (lacking and lacking in found):
            continue
        norm = kind == "gemma3" and "norm.weight" in name
        writer.add_tensor(found, weight.numpy().astype(np.float32) + (1 if norm else 0))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _words_of(writer, kind: str, count: int) -> None:
    signs = ["<pad>", "</s>", "<unk>", "ab", *map(chr, range(33, 127)), *(f"<{n}>" for n in range(count))][:count]
    writer.add_tokenizer_model({"t5": "t5", "gemma3": "llama"}.get(kind, "gpt2"))
    writer.add_token_list(signs)
    writer.add_token_scores([-float(n) for n in range(count)])
    writer.add_token_types([3, 3, 2, *[1] * (count - 3)])
    if kind == "qwen2":
        writer.add_token_merges(["a b"])
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(2)
    writer.add_pad_token_id(0)


GGUF = {one.__name__: one for one in (qwen2, gemma3, flan_t5)}


# -- pictures --------------------------------------------------------------------------------------------
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
OTHER = {"image_mean": [0.2, 0.3, 0.4], "image_std": [0.1, 0.2, 0.3]}
BLOCKS = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def _seen(folder: Path, processor: str, **settings) -> None:
    import transformers

    getattr(transformers, f"{processor}Pil")(**settings).save_pretrained(folder)


def vit(folder: Path):
    from transformers import ViTConfig, ViTForImageClassification

    _seen(folder, "ViTImageProcessor", size={"height": 32, "width": 32}, **OTHER)
    return ViTForImageClassification(ViTConfig(**BLOCKS, image_size=32, patch_size=8))


def deit(folder: Path):
    """Cut out of the middle of a larger picture."""
    from transformers import DeiTConfig, DeiTForImageClassification

    sizes = {"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}}
    _seen(folder, "DeiTImageProcessor", **sizes, **IMAGENET)
    return DeiTForImageClassification(DeiTConfig(**BLOCKS, image_size=32, patch_size=8))


def swin(folder: Path):
    from transformers import SwinConfig, SwinForImageClassification

    _seen(folder, "ViTImageProcessor", size={"height": 32, "width": 32}, resample=3, **IMAGENET)
    return SwinForImageClassification(
        SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    )


def dinov2(folder: Path):
    from transformers import Dinov2Config, Dinov2ForImageClassification

    sizes = {"size": {"shortest_edge": 36}, "crop_size": {"height": 28, "width": 28}}
    _seen(folder, "BitImageProcessor", **sizes, **IMAGENET)
    return Dinov2ForImageClassification(Dinov2Config(**BLOCKS, image_size=42, patch_size=7, mlp_ratio=2))


def resnet(folder: Path):
    from transformers import ResNetConfig, ResNetForImageClassification

    _seen(folder, "ConvNextImageProcessor", size={"shortest_edge": 32}, crop_pct=0.8, **OTHER)
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    )


def convnext(folder: Path):
    from transformers import ConvNextConfig, ConvNextForImageClassification

    _seen(folder, "ConvNextImageProcessor", size={"shortest_edge": 32}, **IMAGENET)
    return ConvNextForImageClassification(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2))


def efficientnet(folder: Path):
    """Scaled twice, and from -1 on."""
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    more = {"rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": True}
    _seen(folder, "EfficientNetImageProcessor", size={"height": 32, "width": 32}, **more, **IMAGENET)
    return EfficientNetForImageClassification(
        EfficientNetConfig(
            image_size=32, width_coefficient=0.25, depth_coefficient=0.1, hidden_dim=320, in_channels=[8, 8],
            out_channels=[8, 16], kernel_sizes=[3, 3], strides=[1, 2], num_block_repeats=[1, 1], expand_ratios=[1, 4],
            depthwise_padding=[],
        )
    )  # fmt: skip


PICTURES = {one.__name__: one for one in (vit, deit, swin, dinov2, resnet, convnext, efficientnet)}


# -- data ------------------------------------------------------------------------------------------------
class Few(Dataset):
    """Two dozen rows that fine-tuning takes a moment with."""

    about = _("A few rows.")
    facts = DatasetInfo(licence="CC0", source="made here")

    def __init__(self, place: Path, rows: list[dict]):
        import pyarrow
        import pyarrow.parquet as parquet

        self.place = place / f"{self.name}.parquet"
        splits = ["train"] * (len(rows) - 8) + ["validation"] * 4 + ["test"] * 4
        given = [row | {"split": split} for row, split in zip(rows, splits, strict=True)]
        parquet.write_table(pyarrow.Table.from_pylist(given), self.place)

    def path(self) -> Path:
        return self.place


class FewPairs(Few):
    name, title = "few-pairs", _("Few pairs")
    columns = {"source": Column("text", _("English")), "target": Column("text", _("German"))}

    def __init__(self, place: Path):
        english, german = texts(24)
        super().__init__(
            place, [{"source": one[:60], "target": other[:60]} for one, other in zip(english, german, strict=True)]
        )


class FewPictures(Few):
    """Coloured ones of a form that is no square."""

    name, title = "few-pictures", _("Few pictures")
    columns = {"image": Column("image", _("Picture")), "label": Column("class", _("Class"), names=("dark", "bright"))}

    def __init__(self, place: Path):
        import numpy as np
        from PIL import Image

        random, rows = np.random.default_rng(0), []
        for label in [0, 1] * 12:
            file = io.BytesIO()
            pixels = random.integers(0, 128, (48, 64, 3)) + 127 * label
            Image.fromarray(pixels.astype(np.uint8)).resize((90, 60), Image.Resampling.BICUBIC).save(file, "PNG")
            rows.append({"image": {"bytes": file.getvalue(), "path": None}, "label": label})
        super().__init__(place, rows)
