"""Comparing runs: a paired test on the same rows, seeds as groups, the command line, the page, curves of many runs."""

import itertools
import json

import numpy as np
import pytest
from conftest import digits
from test_pages import leave, said, visit

from bigmodel.cli.command import main
from bigmodel.core import catalog, events
from bigmodel.core.contracts import LOSS
from bigmodel.core.errors import Refusal
from bigmodel.core.events import Event
from bigmodel.core.model import METADATA_FILE
from bigmodel.evaluation import comparison, evaluation
from bigmodel.evaluation.evaluation import Evaluation, MetricValue
from bigmodel.metrics.paired_test import MCNEMAR, PERMUTATION, SEEDS, holm, paired_test
from bigmodel.metrics.row_metric import mean
from bigmodel.runs.curve_sample import sample_curve
from bigmodel.studio import Studio
from bigmodel.ui.compare.selection import groups_of

CLASSES = [str(digit) for digit in range(10)]
METRICS = {one.metric.name: one for one in catalog.task("image-classification").row_metrics()}


def answers(right, seed=0, label=None):
    """Records of a classifier that is right in a share of the rows, or where `right` says so."""
    random = np.random.default_rng(seed)
    label = np.arange(200) % 10 if label is None else label
    hit = np.asarray(right) if np.ndim(right) else random.random(len(label)) < right
    predicted = np.where(hit, label, (label + 1) % 10)
    probabilities = random.random((len(label), 10)) * 0.5
    probabilities[np.arange(len(label)), predicted] += 1
    probabilities /= probabilities.sum(1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(label)), label])
    return {"row": np.arange(len(label)), "label": label, "predicted": predicted, "probabilities": probabilities, "loss": loss}  # fmt: skip


def rows_of(values, rows=None, tokens=None):
    """Records of a mean, such as a loss."""
    values = np.asarray(values, float)
    return {"row": np.arange(len(values)) if rows is None else np.asarray(rows), "value": values,
            "tokens": np.ones(len(values)) if tokens is None else np.asarray(tokens)}  # fmt: skip


VALUE, BY_TOKENS = mean(LOSS, "value"), mean(LOSS, "value", "tokens")


# -- the test -----------------------------------------------------------------------------------------------
def test_accuracy_is_decided_by_the_exact_test_of_mcnemar():
    right = np.arange(200) < 150
    other = right.copy()
    other[:2], other[150:160] = False, True  # loses 2, wins 10
    test = paired_test(METRICS["accuracy"], [answers(right)], [answers(other)])
    assert (test.method, test.only) == (MCNEMAR, (2, 10))
    assert test.p == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert test.difference.value == pytest.approx(0.04) and test.difference.low < 0.04 < test.difference.high


def test_the_permutation_test_counts_what_all_swaps_would_give():
    differences = np.array([0.4, -0.1, 0.9, 0.3, -0.2, 0.8, 0.5, 0.1])
    test = paired_test(VALUE, [rows_of(np.zeros(8))], [rows_of(differences)])
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=8)]
    assert test.method == PERMUTATION
    assert test.p == pytest.approx(np.mean(np.asarray(sums) >= differences.sum() - 1e-12), abs=0.012)


@pytest.mark.parametrize("name", METRICS)
def test_a_model_does_not_differ_from_itself_by_any_metric(name):
    same = answers(0.8)
    test = paired_test(METRICS[name], [same], [same])
    assert test.p == 1.0 and test.difference.value == 0


@pytest.mark.parametrize("name", ["f1", "top_accuracy", "loss", "calibration_error"])
def test_a_plain_difference_is_found_by_every_kind_of_metric(name):
    test = paired_test(METRICS[name], [answers(0.5, 1)], [answers(0.95, 2)])
    assert test.p < 0.01 and not test.difference.low <= 0 <= test.difference.high


