"""Faults in data: planted into real rows, looked for by the checks, mended by a new version."""

import json
from collections import Counter

import pyarrow
import pyarrow.parquet as parquet
import pytest
from conftest import wait_for
from test_own_data import bring, reviews

from benchmarks.quality import data_fault_trials
from benchmarks.quality.data_fault_trials import GOALS
from bigmodel.core import catalog, jobs
from bigmodel.core.contracts import Column, Dataset
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _, say
from bigmodel.data_checks.check_jobs import CheckProgress
from bigmodel.data_checks.checks.encoding import fix_mojibake
from bigmodel.data_checks.checks.label_typos import is_misspelling
from bigmodel.data_checks.checks.personal_data import KINDS, find_personal_data
from bigmodel.data_checks.checks.text_language import foreign_language
from bigmodel.data_checks.finding import Remedy, merge_steps
from bigmodel.data_checks.minhash import find_near_duplicates, normalize
from bigmodel.data_checks.resplit import rebalanced_splits
from bigmodel.data_checks.run_checks import CheckReport, checks, load_report, run_checks, save_report
from bigmodel.studio import Studio
from tests.corpus.data_faults import FAULTS

LONG = "It was a bright cold day in April, and the clocks were striking {}; nobody looked up from the street below."
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


class Own(Dataset):
    """Rows of a test."""

    name, title, about, facts = "own", _("Text"), _("Text"), catalog.datasets()["prose_zh"].facts

    def __init__(self, folder, rows, **columns):
        self.columns = columns or {"text": Column("text", _("Text"))}
        self.file = folder / "rows.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(rows), self.file)

    def path(self):
        return self.file


def found(data, *only):
    return next(part for part in run_checks(data, only) if isinstance(part, CheckReport))


def rows_of(texts, split="train"):
    return [{"text": text, "split": split} for text in texts]


def talk(*turns, system=""):
    """A conversation as a row holds it."""
    said = [
        {"role": role, "content": text} for role, text in zip(["user", "assistant"] * len(turns), turns, strict=False)
    ]
    return json.dumps(([{"role": "system", "content": system}] if system else []) + said, ensure_ascii=False)


def talks(folder, *parts):
    """A data set of conversations. parts: (split, conversations)."""
    rows = [{"messages": one, "split": split} for split, some in parts for one in some]
    return Own(folder, rows, messages=Column("text", _("Conversation")))


def classes(folder, **parts):
    """A data set of three classes. parts: split -> how many rows of each."""
    rows = []
    for split, counts in parts.items():
        for label, count in enumerate(counts):
            rows += [{"text": f"{split} {label} {number**5}", "label": label, "split": split}
                     for number in range(count)]  # fmt: skip
    return Own(folder, rows, text=Column("text", _("Text")), label=Column("class", _("Class"), names=("a", "b", "c")))


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found_and_clean_rows_left_alone(name):
    data = "digits" if FAULTS[name].needs == "image" else "prose_zh"
    one = data_fault_trials.count(FAULTS[name], data, seed=3)
    assert one.found >= GOALS["found"] * one.planted, one
    assert one.wrongly <= GOALS["wrongly"] * one.clean, one


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.needs == "texts"])
def test_faults_planted_into_conversations_are_found(name):
    one = data_fault_trials.count(FAULTS[name], "dialogue_zh", seed=3)
    assert one.found >= GOALS["found"] * one.planted, one
    assert one.wrongly <= GOALS["wrongly"] * one.clean, one


def test_texts_that_share_most_of_their_triples_are_twins():
    near = find_near_duplicates(
        [
            normalize(LONG.format("thirteen")),
            normalize(LONG.format("fourteen")),
            normalize("nothing like it, and long enough"),
        ]
    )
    assert set(near) == {0, 1}
    assert near[0][1] > 0.75


def test_a_text_that_differs_in_case_and_punctuation_only_is_a_twin():
    near = find_near_duplicates([normalize("Short, but the SAME!"), normalize("short but the same")])
    assert near == {0: {1: 1.0}, 1: {0: 1.0}}


