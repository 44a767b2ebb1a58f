"""Answers by CTranslate2: texts written and sentences translated several times as fast as in transformers."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import pairwise
from math import exp
from pathlib import Path
from typing import Any

from bigmodel.core.words import Words, _
from bigmodel.data.tokenizers import suppressed_ids
from bigmodel.inference.background import cancel_checker, check_cancelled, run_in_thread
from bigmodel.inference.kv_cache import context_length

POLL_SECONDS = 0.05  # seconds between two looks at what a writing thread has written
SMALL_MODEL_BYTES = 16 * 2**20  # bytes of weights up to which a call for each token costs as much as the token
CHUNK_SIZES = (8, 64, 128)  # tokens that a small model writes in a call, the first and then: at most some 40 ms
LARGE_MODEL_BYTES = 200 * 2**20  # bytes of weights from which on a second thread pays
MAX_LOG_PROBS = 2**25  # probabilities computed at one time: 128 MB of them
MAX_POOL_BYTES = 512 * 2**20  # bytes of weights of one model in memory for texts written at the same time
BATCH_SIZE = 16  # sentences translated as one batch
LARGE_MODEL_BATCH_SIZE = 4  # the same of a large model, so that one that is not waited for any more is soon through
PATIENCE = 2  # beams are followed twice as far as CTranslate2 does by itself: as far as transformers does, in 31 of 32 sentences
SEED_LOCK = threading.Lock()  # CTranslate2's seed is one for the process, read when a thread first draws


def _threads(weights: int) -> int:
    """One, so that training and the screen keep theirs, but for large models."""
    return 1 if weights < LARGE_MODEL_BYTES else max(1, min(4, (os.cpu_count() or 1) // 2))


NEUTRAL_GENERATION_CONFIG = {  # of settings that change what `generate` writes: values that leave it as it is
    "no_repeat_ngram_size": (None, 0), "encoder_no_repeat_ngram_size": (None, 0), "repetition_penalty": (None, 1.0),
    "length_penalty": (None, 1.0), "min_length": (None, 0), "min_new_tokens": (None, 0), "suppress_tokens": (None,),
    "begin_suppress_tokens": (None,), "early_stopping": (None, False),
}  # fmt: skip
DEFAULT_MAX_LENGTH = 512  # tokens, of an encoder-decoder that has no bound of its own


class Runner:
    """What answers a head's tasks by CTranslate2: the contract that `conversion` checks and measures it by.

    model_types: transformers' networks that it answers for.  decoder_only: whether new tokens stand behind the prompt,
    else a decoder writes them apart.  max_length: tokens that the network reads at most.  suppressed_ids: tokens that
    are never written.  forced_bos_id: the token that every answer begins with, None where there is none.
    """

    model_types: frozenset[str]
    decoder_only: bool
    max_length: int
    suppressed_ids: Sequence[int]
    forced_bos_id: int | None = None

    def __init__(self, folder: Path, facts: Mapping):
        """folder: a conversion, called by its precision.  facts: those of `config_of`, with 'bytes' of weights in fp32
        and 'end', the end token."""
        raise NotImplementedError

    @staticmethod
    def config_of(model: Any, processor: Any) -> dict:
        """What it must know of the network in transformers; ValueError where it could not answer as that does."""
        raise NotImplementedError

    def greedy(self, prompt: Sequence[int], count: int, stop_ids: Set[int]) -> list[int]:
        """The most likely token ids of an answer, at most `count`, without the end."""
        raise NotImplementedError

    def log_probs(self, prompt: Sequence[int], new: Sequence[int]) -> list[float]:
        """The log-probability, in nats, of each new token."""
        raise NotImplementedError

    def quality(self, arrays: Mapping, processor: Any, most: int) -> tuple[float, int]:
        """(a metric over encoded rows, how many of its units it was measured on; `most` tokens at most)."""
        raise NotImplementedError

    @staticmethod
    def quantization_note(before: float, after: float, count: int) -> Words:
        """What 8-bit weights cost: the metric of `quality` before and after."""
        raise NotImplementedError


class TextGenerator(Runner):
    """A causal language model. Each text is written by a thread of CTranslate2's and can be left at any token; a small
    model writes some tokens at a time.

    The seed of a thread is set when it draws for the first time and never again. So that the same seed gives the same
    text, a text that is drawn gets a generator of its own that has not drawn yet; the next one is made ready while
    nobody waits. Greedy texts draw nothing and leave it as it was.
    """

    model_types = frozenset({"gpt2", "llama", "mistral", "qwen2", "qwen3"})
    decoder_only = True

    def __init__(self, folder: Path, facts: Mapping):
        self.folder, self.max_length = folder, facts["context"]
        self.eos_id, self.suppressed_ids = facts["end"], facts["never"]
        self.threads, self.small = _threads(facts["bytes"]), facts["bytes"] <= SMALL_MODEL_BYTES
        self.max_generators = max(2, MAX_POOL_BYTES // max(facts["bytes"], 1))  # generators at one time
        self.vocabulary = json.loads((folder / "vocabulary.json").read_text("utf-8"))
        self.lock = threading.Condition()
        self.ready_generators: list[Any] = []
        self.in_use = 0  # generators that somebody writes with
        self.ready_generators.append(self._generator())

    @staticmethod
    def config_of(model: Any, processor: Any) -> dict:
        never = suppressed_ids(processor, model.get_output_embeddings().weight.shape[0])
        return {"context": context_length(model.config), "never": never}

    @staticmethod
    def quantization_note(before: float, after: float, count: int) -> Words:
        return _("Answered with 8-bit numbers: perplexity {after}, as trained {before}, on {count} tokens of the test split.", before=before, after=after, count=count)  # fmt: skip

    def _generator(self) -> Any:
        import ctranslate2

        return ctranslate2.Generator(
            str(self.folder), device="cpu", compute_type=self.folder.name, intra_threads=self.threads
        )

    # -- generators, lent and returned ----------------------------------------------------------------------
    def _reserve_slot(self) -> bool:
        """Whether there may be one more; not where there are as many as memory allows."""
        with self.lock:
            entered = self.in_use < self.max_generators
            self.in_use += entered
        return entered

    def _take_ready(self) -> Any:
        """A generator that has not drawn yet, None where one has to be made first."""
        with self.lock:
            return self.ready_generators.pop() if self.ready_generators else None

    def _release(self, generator: Any) -> None:
        """None: the generator has drawn, and is gone before the next is made, so that memory holds one of the two."""
        with self.lock:
            self.in_use -= 1
            if generator is not None and not self.ready_generators:
                self.ready_generators.append(generator)
            if self.ready_generators:
                return
        threading.Thread(target=self._refill, name="next generator").start()

    def _refill(self) -> None:
        generator = self._generator()
        with self.lock:
            if not self.ready_generators:
                self.ready_generators.append(generator)

    # -- texts ----------------------------------------------------------------------------------------------
    def generate_tokens(self, ids: Sequence[int], inputs: Mapping, ends: Set[int] = frozenset()) -> Iterator[list[int]]:
        """New tokens, some at a time, until the end token, or another of `ends`, or the asked length; [] while there is
        nothing new. Where the model's context is full, goes on from its second half. Closing the iterator ends the
        writing at once."""
        while not self._reserve_slot():
            time.sleep(POLL_SECONDS)
            yield []
        generator, ends = None, ends | {self.eos_id}
        tokens, remaining, start = list(ids), inputs["max_new_tokens"], 0
        generate, chunk_sizes = self._generate_in_thread, iter(())
        if self.small:
            generate, chunk_sizes = self._generate_chunk, iter(CHUNK_SIZES)
        try:
            generator = self._take_ready() or (yield from run_in_thread(self._generator, nothing=[]))
            while remaining > 0:
                if len(tokens) - start > self.max_length:
                    start = len(tokens) - max(self.max_length // 2, 1)
                chunk = next(chunk_sizes, CHUNK_SIZES[-1] if self.small else remaining)
                count = min(remaining, self.max_length - (len(tokens) - start) + 1, chunk)
                before = len(tokens)
                for new in generate(generator, tokens[start:], count, inputs, ends):
                    tokens += new
                    yield new
                remaining -= len(tokens) - before
                if len(tokens) - before < count:  # the end token came
                    return
        finally:
            if inputs["temperature"] > 0:
                generator = None  # its random state has moved
            self._release(generator)

    def _generate_chunk(
        self, generator: Any, unread: Sequence[int], count: int, inputs: Mapping, ends: Set[int]
    ) -> Iterator[list[int]]:
        """At most `count` tokens of a small model in one go; fewer where the end token came."""
        import ctranslate2

        with SEED_LOCK:
            ctranslate2.set_random_seed(inputs["seed"] + 1)
            prompt = [[self.vocabulary[one] for one in unread]]
            (answer,) = generator.generate_batch(prompt, **self._options(count, inputs, ends))
        yield answer.sequences_ids[0]

    def _generate_in_thread(
        self, generator: Any, unread: Sequence[int], count: int, inputs: Mapping, ends: Set[int]
    ) -> Iterator[list[int]]:
        """The same of a larger model, written by a thread that can be left at any token."""
        import ctranslate2

        new: list[int] = []
        failed: list[Exception] = []
        begun, over, left = threading.Event(), threading.Event(), threading.Event()

        def step(result: Any) -> bool:
            """Must not know this object: the generator's own thread drops `step` last, and whatever goes with it. A
            generator among that would wait for the end of the thread that ends it, which ends the process."""
            if result.token_id not in ends:
                new.append(result.token_id)
            begun.set()
            return left.is_set()

        def work() -> None:
            try:
                prompt = [[self.vocabulary[one] for one in unread]]
                generator.generate_batch(prompt, callback=step, **self._options(count, inputs, ends))
            except Exception as error:  # raised below, where somebody waits for it
                failed.append(error)
            over.set()
            begun.set()

        thread = threading.Thread(target=work, name="writing")
        with SEED_LOCK:
            ctranslate2.set_random_seed(inputs["seed"] + 1)
            thread.start()
            begun.wait()
        given = 0
        try:
            while True:
                ended = over.is_set()
                if failed:
                    raise failed[0]
                some = new[given:]
                given += len(some)
                yield some
                if ended:
                    return
                over.wait(POLL_SECONDS)
        finally:
            left.set()
            thread.join()

    def _options(self, count: int, inputs: Mapping, ends: Set[int]) -> dict:
        options = {
            "end_token": sorted(ends),
            "max_length": count,
            "min_length": 0,
            "include_prompt_in_result": False,  # reads the prompt in one piece
            "suppress_sequences": [[self.vocabulary[id_]] for id_ in self.suppressed_ids],
        }
        if inputs["temperature"] == 0:
            return options
        return options | {
            "sampling_topk": min(inputs["top_k"], len(self.vocabulary)),
            "sampling_topp": inputs["top_p"],
            "sampling_temperature": max(inputs["temperature"], 1e-3),
        }

    # -- compared and measured --------------------------------------------------------------------------------
    def greedy(self, given: Sequence[int], count: int, ends: Set[int]) -> list[int]:
        asked = {"max_new_tokens": count, "temperature": 0, "seed": 0}
        return [token for some in self.generate_tokens(given, asked, ends) for token in some]

    def log_probs(self, given: Sequence[int], new: Sequence[int]) -> list[float]:
        import numpy as np

        if not new:
            return []
        read = [*given, *new[:-1]]
        chances = np.array(self.ready_generators[0].forward_batch([read], return_log_probs=True))[0, -len(new) :]
        return chances[np.arange(len(new)), new].tolist()

    def quality(self, arrays: Mapping, processor: Any, most: int) -> tuple[float, int]:
        """(perplexity, tokens it was measured on), a context at a time, or less of it with many entries."""
        import numpy as np

        length = min(self.max_length, max(MAX_LOG_PROBS // len(self.vocabulary), 1))
        stream = arrays["tokens"][: most + 1].astype(np.int32)
        nats, count = 0.0, 0
        for start in range(0, len(stream) - 1, length):
            check_cancelled()
            part = stream[start : start + length + 1]
            chances = np.array(self.ready_generators[0].forward_batch([part[:-1].tolist()], return_log_probs=True))[0]
            nats -= float(chances[np.arange(len(part) - 1), part[1:]].sum())
            count += len(part) - 1
        return exp(min(nats / count, 700)), count


class Translator(Runner):
    """An encoder-decoder. Sentences that come together are translated as one batch."""

    model_types = frozenset({"marian", "t5", "mt5", "m2m_100"})
    decoder_only = False

    def __init__(self, folder: Path, facts: Mapping):
        import ctranslate2

        self.batch_size = BATCH_SIZE if facts["bytes"] < LARGE_MODEL_BYTES else LARGE_MODEL_BATCH_SIZE
        self.small = facts["bytes"] <= SMALL_MODEL_BYTES  # over before it could be cancelled, and asking costs a tenth
        self.max_length, self.eos_id, self.suppressed_ids = facts["context"], facts["end"], facts["never"]
        self.forced_bos_id, self.forced_eos = facts["first"], facts["closed"]
        self.vocabulary = json.loads((folder / "shared_vocabulary.json").read_text("utf-8"))
        self.token_to_id = {name: index for index, name in enumerate(self.vocabulary)}
        self.translator = ctranslate2.Translator(
            str(folder), device="cpu", compute_type=folder.name, intra_threads=_threads(facts["bytes"])
        )

    @staticmethod
    def config_of(model: Any, processor: Any) -> dict:
        own = model.generation_config
        unlike = [
            name for name, neutral in NEUTRAL_GENERATION_CONFIG.items() if getattr(own, name, None) not in neutral
        ]
        bad = own.bad_words_ids or []
        if unlike or any(len(words) > 1 for words in bad):
            raise ValueError(f"it is told how to write: {', '.join(unlike) or 'bad_words_ids'}")
        return {
            "context": getattr(model.config, "max_position_embeddings", None) or DEFAULT_MAX_LENGTH,
            "never": [one for (one,) in bad],
            "first": own.forced_bos_token_id,
            "closed": int(
                own.forced_eos_token_id is not None
            ),  # where a translation is cut off, its last token is the end
        }

    @staticmethod
    def quantization_note(before: float, after: float, count: int) -> Words:
        return _("Answered with 8-bit numbers: chrF {after}, as trained {before}, on {count} sentences of the test split.", before=before, after=after, count=count)  # fmt: skip

    def translate(self, sentences: Sequence[Sequence[int]], beams: int, most: int) -> list[list[int]]:
        """Token ids, each sentence closed by the end token -> those of the translations, without it."""
        is_cancelled = cancel_checker()  # asked for this thread's work, by CTranslate2 after each token
        answers = self.translator.translate_batch(
            [[self.vocabulary[one] for one in sentence[: self.max_length]] for sentence in sentences],
            None if self.forced_bos_id is None else [[self.vocabulary[self.forced_bos_id]]] * len(sentences),
            beam_size=beams,
            patience=1 if beams == 1 else PATIENCE,
            max_decoding_length=max(min(most, self.max_length - 1) - self.forced_eos, 1),
            min_decoding_length=0,
            max_batch_size=self.batch_size,
            callback=(lambda _result: is_cancelled()) if beams == 1 and not self.small else None,
            suppress_sequences=[[self.vocabulary[id_]] for id_ in self.suppressed_ids],
        )
        return [[self.token_to_id[name] for name in answer.hypotheses[0]] for answer in answers]

    # -- compared and measured --------------------------------------------------------------------------------
    def greedy(self, given: Sequence[int], count: int, ends: Set[int]) -> list[int]:
        return self.translate([given], 1, count + self.forced_eos)[0]

    def log_probs(self, given: Sequence[int], new: Sequence[int]) -> list[float]:
        source, target = ([self.vocabulary[id_] for id_ in ids if id_ != self.eos_id] for ids in (given, new))
        (scored,) = self.translator.score_batch([[*source, self.vocabulary[self.eos_id]]], [target])
        return scored.log_probs[: len(new)]

    def quality(self, arrays: Mapping, processor: Any, most: int) -> tuple[float, int]:
        """(chrF, sentences it was measured on)."""
        from sacrebleu import corpus_chrf

        source, target = (_sequences(arrays, side) for side in ("source", "target"))
        answers = []
        for start in range(0, len(source), self.batch_size):
            check_cancelled()
            some = self.translate(source[start : start + self.batch_size], 1, self.max_length)
            answers += processor.batch_decode(some, skip_special_tokens=True)
        references = processor.batch_decode(target, skip_special_tokens=True)
        return corpus_chrf(answers, [references]).score, len(source)


def _sequences(arrays: Mapping, side: str) -> list[list[int]]:
    offsets = arrays[f"{side}_offsets"]
    return [arrays[side][start:end].tolist() for start, end in pairwise(offsets)]
