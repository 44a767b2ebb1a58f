"""How many faults the checks find: `python -m benchmarks.quality.planted_faults` plants them into real rows and counts."""

from __future__ import annotations

import argparse
import io
import json
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import SequenceMatcher
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks import report_page
from bigmodel.core import catalog
from bigmodel.core.contracts import Column, Dataset
from bigmodel.data.prepare import SPLITS
from bigmodel.data_checks.checks.imbalance import RATIO
from bigmodel.data_checks.checks.personal_data import CHECK_DIGITS, WEIGHTS
from bigmodel.data_checks.minhash import normalize
from bigmodel.data_checks.run_checks import CheckReport, run_checks

FILE = Path(__file__).with_name("planted_figures.json")
MARKS = report_page.marks("python -m benchmarks.quality.planted_faults", "planted faults")
# Thresholds were chosen on the first sets and are judged on the second, where nobody had looked.
SETS = {
    "tuning": (1, ("poetry_zh", "en_de", "digits", "dialogue_en")),
    "report": (24000, ("prose_zh", "classics_en", "en_zh", "fashion_mnist", "dialogue_zh")),
}
CLASSES = {"poetry_zh": "dynasty", "prose_zh": "book", "classics_en": "title"}  # what serves as a class
GOALS = {"found": 0.95, "wrongly": 0.01}
STOPS = ".!?…。！？"
REALLY = 0.85  # of the characters of two rows, those that both have in the same order: then they are alike indeed
COMMON = 12  # times as many rows as a misspelling gets: one slips now and then, not most of the time
SHARE, LEAST = 0.01, 40  # of the rows get a fault, and at least so many
TEXTS = (
    "text",
    "source",
    "target",
    "question",
    "answer",
)  # that faults are planted into; the last two of conversations
RARE = 12  # times as many rows as a class that is made rare