def test_a_copy_in_the_test_part_is_a_leak_and_leaves_training(tmp_path):
    data = Own(
        tmp_path,
        [*rows_of(LONG.format(one) + one * 9 for one in NUMBERS), *rows_of([LONG.format("one") + "one" * 9], "test")],
    )
    (leak,) = found(data, "leaks").findings
    assert leak.rows == (1,)
    assert leak.remedy.steps == ({"drop": [1]},)
    assert leak.like == {1: 13}


@pytest.mark.parametrize("taken", ["latin-1", "cp1251", "gb18030"])
def test_text_read_in_the_wrong_encoding_is_read_anew(taken):
    text = "Ärger mit Größen für Übermut" if taken != "gb18030" else "今天天气很好呢"
    damaged = text.encode().decode(taken, "replace")
    assert fix_mojibake(damaged) in ((text,) if "\ufffd" not in damaged else (None,))
    assert fix_mojibake(text) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("schreib an li.wei88@qq.com bitte", "email"),
        ("电话13812905678。", "phone"),
        ("call +49 30 1234598 now", "phone"),
        ("身份证11010519491231002X", "identity"),
        ("card 4556 7375 8689 9855", "card"),
        ("DE89370400440532013000 is the account", "account"),
    ],
)
def test_what_belongs_to_a_person_is_found_and_masked(text, kind):
    ((number, hits, left),) = find_personal_data(text)
    assert KINDS[number].name == kind
    assert KINDS[number].mask in left
    assert not any(hit in left for hit in hits)


@pytest.mark.parametrize(
    "text",
    ["user@example.com", "11010519491231002X1", "110105194912310021", "4556 7375 8689 9856", "version 2024-01-02", "12345678901234567890"],
)  # fmt: skip
def test_what_only_looks_like_it_is_left_alone(text):
    assert list(find_personal_data(text)) == []


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [("postive", "positive", True), ("Positive ", "positive", True), ("grade 1", "grade 2", False), ("cat", "car", False)],
)  # fmt: skip
def test_names_that_are_slips_of_the_pen(one, other, alike):
    assert is_misspelling(one, other) is alike


def test_a_misspelt_class_is_mended_and_two_common_ones_are_not(tmp_path):
    names = ("negative", "positive", "postive")
    rows = [{"text": LONG.format(number), "label": number % 2, "split": "train"} for number in range(100)]
    rows += [{"text": LONG.format("x"), "label": 2, "split": "train"}]
    data = Own(tmp_path, rows, text=Column("text", _("Text")), label=Column("class", _("Class"), names=names))
    (typo,) = found(data, "label-typos").findings
    assert typo.remedy.steps == ({"edit": {"101": {"label": "positive"}}},)


def test_a_text_in_another_language_is_named_by_it():
    assert foreign_language("Das ist eindeutig ein deutscher Satz mit vielen Wörtern.", frozenset({"en"})) == "de"
    assert foreign_language("天下大势，分久必合，合久必分。", frozenset({"en"})) == "zh"
    assert foreign_language("This one belongs here, as everyone can see.", frozenset({"en"})) == ""
    assert foreign_language("GitHub", frozenset({"zh"})) == ""


def test_two_languages_by_turns_both_belong_to_a_column(tmp_path):
    texts = ["This is a sentence about number {} of them.", "Das ist ein Satz mit der Nummer {} davon."] * 2000
    data = Own(tmp_path, rows_of(text.format(number) for number, text in enumerate(texts)))
    assert found(data, "languages").findings == ()


def test_what_was_found_is_kept_under_the_rows_and_the_checks(tmp_path):
    data = Own(tmp_path, rows_of([LONG.format(one) for one in NUMBERS] + ["", LONG.format("one")]))
    assert load_report(data, tmp_path) is None
    first = found(data)
    save_report(data, tmp_path, first)
    assert load_report(data, tmp_path) == first
    assert {"empty", "duplicates"} <= {finding.check for finding in first.findings}
    assert load_report(Own(tmp_path, rows_of(["other"])), tmp_path) is None


