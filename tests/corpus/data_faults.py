"""Faults that are planted into real rows, one kind at a time: what the data checks have to find."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from bigmodel.core import catalog
from bigmodel.core.contracts import SPLITS, Column, Dataset
from bigmodel.data_checks.checks.imbalance import RATIO
from bigmodel.data_checks.checks.personal_data import CHECK_DIGITS, WEIGHTS
from bigmodel.data_checks.minhash import normalize

CLASSES = {"poetry_zh": "dynasty", "prose_zh": "book", "classics_en": "title"}  # what serves as a class
STOPS = ".!?…。！？"
SIMILAR = 0.85  # ratio of common characters in the same order from which two rows are near duplicates indeed
COMMON = 12  # times as many rows as a misspelling gets: one slips now and then, not most of the time
RATE, MINIMUM = 0.01, 40  # of the rows get a fault, and at least so many
TEXTS = ("text", "source", "target", "question", "answer")  # columns for faults; the last two of conversations
RARE = 12  # times as many rows as a class that is made rare


class FaultyDataset(Dataset):
    """Rows of a real data set, some of them damaged."""

    def __init__(self, like: Dataset, rows: Sequence[Mapping], folder: Path, columns: Mapping[str, Column]):
        import pyarrow
        import pyarrow.parquet as parquet

        self.name, self.title, self.about, self.facts = like.name, like.title, like.about, like.facts
        self.columns = columns
        self.file = folder / f"{like.name}.parquet"
        if "messages" in columns:
            rows = [_conversation(row) for row in rows]
        parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), self.file)

    def path(self) -> Path:
        return self.file


@dataclass
class Injector:
    """The rows of a data set that faults are planted into, and a random generator."""

    dataset: Dataset
    rows: list[dict]
    columns: dict[str, Column]
    random: np.random.Generator

    def __post_init__(self):
        self.injected: list[tuple[int, ...]] = []  # row indices of each planted fault; a check must name one of them
        self.free = list(self.random.permutation(len(self.rows)))

    @property
    def count(self) -> int:
        return max(int(len(self.rows) * RATE), min(MINIMUM, len(self.rows) // 4))

    @property
    def texts(self) -> list[str]:
        return [name for name in TEXTS if name in self.rows[0]]

    def longest(self, row: Mapping) -> str:
        """Of a conversation the longer text of its last exchange, else the first."""
        return max(self.texts, key=lambda name: len(row[name])) if "answer" in row else self.texts[0]

    @property
    def sentences(self) -> list[str]:
        """Texts that end like a sentence; what is asked may end as it likes."""
        return ["answer"] if "answer" in self.rows[0] else self.texts

    def pick_row(self, fits: Callable[[dict], bool] = lambda row: True) -> int | None:
        """A row that nothing has been done to yet."""
        for number, i in enumerate(self.free):
            if fits(self.rows[i]):
                return int(self.free.pop(number))
        return None

    def pick_rows(self, fits: Callable[[dict], bool] = lambda row: True) -> Iterator[int]:
        for _time in range(self.count):
            i = self.pick_row(fits)
            if i is None:
                return
            yield i

    def replace_cells(self, i: int, **cells: object) -> None:
        self.rows[i] = self.rows[i] | cells
        self.injected.append((i,))

    def append_copy(self, i: int, **cells: object) -> None:
        """At the end, so that row indices stay valid."""
        self.rows.append(self.rows[i] | cells)
        self.injected.append((len(self.rows) - 1, i))

    def choice(self, options: Sequence):
        return options[int(self.random.integers(len(options)))]


# -- the faults ----------------------------------------------------------------------------------------
def duplicates(injector: Injector) -> None:
    for i in injector.pick_rows():
        injector.append_copy(i)


def near_duplicates(injector: Injector) -> None:
    """A copy with a letter mistaken, a word more or less, another case, or other punctuation: up to a twentieth changed."""
    for i in injector.pick_rows(lambda row: len(normalize(row[injector.longest(row)])) >= 40):
        name = injector.longest(injector.rows[i])
        text = altered = injector.rows[i][name]
        while altered.strip() == text.strip():  # a letter that is exchanged for the same one makes a duplicate
            altered = _altered(injector, text)
        injector.append_copy(i, **{name: altered})


def leaks(injector: Injector) -> None:
    """A row of the test or validation part, half of them a little changed, among those for training."""

    def measured(row: dict) -> bool:
        return row["split"] != "train" and len(normalize(row[injector.longest(row)])) >= 40

    for number, i in enumerate(injector.pick_rows(measured)):
        name = injector.longest(injector.rows[i])
        text = injector.rows[i][name]
        injector.append_copy(i, split="train", **{name: text if number % 2 else _altered(injector, text)})


def empty(injector: Injector) -> None:
    nothing = (None, "", " ", "\n\n", "\u3000", "-", "???", "...", "NaN", "null", "N/A", "#REF!", "undefined")
    for i in injector.pick_rows():
        injector.replace_cells(i, **{injector.choice(injector.texts): injector.choice(nothing)})


def cut_in_a_sentence(injector: Injector) -> None:
    """Texts cut between a third and nine tenths, not where a sentence ends; of a pair that ends like sentences, one side; of
    answers those of thirty characters, as what cuts an answer is that it is long."""
    least = 20 if injector.sentences == injector.texts else 30

    def long(row: dict) -> bool:
        return all(len(row[name]) >= least and row[name].rstrip()[-1] in STOPS for name in injector.sentences)

    for i in injector.pick_rows(long):
        name = injector.choice(injector.sentences)
        text = injector.rows[i][name].rstrip()
        end = int(len(text) * injector.random.uniform(0.33, 0.9))
        while end > 1 and not text[end - 1].isalnum():
            end -= 1
        injector.replace_cells(i, **{name: text[:end]})


def cut_at_a_length(injector: Injector) -> None:
    """Texts longer than nine in ten of them, cut there, where that is no sentence's end: what a narrow column does."""
    for name in injector.sentences:
        lengths = sorted(len(row[name]) for row in injector.rows)
        most = lengths[int(len(lengths) * 0.9)]
        for i, row in enumerate(injector.rows):
            if len(row[name]) > most:
                injector.rows[i] = row | {name: row[name][:most]}
                if row[name][:most].rstrip()[-1:] not in STOPS:
                    injector.injected.append((i,))
        return