def test_equally_good_models_are_seldom_called_different():
    false = 0
    for seed in range(60):
        hard = np.random.default_rng(seed).random(200)
        first, second = (answers(np.random.default_rng(1000 * seed + one).random(200) < hard) for one in (1, 2))
        test = paired_test(METRICS["accuracy"], [first], [second])
        false += comparison.Verdict(METRICS["accuracy"].metric, 0, 1, test, test.p, 1).different
    assert false <= 6


def test_only_rows_that_both_have_count():
    first, second = rows_of(np.zeros(30), rows=np.arange(30)), rows_of(np.ones(30), rows=np.arange(10, 40))
    test = paired_test(VALUE, [first], [second])
    assert test.rows == 20 and test.difference.value == 1
    with pytest.raises(Refusal, match="same rows"):
        paired_test(VALUE, [first], [rows_of(np.ones(5), rows=np.arange(90, 95))])


def test_a_text_in_parts_is_one_row_where_the_parts_differ():
    first = rows_of([1, 1, 1, 1], rows=[0, 0, 1, 2], tokens=[2, 2, 4, 4])
    second = rows_of([1, 1, 1], rows=[0, 1, 2], tokens=[4, 4, 4])
    assert paired_test(BY_TOKENS, [first], [second]).rows == 3


def test_a_mean_over_other_tokens_is_refused():
    first, second = rows_of(np.zeros(9)), rows_of(np.zeros(9), tokens=np.full(9, 2))
    with pytest.raises(Refusal, match="Choose a metric that does not depend on the tokenizer"):
        paired_test(BY_TOKENS, [first], [second])


def test_seeds_that_differ_more_than_the_groups_do_are_no_difference():
    random = np.random.default_rng(0)

    def group(levels):
        return [rows_of(level + random.normal(0, 0.1, 60)) for level in levels]

    spread = paired_test(VALUE, group([0.0, 1.0, 2.0]), group([0.5, 1.5, 2.5]))
    close = paired_test(VALUE, group([0.0, 0.01, 0.02]), group([0.5, 0.51, 0.52]))
    assert spread.method == close.method == SEEDS
    assert spread.p > 0.3 and close.p < 0.001
    assert paired_test(VALUE, group([1.0]), group([0.0, 1.0, 2.0])).p > 0.3  # borrows the other's spread


def test_holm_corrects_for_all_comparisons_and_leaves_out_what_is_not_defined():
    assert holm([0.01, float("nan"), 0.04, 0.02]) == [0.03, pytest.approx(float("nan"), nan_ok=True), 0.04, 0.04]


# -- groups -------------------------------------------------------------------------------------------------
def test_runs_that_differ_in_the_seed_alone_are_one_group(home):
    store = Studio(home).runs
    ids = [store.launch(digits(**settings)) for settings in
           ({"seed": 1}, {"seed": 2}, {"seed": 1, "channels": 8}, {"seed": 2})]  # fmt: skip
    specs = {id: store.get(id).spec for id in ids}
    again, wide = ids[3], ids[2]
    assert comparison.group_by_seed(specs) == [ids[:2], [wide], [again]]  # the same seed again is no second sample
    assert comparison.differing_settings([specs[ids[0]], specs[wide]]) == {"channels": [4, 8]}


def test_groups_are_called_by_what_sets_them_apart(home):
    store = Studio(home).runs
    runs = [store.get(store.launch(digits(channels=channels))) for channels in (4, 8)]
    assert [group.name for group in groups_of(runs)] == ["A · Channels 4", "B · Channels 8"]