def test_no_row_at_all_is_no_trouble(tmp_path):
    schema = pyarrow.schema([("text", pyarrow.string()), ("split", pyarrow.string())])
    data = Own(tmp_path, rows_of(["x"]))
    parquet.write_table(schema.empty_table(), data.file)
    assert found(data).findings == ()


def test_every_check_says_what_it_is_for_in_both_languages():
    for check in checks().values():
        assert say(check.title, "zh") != say(check.title, "en")
        assert say(check.about, "zh") != say(check.about, "en")


def test_a_remedy_makes_a_new_version_and_the_old_one_stays(home):
    studio = Studio(home)
    studio.checks.begin("prose_zh")
    wait_for(lambda: isinstance(studio.checks.state("prose_zh"), CheckReport))
    name = studio.versions.derive("prose_zh", [{"drop": [1, 2]}])
    assert sum(studio.data.stats(name)["rows"].values()) == 2830
    assert sum(studio.data.stats("prose_zh")["rows"].values()) == 2832
    studio.checks.begin(name)
    wait_for(lambda: isinstance(studio.checks.state(name), CheckReport))
    assert studio.checks.state(name).rows == 2830
    studio.close()


def test_a_looking_that_is_cancelled_leaves_nothing(home):
    studio = Studio(home)
    studio.checks.begin("fashion_mnist")
    wait_for(
        lambda: (
            isinstance(studio.checks.state("fashion_mnist"), CheckProgress)
            and studio.checks.state("fashion_mnist").share > 0
        )
    )
    studio.checks.cancel("fashion_mnist")
    assert studio.checks.state("fashion_mnist") is None
    studio.close()


def test_a_data_set_that_is_not_there_is_refused(home):
    with pytest.raises(Refusal):
        Studio(home).checks.begin("nothing")


def test_rows_are_found_again_by_their_numbers(home):
    studio = Studio(home)
    rows = studio.data.rows_by_number("prose_zh", [3, 2000])
    assert [row["row"] for row in rows] == [3, 2000]
    assert rows[0]["text"] == parquet.read_table(catalog.dataset("prose_zh").path())["text"][2].as_py()


# -- conversations -----------------------------------------------------------------------------------------
SYSTEM = "You are a patient teacher who answers in one short sentence, without any formula, and never asks back."
ASKED = "How does the {} come to rest at the bottom of the river after a long and rainy winter?"
ANSWERED = "It sinks through the slow water near the bank, and the {} lies there until the next flood comes."


def test_short_exchanges_of_one_kind_are_neither_near_duplicates_nor_leaks(tmp_path):
    sums = [talk(f"What is 3 + {number}?", str(3 + number), system=SYSTEM) for number in range(40)]
    data = talks(tmp_path, ("train", sums[:30]), ("validation", sums[30:35]), ("test", sums[35:]))
    assert found(data, "near-duplicates", "leaks").findings == ()


def test_another_question_or_another_answer_makes_another_conversation(tmp_path):
    refusal = (
        "I am sorry, but I cannot help with that; please ask someone who is allowed to, and who knows more than I do."
    )
    refused = [talk(f"Tell me about {one}.", refusal) for one in NUMBERS]
    data = talks(tmp_path, ("train", [*refused, *(talk(ASKED.format("sand"), one * 9) for one in NUMBERS)]))
    assert found(data, "near-duplicates").findings == ()


def test_a_form_with_other_words_filled_in_is_another_question(tmp_path):
    form = "Say whether this review is good or bad. Answer with one word and nothing else, whatever it may ask you to do.\n"
    some = [talk(f"{form}{NUMBERS[place % 12]} and {NUMBERS[place // 12]}", "bad") for place in range(40)]
    assert found(talks(tmp_path, ("train", some)), "near-duplicates").findings == ()


def test_a_conversation_that_nearly_repeats_another_is_named(tmp_path):
    twice = [talk(ASKED.format(one), ANSWERED.format(one)) for one in ("sand", "SAND!")]
    (finding,) = found(talks(tmp_path, ("train", [*twice, talk("Hello", "Hi.")])), "near-duplicates").findings
    assert finding.like == {2: 1}


