"""Evaluations: their figures are those of the libraries, whatever the weights, and lead back to the rows."""

import json
import math

import numpy as np
import pytest
import sacrebleu
from conftest import small
from scipy import stats
from sklearn import metrics as sklearn_metrics

from bigmodel.core import catalog
from bigmodel.core.contracts import Metric
from bigmodel.core.errors import Refusal
from bigmodel.core.model import STARTERS, read_model
from bigmodel.evaluation import evaluation as evaluations
from bigmodel.evaluation.run_evaluation import evaluate
from bigmodel.metrics.row_metric import mean, measure
from bigmodel.metrics.slices import find_slices, slice_masks
from bigmodel.studio import Studio
from bigmodel.ui.evaluate import row_filter

CLASSIFYING, TRANSLATING = catalog.task("text-classification"), catalog.task("translation")


def class_records(seed, rows=300, classes=5, levels=None):
    """Answers at random, of which many are right; of `levels` many are equally likely."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.5), rows)
    if levels:
        probabilities = np.round(probabilities * levels) + 1
        probabilities /= probabilities.sum(1, keepdims=True)
    label = np.where(random.random(rows) < 0.6, probabilities.argmax(1), random.integers(0, classes, rows))
    loss = -np.log(probabilities[np.arange(rows), label])
    return {"row": np.arange(rows), "label": label, "predicted": probabilities.argmax(1), "probabilities": probabilities, "loss": loss}  # fmt: skip


def scikit_learn(records):
    """What scikit-learn says of the same answers."""
    label, predicted, chances = records["label"], records["predicted"], records["probabilities"]
    one_hot = np.eye(chances.shape[1])[label]
    macro = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": sklearn_metrics.accuracy_score(label, predicted),
        "precision": sklearn_metrics.precision_score(label, predicted, **macro),
        "recall": sklearn_metrics.recall_score(label, predicted, **macro),
        "f1": sklearn_metrics.f1_score(label, predicted, **macro),
        "f1_weighted": sklearn_metrics.f1_score(label, predicted, average="weighted", zero_division=0),
        "roc_auc": sklearn_metrics.roc_auc_score(one_hot, chances, average="macro"),
        "average_precision": sklearn_metrics.average_precision_score(one_hot, chances, average="macro"),
        "loss": sklearn_metrics.log_loss(label, chances, labels=range(chances.shape[1])),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [None, 4])
def test_metrics_of_classes_are_those_of_scikit_learn(seed, levels):
    records = class_records(seed, levels=levels)
    found = {one.metric.name: one.value(records) for one in CLASSIFYING.row_metrics()}
    for name, value in scikit_learn(records).items():
        assert found[name] == pytest.approx(value, abs=1e-9), name


def test_a_row_that_counts_twice_is_two_rows():
    records = class_records(7)
    twice = np.random.default_rng(1).integers(0, 3, 300)
    repeated = {name: np.repeat(values, twice, axis=0) for name, values in records.items()}
    for one in CLASSIFYING.row_metrics():
        weighted = one.bind(records)(twice[None].astype(float))[0]
        assert weighted == pytest.approx(one.value(repeated), abs=1e-9), one.metric.name


def test_a_class_that_never_occurs_takes_nothing_from_the_mean():
    records = class_records(3)
    records["probabilities"] = np.concatenate([records["probabilities"], np.zeros((300, 1))], axis=1)
    label, predicted = records["label"], records["predicted"]
    recall = next(one for one in CLASSIFYING.row_metrics() if one.metric.name == "recall")
    assert recall.value(records) == pytest.approx(sklearn_metrics.recall_score(label, predicted, average="macro"))


def test_scores_of_translations_are_those_of_sacrebleu():
    random = np.random.default_rng(0)
    words = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "house", "red", "big", "small"]
    references = [" ".join(random.choice(words, random.integers(1, 12))) + "." for _ in range(80)]
    answers = [" ".join(random.permutation(text.split())) for text in references]
    rows = np.arange(80)
    records = {"row": rows, "answer": answers, "reference": references, "nats": rows, "hits": rows, "tokens": rows + 1}
    found = {one.metric.name: one.value(records) for one in TRANSLATING.row_metrics()}
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(answers, [references]).score, abs=1e-9)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(answers, [references]).score, abs=1e-9)
    assert found["chrf_pp"] == pytest.approx(sacrebleu.corpus_chrf(answers, [references], word_order=2).score, abs=1e-9)
    assert found["ter"] == pytest.approx(sacrebleu.corpus_ter(answers, [references]).score, abs=1e-9)


def test_a_score_is_quoted_with_its_signature():
    told = TRANSLATING.score_signatures({"answer": ["a b"], "reference": ["a b"]})
    assert "tok:13a" in told["bleu"] and "nw:2" in told["chrf_pp"] and "version:" in told["ter"]


# -- intervals ------------------------------------------------------------------------------------------------
def test_an_interval_is_that_of_scipy_but_for_the_draws():
    values = np.random.default_rng(0).exponential(size=150)
    found = measure(mean(Metric("m", "", ""), "value"), {"row": np.arange(150), "value": values})
    wanted = stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(1)).confidence_interval
    spread = wanted.high - wanted.low
    assert found[1] == pytest.approx(wanted.low, abs=0.1 * spread)
    assert found[2] == pytest.approx(wanted.high, abs=0.1 * spread)


@pytest.mark.parametrize(("hits", "rows", "low", "high"), [(177, 177, 0.9794, 1.0), (0, 20, 0.0, 0.1685)])
def test_all_right_is_not_certainly_perfect(hits, rows, low, high):
    """Clopper and Pearson's interval, as tables have it."""
    share = Metric("m", "", "", percent=True)
    records = {"row": np.arange(rows), "hit": np.full(rows, float(hits == rows))}
    assert measure(mean(share, "hit"), records)[1:] == pytest.approx((low, high), abs=1e-4)