class Planted(Dataset):
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
class Bed:
    """What is planted into: the rows of a data set, and a random generator. `guilty` collects the planted places;
    `akin` those that a check may name in their place: the row that a copy was made of."""

    dataset: Dataset
    rows: list[dict]
    columns: dict[str, Column]
    random: np.random.Generator

    def __post_init__(self):
        self.guilty: list[tuple[int, ...]] = []  # of each planted fault the places; one of them must be named
        self.free = list(self.random.permutation(len(self.rows)))

    @property
    def count(self) -> int:
        return max(int(len(self.rows) * SHARE), min(LEAST, len(self.rows) // 4))

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

    def take(self, fits: Callable[[dict], bool] = lambda row: True) -> int | None:
        """A row that nothing has been done to yet."""
        for number, place in enumerate(self.free):
            if fits(self.rows[place]):
                return int(self.free.pop(number))
        return None

    def places(self, fits: Callable[[dict], bool] = lambda row: True) -> Iterator[int]:
        for _time in range(self.count):
            place = self.take(fits)
            if place is None:
                return
            yield place

    def change(self, place: int, **cells: object) -> None:
        self.rows[place] = self.rows[place] | cells
        self.guilty.append((place,))

    def copy(self, place: int, **cells: object) -> None:
        """At the end, so that places stay what they are."""
        self.rows.append(self.rows[place] | cells)
        self.guilty.append((len(self.rows) - 1, place))

    def one_of(self, options: Sequence):
        return options[int(self.random.integers(len(options)))]


# -- the faults ----------------------------------------------------------------------------------------
def duplicates(bed: Bed) -> None:
    for place in bed.places():
        bed.copy(place)


def near_duplicates(bed: Bed) -> None:
    """A copy with a letter mistaken, a word more or less, another case, or other punctuation: up to a twentieth changed."""
    for place in bed.places(lambda row: len(normalize(row[bed.longest(row)])) >= 40):
        name = bed.longest(bed.rows[place])
        text = altered = bed.rows[place][name]
        while altered.strip() == text.strip():  # a letter that is exchanged for the same one makes a duplicate
            altered = _altered(bed, text)
        bed.copy(place, **{name: altered})


def leaks(bed: Bed) -> None:
    """A row of the test or validation part, half of them a little changed, among those for training."""

    def measured(row: dict) -> bool:
        return row["split"] != "train" and len(normalize(row[bed.longest(row)])) >= 40

    for number, place in enumerate(bed.places(measured)):
        name = bed.longest(bed.rows[place])
        text = bed.rows[place][name]
        bed.copy(place, split="train", **{name: text if number % 2 else _altered(bed, text)})


def empty(bed: Bed) -> None:
    nothing = (None, "", " ", "\n\n", "\u3000", "-", "???", "...", "NaN", "null", "N/A", "#REF!", "undefined")
    for place in bed.places():
        bed.change(place, **{bed.one_of(bed.texts): bed.one_of(nothing)})


def cut_in_a_sentence(bed: Bed) -> None:
    """Texts cut between a third and nine tenths, not where a sentence ends; of a pair that ends like sentences, one side; of
    answers those of thirty characters, as what cuts an answer is that it is long."""
    least = 20 if bed.sentences == bed.texts else 30

    def long(row: dict) -> bool:
        return all(len(row[name]) >= least and row[name].rstrip()[-1] in STOPS for name in bed.sentences)

    for place in bed.places(long):
        name = bed.one_of(bed.sentences)
        text = bed.rows[place][name].rstrip()
        end = int(len(text) * bed.random.uniform(0.33, 0.9))
        while end > 1 and not text[end - 1].isalnum():
            end -= 1
        bed.change(place, **{name: text[:end]})


def cut_at_a_length(bed: Bed) -> None:
    """Texts longer than nine in ten of them, cut there, where that is no sentence's end: what a narrow column does."""
    for name in bed.sentences:
        lengths = sorted(len(row[name]) for row in bed.rows)
        most = lengths[int(len(lengths) * 0.9)]
        for place, row in enumerate(bed.rows):
            if len(row[name]) > most:
                bed.rows[place] = row | {name: row[name][:most]}
                if row[name][:most].rstrip()[-1:] not in STOPS:
                    bed.guilty.append((place,))
        return


def label_typos(bed: Bed) -> None:
    """A letter swapped, left out or doubled, another case, a blank: a few misspellings, each in some rows."""
    names = [str(name) for name in bed.columns["label"].names]
    few = max(bed.count // 8, 3)
    counts = Counter(row["label"] for row in bed.rows)
    common = [place for place in range(len(names)) if counts[place] >= COMMON * few]
    fitting = [place for place in common if len(names[place]) >= 4] or common
    for _time in range(4):
        label = bed.one_of(fitting)
        wrong = _misspelt(bed, names[label])
        if wrong in names:
            continue
        names.append(wrong)
        for _place in range(few):
            place = bed.take(lambda row, label=label: row["label"] == label)
            if place is not None:
                bed.change(place, label=len(names) - 1)
    bed.columns["label"] = Column("class", bed.columns["label"].label, names=tuple(names))


def contradictions(bed: Bed) -> None:
    classes = range(len(bed.columns["label"].names))
    for place in bed.places():
        bed.copy(place, label=bed.one_of([label for label in classes if label != bed.rows[place]["label"]]))


def languages(bed: Bed) -> None:
    """Sentences of another language in the place of a text; of pairs also sides exchanged, and what was not translated."""
    others = {
        "text": {
            "poetry_zh": ("classics_en", "text"),
            "prose_zh": ("en_de", "source"),
            "classics_en": ("en_de", "target"),
        },
        "source": {"en_de": ("en_zh", "target"), "en_zh": ("en_de", "target")},
        "answer": {"dialogue_en": ("en_zh", "target"), "dialogue_zh": ("en_de", "source")},
    }
    name = bed.sentences[0]
    other, column = others[name][bed.dataset.name]
    foreign = [row[column] for row in _rows(catalog.dataset(other)) if _is_sentence(row[column])]
    pair = "target" in bed.texts
    for number, place in enumerate(bed.places(lambda row: all(_is_sentence(row[name]) for name in bed.sentences))):
        row = bed.rows[place]
        if pair and number % 3 == 1:
            bed.change(place, source=row["target"], target=row["source"])
        elif pair and number % 3 == 2:
            bed.change(place, target=row["source"])
        else:
            bed.change(place, **{name: bed.one_of(foreign)})


def encoding(bed: Bed) -> None:
    """UTF-8 read as cp1252, Latin-1 or GBK, GBK read as Latin-1, and characters lost: where a text is not ASCII."""

    def foreign(row: dict) -> bool:
        return any(sum(not sign.isascii() for sign in _curly(row[name])) >= 2 for name in bed.texts)

    for place in bed.places(foreign):
        name = max(bed.texts, key=lambda name: sum(not sign.isascii() for sign in _curly(bed.rows[place][name])))
        bed.change(place, **{name: _damaged(bed, _curly(bed.rows[place][name]))})


def personal(bed: Bed) -> None:
    """An invented address or number with right check digits, somewhere in a text."""
    for place in bed.places():
        name = bed.one_of(bed.texts)
        text = bed.rows[place][name]
        gaps = [0, len(text), *(number for number, sign in enumerate(text) if sign in " ，。\n")]
        at = bed.one_of(gaps)
        bed.change(place, **{name: f"{text[:at]} {_secret(bed)} {text[at:]}".strip()})


def broken_pictures(bed: Bed) -> None:
    for place in bed.places():
        data = bed.rows[place]["image"]["bytes"]
        cut = data[: int(len(data) * bed.random.uniform(0.2, 0.75))]  # what is left of all but the end can be read
        bed.change(
            place, image={"bytes": bed.one_of((cut, cut, b"", b"<html>404</html>", bytes(len(data)))), "path": None}
        )


def plain_pictures(bed: Bed) -> None:
    from PIL import Image

    for place in bed.places():
        with Image.open(io.BytesIO(bed.rows[place]["image"]["bytes"])) as picture:
            level = int(bed.random.integers(256))
            bed.change(
                place,
                image={
                    "bytes": _file(Image.new(picture.mode, picture.size, level), bed.one_of(("PNG", "JPEG"))),
                    "path": None,
                },
            )


def same_pictures(bed: Bed) -> None:
    """The same file, saved anew as a JPEG, or twice as large."""
    for place in bed.places(_pictured):
        bed.copy(place, image=_saved_anew(bed, bed.rows[place]["image"]))


def leaking_pictures(bed: Bed) -> None:
    for place in bed.places(lambda row: row["split"] != "train" and _pictured(row)):
        bed.copy(place, split="train", image=_saved_anew(bed, bed.rows[place]["image"]))


def contradicting_pictures(bed: Bed) -> None:
    contradictions(bed)


def missing_classes(bed: Bed) -> None:
    """All rows of a class taken out of the validation or the test part, and trained on instead."""
    _balanced(bed)
    for split in ("validation", "test"):
        there = sorted({row["label"] for row in bed.rows if row["split"] == split})
        if len(there) < 2:
            return
        label = bed.one_of(there)
        for place, row in enumerate(bed.rows):
            if row["label"] == label and row["split"] == split:
                bed.rows[place] = row | {"split": "train"}
        bed.guilty.append(_places_of(bed, label))


def rare_classes(bed: Bed) -> None:
    """Two classes thinned, one to a twelfth of the largest, one to four rows."""
    _balanced(bed)
    counts = Counter(row["label"] for row in bed.rows if row["split"] == "train")
    smaller = [label for label, _count in counts.most_common()[1:]]
    thinned = [int(label) for label in bed.random.permutation(smaller)[:2]] if len(smaller) > 1 else []
    for label, left in zip(thinned, (max(counts.values(), default=0) // RARE, 4), strict=False):
        spared = set(bed.random.permutation(_places_of(bed, label, "train"))[:left].tolist())
        bed.rows = [
            row
            for place, row in enumerate(bed.rows)
            if row["label"] != label or place in spared or (left > 4 and row["split"] != "train")
        ]
    bed.guilty += [_places_of(bed, label) for label in thinned]


def _balanced(bed: Bed) -> None:
    """Without the classes that are rare, or missing in a part, to begin with."""
    counts = {split: Counter(row["label"] for row in bed.rows if row["split"] == split) for split in SPLITS}
    train = counts["train"]
    whole = {label for label in train if all(counts.values()) and all(one[label] for one in counts.values())}
    kept = {label for label in whole if train[label] * RATIO > max(train[other] for other in whole)}
    bed.rows = [row for row in bed.rows if row["label"] in kept]


def _places_of(bed: Bed, label: int, split: str = "") -> tuple[int, ...]:
    return tuple(place for place, row in enumerate(bed.rows) if row["label"] == label and split in ("", row["split"]))


@dataclass(frozen=True)
class Fault:
    """What is planted, which check has to find it, and what data it can be planted into."""

    plant: Callable[[Bed], None]
    check: str
    title: str
    needs: str  # 'texts', 'label' (and texts), 'image', 'class' (of texts or pictures)
    really: Callable[[Mapping, Mapping], bool] | None = None  # by another measure than the check's: two rows are alike


def alike(one: Mapping, other: Mapping) -> bool:
    """Whether the texts of two rows have most characters in common, in the same order (Ratcliff, Obershelp 1988)."""
    texts = [normalize("\n".join(row[name] for name in TEXTS if name in row)) for row in (one, other)]
    return SequenceMatcher(None, *texts, autojunk=False).ratio() >= REALLY


FAULTS: Mapping[str, Fault] = {
    fault.plant.__name__: fault
    for fault in (
        Fault(duplicates, "duplicates", "duplicates", "texts"),
        Fault(near_duplicates, "near-duplicates", "near duplicates", "texts", lambda one, other: alike(one, other)),
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


# -- counting -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Count:
    """One kind of fault in one data set."""

    fault: str
    dataset: str
    planted: int
    found: int
    clean: int
    wrongly: int  # clean rows that were named
    before: int  # rows that were named before anything was planted
    really: int = 0  # of the rows that nothing was done to, those that are named and have the fault indeed: not clean


def count(fault: Fault, name: str, seed: int) -> Count | None:
    """Plant, look, count. None where the data cannot have this fault."""
    rows, columns = _bed_of(name)
    if not _suits(fault, columns):
        return None
    dataset = catalog.dataset(name)
    bed = Bed(dataset, rows, columns, np.random.default_rng([seed, *fault.plant.__name__.encode()]))
    before, _like = _named(fault, dataset, list(rows), dict(columns))
    fault.plant(bed)
    if not bed.guilty:
        return None
    named, like = _named(fault, dataset, bed.rows, bed.columns)
    guilty = {place for places in bed.guilty for place in places}
    hits = sum(bool(named & set(places)) for places in bed.guilty)
    really = {
        place
        for place in named - guilty
        if fault.really and place in like and fault.really(bed.rows[place], bed.rows[like[place]])
    }
    clean, wrongly = len(bed.rows) - len(guilty | really), len(named - guilty - really)
    return Count(fault.title, name, len(bed.guilty), hits, clean, wrongly, len(before), len(really))


def _suits(fault: Fault, columns: Mapping[str, Column]) -> bool:
    texts, label = bool({"text", "source", "messages"} & set(columns)), "label" in columns
    return {"texts": texts, "label": texts and label, "image": "image" in columns, "class": label}[fault.needs]


def _named(
    fault: Fault, dataset: Dataset, rows: list[dict], columns: Mapping[str, Column]
) -> tuple[set[int], dict[int, int]]:
    """(the places that are named, of some of them the place that they are like)."""
    with tempfile.TemporaryDirectory() as folder:
        planted = Planted(dataset, rows, Path(folder), columns)
        found = [part for part in run_checks(planted, only=(fault.check,)) if isinstance(part, CheckReport)][-1]
    named = {row - 1 for finding in found.findings for row in finding.rows}  # rows are counted from 1
    return named, {row - 1: other - 1 for finding in found.findings for row, other in finding.like.items()}


def _rows(dataset: Dataset) -> list[dict]:
    import pyarrow.parquet as parquet

    return parquet.read_table(dataset.path()).to_pylist()


def _bed_of(name: str) -> tuple[list[dict], dict[str, Column]]:
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
def _altered(bed: Bed, text: str) -> str:
    way = int(bed.random.integers(5))
    if way == 0:
        return text.upper() if text.upper() != text else text.replace("，", " ").replace("。", ".")
    if way == 1:
        return "  ".join(part for part in text.replace(",", "").replace("，", "").replace(".", "").split(" ") if part)
    letters = [number for number, sign in enumerate(text) if sign.isalnum()]
    at = bed.one_of(letters)
    other = text[bed.one_of(letters)]
    if way == 2:
        return text[:at] + other + text[at + 1 :]
    if way == 3:
        return text[:at] + text[at + 1 :]
    words = text.split(" ")
    if len(words) < 20:
        return text[:at] + other + text[at:]
    gone = int(bed.random.integers(len(words)))
    return " ".join(words[:gone] + words[gone + 1 :])


def _misspelt(bed: Bed, name: str) -> str:
    if len(name) < 4:
        return bed.one_of((f" {name}", f"{name} ", name.upper() if name.upper() != name else f"{name}."))
    at = int(bed.random.integers(1, len(name) - 1))
    return bed.one_of(
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
    chinese = sum("\u4e00" <= sign <= "\u9fff" for sign in letters)
    return len(letters) >= 6 and chinese >= 4 if chinese else len(text.split()) >= 4


def _curly(text: str) -> str:
    """As a word processor writes it: English is ASCII but for its quotation marks."""
    return text.replace("'", "\u2019").replace(' "', " \u201c").replace('"', "\u201d").replace("--", "\u2014")


def _damaged(bed: Bed, text: str) -> str:
    way = int(bed.random.integers(5))
    chinese = any("\u4e00" <= sign <= "\u9fff" for sign in text)
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
    places = [number for number, sign in enumerate(text) if not sign.isascii()]
    gone = set(bed.random.permutation(places)[: max(len(places) // 3, 1)].tolist())
    return "".join("\ufffd" if number in gone else sign for number, sign in enumerate(text))


def _secret(bed: Bed) -> str:
    digit = lambda count: "".join(map(str, bed.random.integers(0, 10, count)))  # noqa: E731
    word = lambda: bed.one_of(("li.wei", "anna_schmidt", "wang88", "j.smith", "zhao-min", "m.mueller"))  # noqa: E731
    ways = (
        lambda: f"{word()}{digit(2)}@{bed.one_of(('gmail.com', 'qq.com', '163.com', 'web.de', 'mail.uni-ulm.de'))}",
        lambda: f"1{bed.one_of('3456789')}{digit(9)}",
        lambda: f"+86 1{bed.one_of('3589')}{digit(1)} {digit(4)} {digit(4)}",
        lambda: f"0{bed.one_of(('10', '21', '755'))}-{bed.one_of('23568')}{digit(7)}",
        lambda: f"+49 {bed.one_of(('30', '171', '89'))} {digit(7)}",
        lambda: f"({bed.one_of(('212', '415', '617'))}) {bed.one_of('23456789')}{digit(2)}-{digit(4)}",
        lambda: _identity(bed, digit(3)),
        lambda: _card(bed.one_of(("622202", "4556", "5412")) + digit(10)),
        lambda: _iban("DE", f"{bed.one_of('123456789')}{digit(17)}"),
    )
    return bed.one_of(ways)()


def _identity(bed: Bed, number: str) -> str:
    day = f"{bed.random.integers(1950, 2006)}{bed.random.integers(1, 13):02}{bed.random.integers(1, 29):02}"
    seventeen = f"{bed.one_of(('110105', '310104', '440305', '510107'))}{day}{number}"
    return (
        seventeen + CHECK_DIGITS[sum(int(sign) * weight for sign, weight in zip(seventeen, WEIGHTS, strict=True)) % 11]
    )


def _card(digits: str) -> str:
    digits = digits[:15]
    doubled = [int(sign) * (2 - place % 2) for place, sign in enumerate(reversed(digits))]
    return digits + str(-sum(value - 9 * (value > 9) for value in doubled) % 10)


def _iban(country: str, account: str) -> str:
    rest = int("".join(str(int(sign, 36)) for sign in account + country + "00")) % 97
    return f"{country}{98 - rest:02}{account}"


def _pictured(row: dict) -> bool:
    """More on it than one colour."""
    return len(row["image"]["bytes"]) > 100


def _saved_anew(bed: Bed, image: Mapping) -> dict:
    from PIL import Image

    way = int(bed.random.integers(3))
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


# -- the page ---------------------------------------------------------------------------------------------
def section(known: Sequence[Count]) -> str:
    lines = [
        "| fault | data | planted | found | clean rows named | named before planting | of the rest, alike indeed |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for title in dict.fromkeys(one.fault for one in known):
        lines += [
            f"| {one.fault} | {one.dataset} | {one.planted} | {_share(one.found, one.planted, GOALS['found'], True)} "
            f"| {_share(one.wrongly, one.clean, GOALS['wrongly'], False)} | {one.before} | {one.really or ''} |"
            for one in known
            if one.fault == title
        ]
    return "\n".join(lines)


def _share(part: int, whole: int, goal: float, above: bool) -> str:
    share = part / max(whole, 1)
    text = f"{100 * share:.1f} %" if share else "0"
    return text if (share >= goal if above else share <= goal) else f"**{text}**"


def main(argv: Sequence[str] | None = None) -> int:
    """0: both goals were reached for every fault. 1: one was not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.planted_faults", description=__doc__)
    parser.add_argument("--set", choices=SETS, default="report", help="which data sets and seed (%(default)s)")
    parser.add_argument("--data", action="append", help="only this data set")
    parser.add_argument("--only", action="append", choices=FAULTS, help="only this fault")
    parser.add_argument("--seed", type=int, help="another seed than the set's own")
    parser.add_argument("--dry", action="store_true", help="print the figures, leave BENCHMARKS.md as it is")
    asked = parser.parse_args(argv)
    seed, names = SETS[asked.set]
    counts = []
    for name, fault in FAULTS.items():
        for data in asked.data or names:
            if asked.only and name not in asked.only:
                continue
            one = count(fault, data, seed if asked.seed is None else asked.seed)
            if one is not None:
                counts.append(one)
                print(
                    f"{name:24} {data:14} planted {one.planted:5} found {one.found:5} ({100 * one.found / one.planted:5.1f} %)"
                    f"  wrongly {one.wrongly:5} of {one.clean} ({100 * one.wrongly / one.clean:.2f} %), before {one.before},"
                    f" alike indeed {one.really}",
                    flush=True,
                )
    if asked.set == "report" and not (asked.dry or asked.only or asked.data or asked.seed is not None):
        keep(counts)
    missed = [
        one for one in counts if one.found < GOALS["found"] * one.planted or one.wrongly > GOALS["wrongly"] * one.clean
    ]
    print(f"{len(counts) - len(missed)} of {len(counts)} reach both goals")
    return 1 if missed else 0


def keep(counts: Sequence[Count]) -> None:
    packages = {name: version(name) for name in ("numpy", "scipy", "pillow", "py3langid")}
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": packages,
    }
    report_page.write(FILE, json.dumps(about | {"counts": [asdict(one) for one in counts]}, indent=1) + "\n")
    place = ", ".join(f"{name} {number}" for name, number in packages.items())
    text = f"{section(counts)}\n\nPython {about['python']}, {place}; {about['date']}."
    report_page.keep(report_page.PAGE, text, MARKS)


if __name__ == "__main__":
    sys.exit(main())