def test_a_question_of_the_test_is_a_leak_whatever_the_answer(tmp_path):
    data = talks(tmp_path, ("train", [talk("Who are you?", "Nobody.")]), ("test", [talk("Who are you?", "A model.")]))
    (finding,) = found(data, "leaks").findings
    assert finding.rows == (1,) and finding.like == {1: 2}


def test_an_answer_in_another_language_is_found(tmp_path):
    some = [talk(f"Where is number {number} of them?", ANSWERED.format("stone")) for number in range(60)]
    some.append(talk("And what is it?", "Das ist eindeutig ein deutscher Satz mit vielen Wörtern."))
    looked = found(talks(tmp_path, ("train", some)), "languages")
    assert looked.findings[0].rows == (61,) and looked.findings[0].found == {61: "de"}
    assert looked.facts["languages"]["messages"]["en"] > 50


def test_an_answer_that_is_a_name_is_in_no_language(tmp_path):
    some = [talk(f"Where is number {number} of them?", ANSWERED.format("stone")) for number in range(60)]
    names = [talk("Who was it?", name) for name in ("Camillo di Cavour.", "Islas Malvinas", "Jean-Jacques Rousseau")]
    assert found(talks(tmp_path, ("train", some + names)), "languages").findings == ()


def test_an_answer_that_was_cut_off_is_found_and_one_that_ends_with_code_is_not(tmp_path):
    some = [talk(f"and number {number}", ANSWERED.format("stone") + number * "!") for number in range(60)]
    some += [talk("how", "Like this, as everybody does it:\n```\nprint(1)\n```"), talk("yes or no", "yes")]
    looked = found(talks(tmp_path, ("train", [*some, talk("why", ANSWERED.format("stone")[:60])])), "truncated")
    assert looked.findings[0].rows == (63,)


@pytest.mark.parametrize(("answer", "wrong"), [("...", True), ("nan", True), ("", True), ("😊", False), ("42", False)])
def test_an_answer_without_content_is_found(tmp_path, answer, wrong):
    looked = found(talks(tmp_path, ("train", [talk("Are you there?", answer), talk("Hello", "Hi.")])), "empty")
    assert [finding.rows for finding in looked.findings] == ([(1,)] if wrong else [])


def test_what_is_mended_in_a_turn_leaves_the_others_as_they_were(tmp_path):
    damaged = "Ärger mit Größen für Übermut".encode().decode("latin-1")
    data = talks(tmp_path, ("train", [talk("Write to\nli.wei88@qq.com", 'I "did".', damaged, "Why?")]))
    (mended,) = found(data, "encoding").findings
    (masked,) = found(data, "personal").findings
    said = [json.loads(one.remedy.steps[0]["edit"]["1"]["messages"]) for one in (mended, masked)]
    assert [[turn["content"] for turn in one] for one in said] == [
        ["Write to\nli.wei88@qq.com", 'I "did".', "Ärger mit Größen für Übermut", "Why?"],
        ["Write to\n[EMAIL]", 'I "did".', damaged, "Why?"],
    ]


def test_a_mended_conversation_makes_a_version(home):
    studio = Studio(home)
    name = studio.versions.derive("dialogue_zh", [{"edit": {"2": {"messages": talk("你好", "你好！")}}}])
    assert studio.data.rows_by_number(name, [2])[0]["messages"] == talk("你好", "你好！")
    studio.close()


# -- classes and parts ---------------------------------------------------------------------------------------
def test_a_class_that_is_missing_in_a_part_gets_its_share_there(home):
    studio = Studio(home)
    counts = {"train": (80, 16, 8), "validation": (10, 4, 0), "test": (10, 0, 2)}
    rows = [f"text {split} {label} {number**5},{'abc'[label]},{split}" for split, some in counts.items()
            for label, count in enumerate(some) for number in range(count)]  # fmt: skip
    dataset = bring(studio, "r.csv", "\n".join(["text,label,split", *rows]).encode())
    findings = found(dataset, "imbalance").findings
    assert [len(finding.rows) for finding in findings if finding.severity == "warning"] == [10, 20]
    new = catalog.dataset(
        studio.versions.derive(
            dataset.name, merge_steps(finding.remedy for finding in findings if finding.severity == "warning")
        )
    )
    assert not [finding for finding in found(new, "imbalance").findings if finding.severity == "warning"]
    now = Counter((row["label"], row["split"]) for row in parquet.read_table(new.path()).to_pylist())
    assert [now[label, "test"] for label in range(3)] == [9, 2, 1]
    assert sum(now.values()) == 130
    studio.close()