def test_an_interval_holds_what_it_promises():
    """Of 200 samples of 120 rows, about 190 have the true share in their interval; 178 would be three deviations below."""
    random, share = np.random.default_rng(5), mean(Metric("m", "", "", percent=True), "hit")
    held = 0
    for _sample in range(200):
        _value, low, high = measure(share, {"row": np.arange(120), "hit": random.random(120) < 0.8})
        held += low <= 0.8 <= high
    assert held >= 178


def test_one_row_has_no_interval():
    value, low, high = measure(mean(Metric("m", "", ""), "hit"), {"row": np.arange(1), "hit": np.ones(1)})
    assert value == 1 and math.isnan(low) and math.isnan(high)


# -- slices ---------------------------------------------------------------------------------------------------
HIT = mean(Metric("m", "", "", percent=True), "hit")


def test_the_group_that_is_worse_is_found_and_no_other():
    random = np.random.default_rng(0)
    kinds = [f"kind {number % 8}" for number in range(800)]
    hit = random.random(800) < np.where([kind == "kind 3" for kind in kinds], 0.5, 0.9)
    found = find_slices(HIT, {"row": np.arange(800), "hit": hit}, slice_masks({"kind": kinds}))
    assert (found[0].column, found[0].value, found[0].rows) == ("kind", "kind 3", 100)
    assert found[0].score == hit[3::8].mean() and found[0].p < 0.001
    assert all(part.p > 0.05 for part in found[1:] if part.score < hit.mean())


def test_where_all_groups_are_alike_hardly_ever_one_is_called_worse():
    """Of 60 sets of eight groups at most 3 are expected; 9 would be more than three deviations above."""
    masks, called = slice_masks({"kind": [str(number % 8) for number in range(400)]}), 0
    for seed in range(60):
        hit = np.random.default_rng(seed).random(400) < 0.8
        called += any(part.p < 0.05 for part in find_slices(HIT, {"row": np.arange(400), "hit": hit}, masks, seed))
    assert called < 9


def test_texts_are_grouped_by_length_and_few_rows_by_nothing():
    texts = ["x" * (number % 97 + 1) + str(number) for number in range(400)]
    masks = slice_masks({"text": texts, "id": [f"{number // 10}" for number in range(400)]})
    assert {name[0] for name in masks} == {"text"} and len(masks) == 4
    assert sum(mask.sum() for mask in masks.values()) == 400


# -- the rows behind a figure -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    ["", "cell.9.9", "cell.1", "cell.1.2.3", "cell.a.b", "class.99999", "loss.-1", "slice.0", "confidence.77", "../x"],
)
def test_an_address_that_names_no_rows_shows_those_answered_wrongly(name):
    assert row_filter.valid_filter(class_records(0), name) == "wrong"


def test_a_cell_leads_to_its_rows_the_hardest_first():
    records = class_records(0)
    label, predicted = records["label"], records["predicted"]
    row = next(int(place) for place in np.flatnonzero(label != predicted))
    name = f"cell.{label[row]}.{predicted[row]}"
    found = row_filter.rows_of(records, row_filter.valid_filter(records, name))
    assert row in found and set(zip(label[found], predicted[found], strict=True)) == {(label[row], predicted[row])}
    assert list(records["loss"][found]) == sorted(records["loss"][found], reverse=True)


