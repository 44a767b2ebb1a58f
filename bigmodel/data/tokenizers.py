"""Tokenizers trained on the data itself: characters for Chinese, byte-level BPE for everything else."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from bigmodel.core import limits

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SOURCE_KWARGS = (
    "decoder_start_token_id",
    "source_prefix",
)  # that the tokenizer of a pretrained translator brings along
PAD, UNKNOWN, EOS = "<pad>", "<unk>", "<eos>"
CLS, SEP, MASK = "<cls>", "<sep>", "<mask>"  # around a text that is read as a whole; in the place of a hidden token
CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
CJK = "[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]"  # signs that are written without spaces


def is_chinese(texts: Iterable[str]) -> bool:
    """Whether Chinese characters make up more than a third of the first 200 texts."""
    sample = "".join(islice(texts, 200))
    return len(CHINESE.findall(sample)) > len(sample) / 3


def train_tokenizer(
    texts: Sequence[str], kind: str, vocabulary: int, marked: bool = False, signs: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A fast tokenizer of at most `vocabulary` entries. kind: 'auto', 'characters' or 'bpe'.

    signs: further tokens that stand for no text, such as the marks of those who speak.
    marked: for networks that read a text as a whole and write none. Each text stands between two marks, there is a mask,
    and capitals, widths of letters and where lines end do not count.
    """
    if kind == "auto":
        kind = "characters" if is_chinese(texts) else "bpe"
    from transformers import PreTrainedTokenizerFast

    train = _characters if kind == "characters" else _byte_pairs
    if marked:
        return PreTrainedTokenizerFast(
            tokenizer_object=_train_encoder_tokenizer(train, texts, vocabulary),
            pad_token=PAD,
            unk_token=UNKNOWN,
            cls_token=CLS,
            sep_token=SEP,
            mask_token=MASK,
            clean_up_tokenization_spaces=False,
        )
    tokenizer = train(texts, vocabulary, [PAD, UNKNOWN, EOS, *signs])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=EOS,
        bos_token=EOS,
        clean_up_tokenization_spaces=False,
        **({"additional_special_tokens": list(signs)} if signs else {}),
    )


def _train_encoder_tokenizer(train: Callable, texts: Sequence[str], vocabulary: int):
    """A tokenizer whose texts are made alike first and then stand between marks."""
    from tokenizers import Regex, normalizers, processors

    beside = f"(?<={CJK})\\s+|\\s+(?={CJK})"  # Chinese has no spaces, and what breaks its lines says nothing
    spaces = [normalizers.Replace(Regex(beside), ""), normalizers.Replace(Regex("\\s+"), " ")]
    alike = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), *spaces])
    special = [PAD, UNKNOWN, CLS, SEP, MASK]
    tokenizer = train([alike.normalize_str(text) for text in texts], vocabulary, special)
    tokenizer.normalizer = alike
    marks = [(mark, special.index(mark)) for mark in (CLS, SEP)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}", pair=f"{CLS} $A {SEP} $B {SEP}", special_tokens=marks
    )
    return tokenizer


def _characters(texts: Sequence[str], vocabulary: int, special: Sequence[str]):
    """Every character is a token; those that are too rare for the vocabulary are unknown."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    counts = Counter(character for text in texts for character in text)
    common = sorted(counts, key=lambda character: (-counts[character], character))
    entries = [*special, *common[: vocabulary - len(special)]]
    tokenizer = Tokenizer(models.WordLevel({entry: index for index, entry in enumerate(entries)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _byte_pairs(texts: Sequence[str], vocabulary: int, special: Sequence[str]):
    """Byte-level BPE (Radford et al. 2019): nothing is unknown, and decoding gives back the very text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def max_input_tokens(tokenizer: Any, config: Any) -> int:
    """Tokens that a network reads of a text at most."""
    return min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", limits.PROMPT_CHARACTERS))


def with_max_length(tokenizer: Any, longest: int) -> Any:
    """A copy that names so many tokens as the most that are read, in place of what a base could read, and has forgotten
    how texts were last cut."""
    found = copy.deepcopy(tokenizer)
    found.model_max_length = longest
    if found.is_fast:
        found.backend_tokenizer.no_truncation()
        for name in ("max_length", "stride", "truncation_strategy"):
            found.init_kwargs.pop(name, None)
    return found


def for_writing(tokenizer: Any, context: int) -> Any:
    """A copy for a network that reads on from the end of a text: several at a time are padded before it."""
    found = with_max_length(tokenizer, min(tokenizer.model_max_length, context))
    found.padding_side = found.init_kwargs["padding_side"] = "left"
    return found


def suppressed_ids(tokenizer: Any, outputs: int) -> list[int]:
    """Tokens that a network with so many outputs never writes: padding, unknown, and those without a token. A pretrained
    one may pad with its end."""
    never = {tokenizer.pad_token_id, tokenizer.unk_token_id} - {None, tokenizer.eos_token_id}
    return [*sorted(never), *range(len(tokenizer), outputs)]


def with_special_tokens(tokenizer: Any, before: Sequence[int], after: Sequence[int] = ()) -> Any:
    """A copy that puts these tokens around every text by itself and is saved so: plain transformers then reads what we
    read. One that is written in Python keeps its own."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    if not tokenizer.is_fast or tokenizer("a")["input_ids"] == [*before, *bare, *after]:
        return copy.deepcopy(tokenizer)
    from tokenizers import processors

    first, last = (tokenizer.convert_ids_to_tokens(list(ids)) for ids in (before, after))
    found = _generic(tokenizer)
    found.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *first, "$B", *last],
        special_tokens=list(dict(zip([*first, *last], [*before, *after], strict=True)).items()),
    )
    return found


def _generic(tokenizer: Any) -> Any:
    """A copy of the class that takes tokenizer.json as it is; those of some networks put marks of their own in again."""
    from transformers import PreTrainedTokenizerFast

    names = ("model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces", "chat_template")
    given = {name: value for name in names if (value := getattr(tokenizer, name)) is not None}
    given |= {name: tokenizer.init_kwargs[name] for name in SOURCE_KWARGS if name in tokenizer.init_kwargs}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, **given, **tokenizer.special_tokens_map
    )


@dataclass(frozen=True)
class SentenceTokens:
    """The tokens that stand before and after the text of a sentence: its end, for some its language too."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]

    def wrap(self, ids: Sequence[int], longest: int) -> list[int]:
        """A sentence of at most so many tokens, with its marks."""
        return [*self.prefix, *ids[: max(longest - len(self.prefix) - len(self.suffix), 0)], *self.suffix]

    def strip(self, ids: Iterable[int]) -> list[int]:
        marks = {*self.prefix, *self.suffix}
        return [token for token in ids if token not in marks]


def sentence_tokens(tokenizer: Any, written: bool = False) -> SentenceTokens:
    """Those of sentences that an encoder-decoder reads, or writes. A tokenizer of our own has none by itself; the end of
    a sentence is marked always."""
    side = "text_target" if written else "text"
    bare = tokenizer(**{side: "a"}, add_special_tokens=False)["input_ids"]
    full = tokenizer(**{side: "a"})["input_ids"]
    places = [place for place in range(len(full)) if full[place : place + len(bare)] == bare]
    before, after = (full[: places[0]], full[places[0] + len(bare) :]) if places else ([], [])
    if tokenizer.eos_token_id not in after:
        after = [*after, tokenizer.eos_token_id]
    return SentenceTokens(tuple(before), tuple(after))