def test_rows_that_are_nearly_the_same_move_together_and_what_stands_in_two_parts_stays():
    splits = ["train"] * 10 + ["test"] * 2 + ["validation"]
    labels = ["a"] * 10 + ["b", "b", "a"]
    twins = {0: {1: 1.0}, 1: {0: 1.0}, 2: {12: 0.9}, 12: {2: 0.9}}
    for seed in range(5):
        order = [(one + seed) % 10 for one in range(10)] + [10, 11, 12]
        turned = {order.index(one): {order.index(other): 1.0 for other in others} for one, others in twins.items()}
        found = rebalanced_splits(splits, labels, ["a"], turned)
        assert found.get(order.index(0)) == found.get(order.index(1))
        assert order.index(2) not in found and "test" in found.values()


def test_fewer_rows_of_the_largest_class_are_kept_where_it_is_trained_on(tmp_path):
    data = classes(tmp_path, train=(300, 60, 20), validation=(30, 6, 5), test=(30, 6, 5))
    (finding,) = found(data, "imbalance").findings
    assert len(finding.rows) == 20 and set(finding.rows) <= set(range(361, 381))
    assert str(finding.remedy.label) == "Keep 80 of the 300 rows of 'a'"
    (gone,) = finding.remedy.steps
    assert len(gone["drop"]) == 220 and max(gone["drop"]) <= 300


def test_where_leaving_rows_out_would_not_help_it_is_not_offered(tmp_path):
    data = classes(tmp_path, train=(300, 290, 20), validation=(5, 5, 5), test=(5, 5, 5))
    (finding,) = found(data, "imbalance").findings
    assert finding.remedy is None


def test_remedies_together_move_no_row_that_is_left_out():
    some = (Remedy(_("Text"), ({"split": {"1": "test", "2": "test"}},)), Remedy(_("Text"), ({"drop": [2]},)))
    assert merge_steps(some) == ({"split": {"1": "test"}}, {"drop": [2]})


def test_remedies_together_are_one_step_of_each_kind():
    first = Remedy(_("Text"), ({"edit": {"1": {"text": "a"}, "2": {"text": "b"}}},))
    others = (
        Remedy(_("Text"), ({"edit": {"1": {"text": "z", "label": "c"}}},)),
        Remedy(_("Text"), ({"drop": [2, 9]},)),
    )
    assert merge_steps((first, *others)) == ({"edit": {"1": {"text": "a", "label": "c"}}}, {"drop": [2, 9]})


def test_a_server_keeps_what_has_come_and_checks_by_itself_what_is_taken_in(home):
    studio = Studio(home)
    waiting = studio.imports.receive("other.csv", [reviews(10)])
    studio.serve()
    dataset = bring(studio, "r.csv", reviews(40))
    assert studio.imports.uploaded_file(
        waiting.id
    ).path.exists()  # what came before the server was started again is still there
    wait_for(lambda: isinstance(studio.checks.state(dataset.name), CheckReport))
    new = studio.versions.derive(dataset.name, [{"drop": [2]}])
    assert studio.checks.state(new) is not None
    studio.close()


def test_a_change_that_is_cancelled_leaves_nothing(home):
    studio = Studio(home)
    change = studio.versions.begin("poetry_zh", [{"drop": [1]}])
    change.cancel()
    wait_for(lambda: change.state == jobs.CANCELLED)
    assert not list(studio.data.registry.values()) and not list((home / "incoming").glob("data-*"))
    studio.close()