# -- of a model -----------------------------------------------------------------------------------------------
COMBINATIONS = [
    ("text-generation", "gpt", "poetry_zh"),
    ("dialogue", "gpt", "dialogue_zh"),
    ("translation", "transformer", "en_zh"),
    ("text-classification", "bert", "verse_zh"),
    ("image-classification", "cnn", "digits"),
]


@pytest.mark.parametrize(("task", "architecture", "dataset"), COMBINATIONS, ids=[one[0] for one in COMBINATIONS])
def test_the_records_of_every_task_give_what_the_run_has_measured(task, architecture, dataset):
    """The same network, at random, by the records of each row and by the measure of the split as a whole."""
    import torch

    session = small(task, architecture, dataset).resolve()
    rows = session.dataset.rows()
    rows = type(rows)({split: part.select(range(200 if split == "train" else 40)) for split, part in rows.items()})
    processor = session.architecture.processor(session.task, rows, session.settings)
    facts = session.task.facts(rows, processor, session.settings) | {"head": session.task.head}
    torch.manual_seed(0)
    network = session.architecture.model(facts, session.settings)
    arrays = session.task.encode(rows["test"], processor, session.settings)
    measured = session.task.measure(network, processor, arrays, session.settings, final=True)
    records = evaluations.concatenate(list(session.task.records(network, processor, arrays, session.settings)))
    values = {one.metric.name: one.value(records) for one in session.task.row_metrics()}
    assert set(measured) <= set(values)
    for name, value in measured.items():
        assert values[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert list(records["row"]) == sorted(records["row"])


def test_an_evaluation_is_repeated_to_the_digit_and_kept(tmp_path):
    model = read_model("starter:connoisseur", STARTERS / "connoisseur")
    first, records = evaluate(model, "one", "verse_zh", "test")
    again, same = evaluate(model, "one", "verse_zh", "test")
    assert first.metrics == again.metrics
    assert all(np.array_equal(records[name], same[name]) for name in records)
    assert first.metrics["accuracy"].value == pytest.approx(model.metrics["accuracy"], abs=0.005)
    assert first.metrics["accuracy"].low > first.baseline["accuracy"]
    evaluations.write(tmp_path, first, records)
    assert evaluations.read(tmp_path) == first
    worst = first.slices[0]
    assert records["slices"][:, 0].sum() == worst.rows
    assert (records["label"] == records["predicted"])[records["slices"][:, 0] == 1].mean() == pytest.approx(worst.score)
    kept = evaluations.read_records(tmp_path)
    assert all(np.array_equal(kept[name], records[name]) for name in records)


def test_a_data_set_without_the_columns_is_refused():
    model = read_model("starter:connoisseur", STARTERS / "connoisseur")
    with pytest.raises(Refusal, match="does not suit"):
        evaluate(model, "one", "digits", "test")


def test_a_class_that_the_model_has_never_seen_is_named():
    model = read_model("starter:connoisseur", STARTERS / "connoisseur")
    with pytest.raises(Refusal, match="does not know the class"):
        evaluate(model, "one", "trivia_en", "test")


def test_a_damaged_evaluation_stops_no_other(tmp_path):
    studio = Studio(tmp_path)
    model = read_model("starter:connoisseur", STARTERS / "connoisseur")
    good, records = evaluate(model, "good", "verse_zh", "validation")
    for name in ("good", "torn", "empty"):
        (tmp_path / "evaluations" / name).mkdir(parents=True)
    evaluations.write(tmp_path / "evaluations" / "good", good, records)
    (tmp_path / "evaluations" / "torn" / evaluations.ABOUT_FILE).write_text(json.dumps({"id": 3}))
    assert [one.id for one in studio.evaluations.all()] == ["good"]
    with pytest.raises(Refusal, match="cannot be read"):
        studio.evaluations.get("torn")
    (tmp_path / "evaluations" / "good" / evaluations.RECORDS_FILE).write_bytes(b"no parquet")
    with pytest.raises(Refusal, match="records of this evaluation"):
        studio.evaluations.records("good")


def test_rows_lead_back_to_what_was_asked(tmp_path):
    studio = Studio(tmp_path)
    model = read_model("starter:connoisseur", STARTERS / "connoisseur")
    evaluation, _records = evaluate(model, "one", "verse_zh", "test")
    rows = catalog.dataset("verse_zh").rows()["test"]
    found = studio.evaluations.rows(evaluation, [7, 3, 7])
    assert [row["text"] for row in found] == [rows[7]["text"], rows[3]["text"]]