# -- runs that were evaluated, without training any ---------------------------------------------------------
def write_run(home, records=None, rows="rows", **settings):
    """A finished run with a model, as far as comparing looks at it, and its evaluation."""
    studio = Studio(home)
    id = studio.runs.launch(digits(**settings))
    folder = studio.runs.folder(id)
    told = [Event("state", {"state": state, "reason": None}) for state in (events.STARTING, events.RUNNING)]
    told += [
        Event("step", {"step": step, "loss": 2.0 / step, "seconds": step / 10, "rate": 50.0}) for step in range(1, 40)
    ]
    told += [Event("validation", {"step": 39, "metrics": {"accuracy": 0.5, "loss": 1.0}})]
    told += [
        Event("sample", {"step": 39, "inputs": {}, "blocks": [{"kind": "scores", "names": ["1"], "values": [1.0]}]})
    ]
    told += [Event("state", {"state": events.FINISHED, "reason": None})]
    events.append(folder.events_file, told)
    if records is not None:
        folder.model.mkdir()
        metadata = {"spec": folder.spec().to_json(), "metrics": {"accuracy": 0.5}, "parameters": 9, "created": 1.0}
        (folder.model / METADATA_FILE).write_text(json.dumps(metadata))
        write_evaluation(studio, id, records, rows)
    return id


def write_evaluation(studio, run, records, rows):
    model = studio.models.get(run)
    id = studio.evaluations.id(model)
    metrics = {name: MetricValue(one.value(records)) for name, one in METRICS.items()}
    about = Evaluation(id, run, model.created, model.title, model.task, model.dataset, "test", len(records["row"]), metrics,
                       1.0, 1.0, {"accuracy": 0.1}, "Always 1", CLASSES, provenance={"sha256 rows": rows})  # fmt: skip
    (studio.evaluations.folder / id).mkdir(parents=True)
    evaluation.write(studio.evaluations.folder / id, about, records)


@pytest.fixture
def compared(home):
    """Two evaluated runs, the second better."""
    yield write_run(home, answers(0.5, 1)), write_run(home, answers(0.9, 2), channels=8)
    leave()


def test_the_command_line_says_who_is_better_and_why(home, compared, capsys):
    assert main(["compare", *compared]) == 0
    told = capsys.readouterr().out
    assert "B beats A: Accuracy" in told and "McNemar's exact test on the same 200 rows" in told
    assert "channels" in told and "Always 1" in told