def label_typos(injector: Injector) -> None:
    """A letter swapped, left out or doubled, another case, a blank: a few misspellings, each in some rows."""
    names = [str(name) for name in injector.columns["label"].names]
    few = max(injector.count // 8, 3)
    counts = Counter(row["label"] for row in injector.rows)
    common = [i for i in range(len(names)) if counts[i] >= COMMON * few]
    fitting = [i for i in common if len(names[i]) >= 4] or common
    for _time in range(4):
        label = injector.choice(fitting)
        wrong = _misspelt(injector, names[label])
        if wrong in names:
            continue
        names.append(wrong)
        for _place in range(few):
            i = injector.pick_row(lambda row, label=label: row["label"] == label)
            if i is not None:
                injector.replace_cells(i, label=len(names) - 1)
    injector.columns["label"] = Column("class", injector.columns["label"].label, names=tuple(names))


def contradictions(injector: Injector) -> None:
    classes = range(len(injector.columns["label"].names))
    for i in injector.pick_rows():
        injector.append_copy(
            i, label=injector.choice([label for label in classes if label != injector.rows[i]["label"]])
        )


def languages(injector: Injector) -> None:
    """Sentences of another language in place of a text; of pairs also sides exchanged, and what was not translated."""
    others = {
        "text": {
            "poetry_zh": ("classics_en", "text"),
            "prose_zh": ("en_de", "source"),
            "classics_en": ("en_de", "target"),
        },
        "source": {"en_de": ("en_zh", "target"), "en_zh": ("en_de", "target")},
        "answer": {"dialogue_en": ("en_zh", "target"), "dialogue_zh": ("en_de", "source")},
    }
    name = injector.sentences[0]
    other, column = others[name][injector.dataset.name]
    foreign = [row[column] for row in _rows(catalog.dataset(other)) if _is_sentence(row[column])]
    pair = "target" in injector.texts
    for number, i in enumerate(
        injector.pick_rows(lambda row: all(_is_sentence(row[name]) for name in injector.sentences))
    ):
        row = injector.rows[i]
        if pair and number % 3 == 1:
            injector.replace_cells(i, source=row["target"], target=row["source"])
        elif pair and number % 3 == 2:
            injector.replace_cells(i, target=row["source"])
        else:
            injector.replace_cells(i, **{name: injector.choice(foreign)})


def encoding(injector: Injector) -> None:
    """UTF-8 read as cp1252, Latin-1 or GBK, GBK read as Latin-1, and characters lost: where a text is not ASCII."""

    def foreign(row: dict) -> bool:
        return any(sum(not character.isascii() for character in _curly(row[name])) >= 2 for name in injector.texts)

    for i in injector.pick_rows(foreign):
        name = max(
            injector.texts,
            key=lambda name: sum(not character.isascii() for character in _curly(injector.rows[i][name])),
        )
        injector.replace_cells(i, **{name: _damaged(injector, _curly(injector.rows[i][name]))})


def personal(injector: Injector) -> None:
    """An invented address or number with right check digits, somewhere in a text."""
    for i in injector.pick_rows():
        name = injector.choice(injector.texts)
        text = injector.rows[i][name]
        gaps = [0, len(text), *(number for number, character in enumerate(text) if character in " ，。\n")]
        at = injector.choice(gaps)
        injector.replace_cells(i, **{name: f"{text[:at]} {_secret(injector)} {text[at:]}".strip()})


def broken_pictures(injector: Injector) -> None:
    for i in injector.pick_rows():
        data = injector.rows[i]["image"]["bytes"]
        cut = data[: int(len(data) * injector.random.uniform(0.2, 0.75))]  # what is left of all but the end can be read
        injector.replace_cells(
            i, image={"bytes": injector.choice((cut, cut, b"", b"<html>404</html>", bytes(len(data)))), "path": None}
        )


def plain_pictures(injector: Injector) -> None:
    from PIL import Image

    for i in injector.pick_rows():
        with Image.open(io.BytesIO(injector.rows[i]["image"]["bytes"])) as picture:
            level = int(injector.random.integers(256))
            injector.replace_cells(
                i,
                image={
                    "bytes": _file(Image.new(picture.mode, picture.size, level), injector.choice(("PNG", "JPEG"))),
                    "path": None,
                },
            )


def same_pictures(injector: Injector) -> None:
    """The same file, saved anew as a JPEG, or twice as large."""
    for i in injector.pick_rows(_pictured):
        injector.append_copy(i, image=_saved_anew(injector, injector.rows[i]["image"]))


def leaking_pictures(injector: Injector) -> None:
    for i in injector.pick_rows(lambda row: row["split"] != "train" and _pictured(row)):
        injector.append_copy(i, split="train", image=_saved_anew(injector, injector.rows[i]["image"]))


def contradicting_pictures(injector: Injector) -> None:
    contradictions(injector)


def missing_classes(injector: Injector) -> None:
    """All rows of a class taken out of the validation or the test part, and trained on instead."""
    _balanced(injector)
    for split in ("validation", "test"):
        there = sorted({row["label"] for row in injector.rows if row["split"] == split})
        if len(there) < 2:
            return
        label = injector.choice(there)
        for i, row in enumerate(injector.rows):
            if row["label"] == label and row["split"] == split:
                injector.rows[i] = row | {"split": "train"}
        injector.injected.append(_rows_of(injector, label))


def rare_classes(injector: Injector) -> None:
    """Two classes thinned, one to a twelfth of the largest, one to four rows."""
    _balanced(injector)
    counts = Counter(row["label"] for row in injector.rows if row["split"] == "train")
    smaller = [label for label, _count in counts.most_common()[1:]]
    thinned = [int(label) for label in injector.random.permutation(smaller)[:2]] if len(smaller) > 1 else []
    for label, left in zip(thinned, (max(counts.values(), default=0) // RARE, 4), strict=False):
        spared = set(injector.random.permutation(_rows_of(injector, label, "train"))[:left].tolist())
        injector.rows = [
            row
            for i, row in enumerate(injector.rows)
            if row["label"] != label or i in spared or (left > 4 and row["split"] != "train")
        ]
    injector.injected += [_rows_of(injector, label) for label in thinned]


def _balanced(injector: Injector) -> None:
    """Without the classes that are rare, or missing in a part, to begin with."""
    counts = {split: Counter(row["label"] for row in injector.rows if row["split"] == split) for split in SPLITS}
    train = counts["train"]
    whole = {label for label in train if all(counts.values()) and all(count[label] for count in counts.values())}
    kept = {label for label in whole if train[label] * RATIO > max(train[other] for other in whole)}
    injector.rows = [row for row in injector.rows if row["label"] in kept]


def _rows_of(injector: Injector, label: int, split: str = "") -> tuple[int, ...]:
    return tuple(i for i, row in enumerate(injector.rows) if row["label"] == label and split in ("", row["split"]))


@dataclass(frozen=True)
class Fault:
    """What is planted, which check has to find it, and what data it can be planted into."""

    inject: Callable[[Injector], None]
    check: str
    title: str
    needs: str  # 'texts', 'label' (and texts), 'image', 'class' (of texts or pictures)
    is_fault: Callable[[Mapping, Mapping], bool] | None = (
        None  # by another measure than the check's: two rows are alike
    )


def is_similar(one: Mapping, other: Mapping) -> bool:
    """Whether the texts of two rows have most characters in common, in the same order (Ratcliff, Obershelp 1988)."""
    texts = [normalize("\n".join(row[name] for name in TEXTS if name in row)) for row in (one, other)]
    return SequenceMatcher(None, *texts, autojunk=False).ratio() >= SIMILAR


FAULTS: Mapping[str, Fault] = {
    fault.inject.__name__: fault
    for fault in (
        Fault(duplicates, "duplicates", "duplicates", "texts"),
        Fault(near_duplicates, "near-duplicates", "near duplicates", "texts", is_similar),
        Fault(leaks, "leaks", "leaks between the parts", "texts"),
        Fault(empty, "empty", "empty rows", "texts"),
        Fault(cut_in_a_sentence, "truncated", "cut in a sentence", "texts"),
        Fault(cut_at_a_length, "truncated", "cut at a length", "texts"),
        Fault(label_typos, "label-typos", "misspelt classes", "label"),
        Fault(contradictions, "contradictions", "contradictory classes", "label"),
        Fault(languages, "languages", "wrong language", "texts"),
        Fault(encoding, "encoding", "damaged characters", "texts"),
        Fault(personal, "personal", "personal data", "texts"),
        Fault(broken_pictures, "broken-pictures", "broken pictures", "image"),
        Fault(plain_pictures, "plain-pictures", "pictures of one colour", "image"),
        Fault(same_pictures, "same-pictures", "pictures twice", "image"),
        Fault(leaking_pictures, "leaks", "pictures that leak", "image"),
        Fault(contradicting_pictures, "contradictions", "pictures with two classes", "image"),
        Fault(missing_classes, "imbalance", "classes missing in a part", "class"),
        Fault(rare_classes, "imbalance", "rare classes", "class"),
    )
}


def _rows(dataset: Dataset) -> list[dict]:
    import pyarrow.parquet as parquet

    return parquet.read_table(dataset.path()).to_pylist()


def load_rows(name: str) -> tuple[list[dict], dict[str, Column]]:
    """(rows, columns); where a data set has no class, one is made of an author, a book, a dynasty."""
    dataset = catalog.dataset(name)
    wanted = [column for column in (*TEXTS, "messages", "image", "label") if column in dataset.columns]
    rows = [
        {column: row[column] for column in (*wanted, "split", *filter(None, [CLASSES.get(name)]))}
        for row in _rows(dataset)
    ]
    columns = {column: dataset.columns[column] for column in wanted}
    if "messages" in columns:
        rows = [_exchange(row) for row in rows]
    if name in CLASSES:
        classes = sorted({str(row[CLASSES[name]]) for row in rows})
        for row in rows:
            row["label"] = classes.index(str(row.pop(CLASSES[name])))
        columns["label"] = Column("class", dataset.title, names=tuple(classes))
    return rows, columns


def _exchange(row: Mapping) -> dict:
    """A conversation with its last question and answer as columns: these are what faults are planted into."""
    *earlier, asked, answered = json.loads(row["messages"])
    return {"earlier": earlier, "question": asked["content"], "answer": answered["content"], "split": row["split"]}


def _conversation(row: Mapping) -> dict:
    """The same as a data set holds it."""
    said = [{"role": "user", "content": row["question"] or ""}, {"role": "assistant", "content": row["answer"] or ""}]
    return {"messages": json.dumps([*row["earlier"], *said], ensure_ascii=False), "split": row["split"]}


# -- how things are damaged -----------------------------------------------------------------------------
def _altered(injector: Injector, text: str) -> str:
    way = int(injector.random.integers(5))
    if way == 0:
        return text.upper() if text.upper() != text else text.replace("，", " ").replace("。", ".")
    if way == 1:
        return "  ".join(part for part in text.replace(",", "").replace("，", "").replace(".", "").split(" ") if part)
    letters = [number for number, character in enumerate(text) if character.isalnum()]
    at = injector.choice(letters)
    other = text[injector.choice(letters)]
    if way == 2:
        return text[:at] + other + text[at + 1 :]
    if way == 3:
        return text[:at] + text[at + 1 :]
    words = text.split(" ")
    if len(words) < 20:
        return text[:at] + other + text[at:]
    gone = int(injector.random.integers(len(words)))
    return " ".join(words[:gone] + words[gone + 1 :])


def _misspelt(injector: Injector, name: str) -> str:
    if len(name) < 4:
        return injector.choice((f" {name}", f"{name} ", name.upper() if name.upper() != name else f"{name}."))
    at = int(injector.random.integers(1, len(name) - 1))
    return injector.choice(
        (
            name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            name[:at] + name[at + 1 :],
            name[:at] + name[at] + name[at:],
            name.upper() if name.upper() != name else f"{name} ",
            f" {name}",
        )
    )


def _is_sentence(text: str) -> bool:
    """Long enough that a person can tell which language it is in, and words rather than names and places."""
    letters = normalize(text)
    chinese = sum("\u4e00" <= character <= "\u9fff" for character in letters)
    return len(letters) >= 6 and chinese >= 4 if chinese else len(text.split()) >= 4


def _curly(text: str) -> str:
    """As a word processor writes it: English is ASCII but for its quotation marks."""
    return text.replace("'", "\u2019").replace(' "', " \u201c").replace('"', "\u201d").replace("--", "\u2014")


def _damaged(injector: Injector, text: str) -> str:
    way = int(injector.random.integers(5))
    chinese = any("\u4e00" <= character <= "\u9fff" for character in text)
    if way == 0:
        return text.encode("utf-8").decode("latin-1")
    if way == 1:
        return b"".join(
            bytes([byte]) if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else b"?" for byte in text.encode("utf-8")
        ).decode("cp1252")
    if way == 2 and chinese:
        return text.encode("utf-8").decode("gb18030", "replace")
    if way == 3 and chinese:
        return text.encode("gb18030").decode("latin-1")
    positions = [number for number, character in enumerate(text) if not character.isascii()]
    gone = set(injector.random.permutation(positions)[: max(len(positions) // 3, 1)].tolist())
    return "".join("\ufffd" if number in gone else character for number, character in enumerate(text))


def _secret(injector: Injector) -> str:
    digit = lambda count: "".join(map(str, injector.random.integers(0, 10, count)))  # noqa: E731
    word = lambda: injector.choice(("li.wei", "anna_schmidt", "wang88", "j.smith", "zhao-min", "m.mueller"))  # noqa: E731
    ways = (
        lambda: (
            f"{word()}{digit(2)}@{injector.choice(('gmail.com', 'qq.com', '163.com', 'web.de', 'mail.uni-ulm.de'))}"
        ),
        lambda: f"1{injector.choice('3456789')}{digit(9)}",
        lambda: f"+86 1{injector.choice('3589')}{digit(1)} {digit(4)} {digit(4)}",
        lambda: f"0{injector.choice(('10', '21', '755'))}-{injector.choice('23568')}{digit(7)}",
        lambda: f"+49 {injector.choice(('30', '171', '89'))} {digit(7)}",
        lambda: f"({injector.choice(('212', '415', '617'))}) {injector.choice('23456789')}{digit(2)}-{digit(4)}",
        lambda: _identity(injector, digit(3)),
        lambda: _card(injector.choice(("622202", "4556", "5412")) + digit(10)),
        lambda: _iban("DE", f"{injector.choice('123456789')}{digit(17)}"),
    )
    return injector.choice(ways)()


def _identity(injector: Injector, number: str) -> str:
    day = f"{injector.random.integers(1950, 2006)}{injector.random.integers(1, 13):02}{injector.random.integers(1, 29):02}"
    seventeen = f"{injector.choice(('110105', '310104', '440305', '510107'))}{day}{number}"
    return (
        seventeen
        + CHECK_DIGITS[sum(int(character) * weight for character, weight in zip(seventeen, WEIGHTS, strict=True)) % 11]
    )


def _card(digits: str) -> str:
    digits = digits[:15]
    doubled = [int(character) * (2 - i % 2) for i, character in enumerate(reversed(digits))]
    return digits + str(-sum(value - 9 * (value > 9) for value in doubled) % 10)


def _iban(country: str, account: str) -> str:
    rest = int("".join(str(int(character, 36)) for character in account + country + "00")) % 97
    return f"{country}{98 - rest:02}{account}"


def _pictured(row: dict) -> bool:
    """More on it than one colour."""
    return len(row["image"]["bytes"]) > 100


def _saved_anew(injector: Injector, image: Mapping) -> dict:
    from PIL import Image

    way = int(injector.random.integers(3))
    if way == 0:
        return dict(image)
    with Image.open(io.BytesIO(image["bytes"])) as picture:
        if way == 1:
            return {"bytes": _file(picture, "JPEG"), "path": None}
        return {
            "bytes": _file(picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.NEAREST), "PNG"),
            "path": None,
        }


def _file(picture, kind: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return out.getvalue()
