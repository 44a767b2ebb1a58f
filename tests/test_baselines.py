"""The baselines count right, so that what is better than they are is better."""

import math
import random
from collections import Counter

import pytest

from benchmarks.quality import nearest, ngram

TINY = ["ab", "ac"]
POEMS = [
    "白日依山尽，黄河入海流。",
    "欲穷千里目，更上一层楼。",
    "床前明月光，疑是地上霜。",
    "举头望明月，低头思故乡。",
] * 3


def test_the_probabilities_of_a_tiny_model_are_those_of_a_hand_computation():
    model = ngram.fit(TINY, 2)
    after_a = model.probabilities("a")
    # Bigrams by count: Sa 2; ab ac bE cE 1. D1 = 1 - 2 (4/6) (1/4) = 2/3, no n3: D2 = 4/6.
    # Unigrams by what stands before: E 2; a b c 1. D1 = 1 - 2 (3/5) (1/3) = 3/5 = D2; p(b) = 0.4/5 + 2.4/5 * 1/5.
    assert after_a["b"] == pytest.approx((1 - 2 / 3) / 2 + (2 / 3) * 0.176)
    assert after_a["<end>"] == pytest.approx((2 / 3) * (1.4 / 5 + 0.48 / 5))
    assert after_a["<unknown>"] == pytest.approx((2 / 3) * (0.48 / 5))


def by_definition(documents, order, history, symbol):
    """p(symbol | history) straight from the equations, a document as '<' + text + '>'."""
    texts = [f"<{text}>" for text in documents]
    alphabet = {character for text in texts for character in text} - {"<"} | {"?"}

    def grams(size):
        return Counter(text[i : i + size] for text in texts for i in range(len(text) - size + 1))

    def counts(size):
        plain = grams(size)
        if size < order:
            before = Counter(gram[1:] for gram in grams(size + 1))
            plain = {gram: count if gram[0] == "<" else before[gram] for gram, count in plain.items()}
        return {gram: count for gram, count in plain.items() if gram != "<"}

    def probability(history, symbol):
        found = counts(len(history) + 1)
        number = [sum(count == size for count in found.values()) for size in range(5)]
        ratio = number[1] / max(number[1] + 2 * number[2], 1)
        discounts = [0.0]
        for size in (1, 2, 3):
            modified = size - (size + 1) * ratio * number[size + 1] / max(number[size], 1)
            known = number[size] and number[size + 1] and 0 < modified < size
            discounts.append(modified if known else ratio or 0.5)
        after = {gram: count for gram, count in found.items() if gram[:-1] == history}
        shorter = probability(history[1:], symbol) if history else 1 / len(alphabet)
        if not after:
            return shorter
        taken = {gram: discounts[min(count, 3)] for gram, count in after.items()}
        own = after.get(history + symbol, 0) - taken.get(history + symbol, 0)
        return (own + sum(taken.values()) * shorter) / sum(after.values())

    return probability(history[-(order - 1) :], symbol)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_fast_model_is_the_one_of_the_equations(order):
    dice = random.Random(order)
    words = ["".join(dice.choices("aaaaaaaabbbbccd", k=dice.randrange(1, 5))) for _ in range(40)]
    documents = ["".join(dice.choices(words, weights=range(40), k=4)) for _ in range(40)]
    model = ngram.fit(documents, order)
    for text in ["", "a", "ab", "bba", documents[0], documents[1]]:
        found = model.probabilities(text)
        for symbol, name in [("a", "a"), ("b", "b"), (">", "<end>"), ("?", "<unknown>")]:
            assert found[name] == pytest.approx(by_definition(documents, order, "<" + text, symbol))


def test_bits_are_those_of_every_character_and_the_end():
    by_hand = ((2 - 2 / 3) / 2 + (1 / 3) * 0.176) * 0.284 * ((1 - 2 / 3) + (2 / 3) * 0.376)  # a|S, b|a, E|b
    assert ngram.fit(TINY, 2).bits(["ab"]) == pytest.approx(-math.log2(by_hand) / 3)
    assert ngram.fit(TINY, 2).bits(["ab", "ab"]) == pytest.approx(-math.log2(by_hand) / 3)


@pytest.mark.parametrize("order", [1, 2, *ngram.ORDERS])
def test_what_may_follow_sums_to_one(order):
    model, dice = ngram.fit(POEMS, order), random.Random(order)
    for _ in range(30):
        context = "".join(dice.choices([*model.characters, "未"], k=dice.randrange(9)))
        known = dice.choice(POEMS)[: dice.randrange(9)]
        for text in (context, known):
            assert sum(model.probabilities(text, begins=dice.random() < 0.5).values()) == pytest.approx(1)


def test_an_unseen_character_costs_the_unknown_symbol_and_a_code_point():
    model = ngram.fit(TINY, 2)
    bits = 3 * model.bits(["aZ"])
    first, second = model.probabilities("")["a"], model.probabilities("a")["<unknown>"]
    end = model.probabilities("aZ")["<end>"]
    assert bits == pytest.approx(-math.log2(first * second * end) + math.log2(0x110000))
    assert model.unseen(["aZ"]) == pytest.approx(1 / 3)


def test_a_text_known_by_heart_takes_far_fewer_bits_than_a_new_one():
    train, test = POEMS[:3], POEMS[3:4]
    for order, bits in ngram.bits_by_order(train, test).items():
        assert ngram.fit(train, order).bits(train) < bits / 3


def test_longer_contexts_help_where_the_text_repeats_them():
    bits = ngram.bits_by_order(["abcabd" * 50], ["abcabd" * 5])
    assert bits[4] < 0.6 * bits[3]


def test_the_context_of_a_document_does_not_reach_into_the_one_before():
    model = ngram.fit(POEMS, 5)
    assert model.bits(POEMS[:2]) == pytest.approx(
        sum(model.bits([one]) * (len(one) + 1) for one in POEMS[:2]) / sum(len(one) + 1 for one in POEMS[:2])
    )


@pytest.mark.timeout(120)
def test_three_megabytes_are_fitted_in_two_minutes():
    dice = random.Random(0)
    words = ["".join(dice.choices("etaoinshrdlu", k=dice.randrange(2, 9))) for _ in range(5000)]
    documents = [" ".join(dice.choices(words, k=200)) for _ in range(2600)]
    assert sum(map(len, documents)) > 2.5e6
    assert ngram.fit(documents, 7).bits(documents[:10]) < 3


def test_the_nearest_pair_answers_with_its_target():
    sources, targets = (
        ["Open the file", "Close the window", "Save all changes"],
        ["打开文件", "关闭窗口", "保存所有更改"],
    )
    assert nearest.nearest(sources, targets, ["Close this window", "Save changes"]) == ["关闭窗口", "保存所有更改"]
    assert nearest.nearest(targets, sources, ["关闭窗"]) == ["Close the window"]


def test_copying_scores_little_across_scripts_and_the_nearest_pair_everything_on_itself():
    pairs = [
        ("Open the file named README", "打开名为 README 的文件"),
        ("Close the window now please", "请立即关闭窗口"),
    ]
    found = nearest.baselines(pairs, pairs)
    assert found["nearest pair"] == pytest.approx({"bleu": 100, "chrf": 100})
    assert found["copying"]["chrf"] < 30