def test_the_command_line_as_json_holds_the_figures(home, compared, capsys):
    assert main(["compare", *compared, "--metric", "loss", "--metric", "f1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [verdict["metric"] for verdict in told["verdicts"]] == ["loss", "f1"]
    assert {verdict["tests"] for verdict in told["verdicts"]} == {2} and told["settings"] == {"channels": [4, 8]}


def test_one_model_other_tasks_and_unknown_metrics_are_refused(home, compared, capsys):
    assert main(["compare", compared[0]]) == 1
    assert main(["compare", compared[0], "starter:connoisseur"]) == 1
    assert main(["compare", *compared, "--metric", "beauty"]) == 1
    told = capsys.readouterr().err
    assert "only one model" in told and "different tasks" in told and "no metric named beauty" in told


def test_models_of_equal_skill_are_not_told_apart(home, capsys):
    ids = write_run(home, answers(0.8, 1)), write_run(home, answers(0.8, 2), channels=8)
    main(["compare", *ids])
    told = capsys.readouterr().out
    assert "No difference that these 200 rows can show" in told and "beats" not in told
    assert "it would take about" in told or "too small to be worth" in told


def test_other_rows_are_refused(home):
    studio = Studio(home)
    ids = write_run(home, answers(0.8, 1)), write_run(home, answers(0.8, 2), rows="others", channels=8)
    evaluations = [[studio.evaluations.find(studio.models.get(id)).id] for id in ids]
    assert "same rows" in str(studio.evaluations.compare(evaluations).refused[1])


def test_classes_in_another_order_are_the_same_classes():
    order = np.random.default_rng(0).permutation(10)
    records = answers(0.8, 1)
    back = np.argsort(order)
    moved = {**records, "label": back[records["label"]], "predicted": back[records["predicted"]],
             "probabilities": records["probabilities"][:, order]}  # fmt: skip
    known = {"plain": records, "moved": moved}
    classes = {"plain": CLASSES, "moved": [CLASSES[number] for number in order]}
    groups = [
        [Evaluation(id, id, 1.0, id, "image-classification", "digits", "test", 200, {}, 1.0, 1.0, classes=classes[id], provenance={"sha256 rows": ""})]
        for id in known
    ]  # fmt: skip
    for verdict in comparison.compare(groups, known.__getitem__, ["accuracy", "f1", "roc_auc"]).verdicts:
        assert verdict.test.difference.value == pytest.approx(0)


# -- the page -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_names_the_winner_at_the_top(home, compared, language):
    app = visit("compare", language, runs=",".join(compared))
    assert not app.exception and not app.error
    assert ("B beats A" if language == "en" else "B 优于 A") in app.subheader[0].value.replace("\\", "")


def test_the_newest_two_of_a_task_are_compared_unless_the_address_says_otherwise(home, compared):
    third = write_run(home, channels=16)
    assert visit("compare").query_params["runs"] == f"{third},{compared[1]}"


def test_a_model_that_was_not_evaluated_is_offered_to_be(home, compared):
    studio = Studio(home)
    studio.evaluations.delete(studio.evaluations.find(studio.models.get(compared[0])).id)
    app = visit("compare", runs=",".join(compared))
    assert app.button("compare.evaluate").label == "Evaluate the model" and not app.exception


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("count", [0, 1])
def test_without_two_runs_the_page_leads_to_them(home, count, language):
    for _number in range(count):
        write_run(home)
    app = visit("compare", language)
    leave()
    assert not app.exception and len(app.button) == 1 and not app.error


def test_runs_that_are_gone_are_named_and_the_rest_is_compared(home, compared):
    app = visit("compare", runs=f"{compared[0]},no-such-run,{compared[1]}")
    assert not app.exception and "no-such-run" in " ".join(said(app))


def test_seeds_and_many_groups_are_drawn_without_a_verdict_over_chance(home):
    for channels, seed in itertools.product((4, 8, 12, 16, 20, 24), (1, 2)):
        write_run(home, answers(0.8, seed * channels), channels=channels, seed=seed)
    app = visit("compare", runs=",".join(Studio(home).runs.ids()))
    leave()
    assert not app.exception and not app.error
    assert "No difference from A that these rows can show: B, C, D, E, F." in " ".join(said(app)).replace("\\", "")


# -- curves -------------------------------------------------------------------------------------------------
def test_a_long_curve_is_sampled_evenly_and_a_short_one_read_whole(tmp_path):
    path = tmp_path / "events.jsonl"
    steps = [
        Event("step", {"step": step, "loss": 1.0 / step, "seconds": step / 10, "rate": 10.0}) for step in range(1, 5001)
    ]
    events.append(path, [*steps, Event("validation", {"step": 5000, "metrics": {"accuracy": 0.5}})])
    thin, whole = sample_curve(path, 100), sample_curve(path, 10_000)
    assert 90 <= len(thin.points) <= 110 and thin.every == pytest.approx(50, rel=0.2)
    assert len(whole.points) == 5000 and whole.every == 1
    assert np.max(np.diff([point[0] for point in thin.points])) < 120
    assert thin.validation == {"accuracy": [(5000.0, 0.5)]} and thin.points[-1][2] == pytest.approx(5000, rel=0.03)


def test_a_curve_leaves_out_what_was_told_again_damaged_or_is_no_number(tmp_path):
    path = tmp_path / "events.jsonl"

    def step(number, loss):
        return Event("step", {"step": number, "loss": loss, "seconds": 1.0})

    events.append(path, [step(1, 5.0), step(2, 4.0), step(3, 3.0), step(2, 2.5), step(3, float("nan")), step(4, 2.0)])
    with path.open("ab") as file:
        file.write(b'{"kind":"step","step":"x"}\n{"kind":"step"\n\xff\n[1]\n{"kind":"step","step":5,"loss"')
    assert [(point[0], point[3]) for point in sample_curve(path, 1000).points] == [(1, 5.0), (2, 2.5), (4, 2.0)]
    assert sample_curve(tmp_path / "none", 10).points == []
