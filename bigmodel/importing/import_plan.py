"""How a file is read: its format, and which of its columns plays which role. Found by looking, corrected by people."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _

FORMATS: Mapping[str, Words] = {
    "csv": _("CSV, TSV"),
    "jsonl": _("JSON lines"),
    "json": _("JSON list"),
    "text": _("Text"),
    "parallel": _("Parallel text files"),
    "parquet": _("Parquet"),
    "pictures": _("Pictures"),
    "po": _("PO (gettext)"),
    "xliff": _("XLIFF"),
    "tmx": _("TMX"),
}
STORED_IMAGES = _(
    "Pictures larger than {side} x {side} pixels, or neither PNG nor JPEG, are kept smaller, as JPEG (up to 64 pixels as PNG); "
    "training, validation and test use what is kept.",
    side=limits.PICTURE_SIDE,
)
DELIMITERS: Mapping[str, Words] = {
    ",": _("comma"),
    "\t": _("tab"),
    ";": _("semicolon"),
    "|": _("vertical bar"),
    "": _("none: one column"),
}
UNITS: Mapping[str, Words] = {
    "lines": _("each line"),
    "paragraphs": _("each paragraph (blank lines between)"),
    "sections": _("each section (Markdown headings)"),
    "files": _("each file"),
    "whole": _("a piece of a whole text, which goes on in the next row"),
    "joined": _("a piece of one text that goes on from file to file"),
}
CONTINUOUS_UNITS = ("whole", "joined")  # rows are pieces of a text that goes on from one to the next
CONTINUOUS_SHARES = {"validation": 0.05, "test": 0.05}  # the first 90 % are for training, as usual for such texts
ROLES: Mapping[str, Words] = {
    "text": _("Text"),
    "label": _("Class"),
    "source": _("Source text"),
    "target": _("Translation"),
    "image": _("Picture"),
    "messages": _("Conversation"),
    "question": _("Question or instruction"),
    "context": _("Input to it"),
    "answer": _("Answer"),
    "system": _("System prompt"),
    "history": _("Earlier turns"),
}
ROLE_KINDS = {"text": "text", "label": "class", "source": "text", "target": "text", "image": "image",
              "messages": "text"}  # fmt: skip
ROLE_SETS = (
    {"text"},
    {"text", "label"},
    {"source", "target"},
    {"image", "label"},
    {"messages"},
    {"question", "answer"},
)
OPTIONAL_ROLES = {"messages": ("system",), "question": ("context", "system", "history")}  # what may come to a role
ENCODINGS = ("utf-8", "gb18030", "big5", "utf-16", "utf-32", "shift_jis", "euc_kr", "cp1252", "cp1251", "iso8859-1")
SPLITS: Mapping[str, str] = {
    "train": "train", "training": "train", "训练": "train", "训练集": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation", "验证": "validation",
    "验证集": "validation", "eval": "validation",
    "test": "test", "testing": "test", "测试": "test", "测试集": "test",
}  # fmt: skip
# words that say what lies in a folder and not of which class it is
CONTENT_WORDS = frozenset(["image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo", "photos", "jpg", "jpeg", "jpegimages", "png", "data", "dataset", "set", "raw", "file", "files", "frames", "upload", "uploads", "图片", "图像", "照片", "数据"])  # fmt: skip
# in a column of classes: what pandas takes for a missing value, and UCI's mark
MISSING_WORDS = frozenset(["NaN", "nan", "-NaN", "-nan", "NAN", "N/A", "n/a", "NA", "#N/A", "#N/A N/A", "#NA", "<NA>", "NULL", "null", "Null", "None", "NaT", "?", "-", "--"])  # fmt: skip
NO_TEXT_CODECS = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined")
CHOICES: Mapping[str, Iterable[str]] = {"format": FORMATS, "delimiter": DELIMITERS, "unit": UNITS}
MIN_SPLIT_SHARE, MAX_SPLIT_SHARE = 0.01, 0.4  # of the rows, for validation and for test


@dataclass(frozen=True)
class ImportPlan:
    """roles: role -> column of the file.  split: the column that says which rows are for training; '' to cut them here.
    member: the file inside an archive, '' for the file itself."""

    format: str
    roles: Mapping[str, str]
    encoding: str = "utf-8"
    delimiter: str = ","
    header: bool = True
    unit: str = "lines"
    member: str = ""
    labels: str = ""  # the file inside an archive of pictures that names their classes
    split: str = ""
    validation: float = 0.1
    test: float = 0.1
    literal_classes: tuple[str, ...] = ()  # words for a missing value, such as None, that are classes here

    def __post_init__(self):
        object.__setattr__(self, "literal_classes", tuple(self.literal_classes))  # which JSON has as a list

    @property
    def continuous(self) -> bool:
        return self.format == "text" and self.unit in CONTINUOUS_UNITS

    def to_json(self) -> dict:
        """Without what most plans do not say, so that they have the hashes that they have always had."""
        data = asdict(self) | {"roles": dict(self.roles), "literal_classes": list(self.literal_classes)}
        return data if self.literal_classes else {name: data[name] for name in data if name != "literal_classes"}

    @staticmethod
    def check(data: object) -> ImportPlan:
        """The plan in `data`; Refusal names what will not do."""
        if not isinstance(data, Mapping) or not {"format", "roles"} <= set(data):
            raise Refusal(_("This does not say how to read a file."), do=_("Give a format and roles."), field="plan")
        check_reading({name: value for name, value in data.items() if name != "roles"})
        plan = ImportPlan(**data)
        _check_roles(plan.roles)
        return plan


def check_reading(values: Mapping) -> None:
    """Refusal for the first of some values of a plan, all but its roles, that will not do, with those that would."""
    known = [one.name for one in fields(ImportPlan) if one.name != "roles"]
    for name, value in values.items():
        if name not in known:
            what = _("Nothing that says how a file is read is named {name}.", name=str(name)[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(known)), field="plan")
        options = CHOICES.get(name)
        if options is not None and not (isinstance(value, str) and value in options):
            raise _refused(name, value, ", ".join(map(repr, options)))
        if name == "encoding":
            _check_encoding(value)
        if name == "header" and not isinstance(value, bool):
            raise _refused(name, value, "on, off")
        if name == "literal_classes" and not (
            isinstance(value, list | tuple) and set(map(str, value)) <= MISSING_WORDS
        ):
            raise _refused(name, value, ", ".join(sorted(MISSING_WORDS)))
        if name in ("validation", "test") and not _is_share(value):
            raise _refused(name, value, f"{MIN_SPLIT_SHARE} ... {MAX_SPLIT_SHARE}")
        if name in ("member", "labels", "split") and not isinstance(value, str):
            raise _refused(name, value, "...")


def _is_share(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and MIN_SPLIT_SHARE <= value <= MAX_SPLIT_SHARE


def parse_split(name: str) -> str:
    """train, validation or test, by any of their names, also as train_images or val2017; '' for what is none of them."""
    name = name.strip().lower()
    if name in SPLITS or len(name) > 40:
        return SPLITS.get(name, "")
    words = [word for word in re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?:19|20)\d\d$", "", name)) if word]
    named = [word for word in words if word not in CONTENT_WORDS]
    return SPLITS.get(named[0], "") if len(named) == 1 else ""


def split_in_name(name: str) -> str:
    """The part that one of its words names, as in train-00000-of-00002 or test_sft."""
    return next((part for word in re.split(r"[\W\d_]+", name) if (part := parse_split(word))), "")


def are_trainable(roles: Iterable[str]) -> bool:
    """Whether columns of these roles make rows that can be learnt from."""
    roles = set(roles)
    return any(needed <= roles <= needed | set(optional_roles(needed)) for needed in ROLE_SETS)


def optional_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """Roles that may be given, too."""
    return tuple(one for role in roles for one in OPTIONAL_ROLES.get(role, ()))


def output_columns(roles: Iterable[str]) -> dict[str, str]:
    """The columns of the rows, with their kinds: questions and answers become conversations."""
    roles = list(roles)
    return {"messages": "text"} if {"answer", "messages"} & set(roles) else {role: ROLE_KINDS[role] for role in roles}


def splits_in_names(names: Sequence[str]) -> list[str]:
    """The part that each name says; '' for all where one says none, or none is for training."""
    parts = [split_in_name(name) for name in names]
    named = "train" in parts and "" not in parts and len(set(parts)) > 1
    return parts if named else [""] * len(parts)


@dataclass(frozen=True)
class FilePreview:
    """What was seen in a file: how it can be read, why we think so, and what comes out.

    columns: name -> {"examples": [...], "filled": share, "distinct": n}.  preview: the first rows by role.
    tables: the files inside an archive that could be read instead.
    """

    plan: ImportPlan | None
    evidence: tuple[Words, ...]
    columns: Mapping[str, Mapping] = field(default_factory=dict)
    preview: tuple[Mapping, ...] = ()
    rejected: tuple[Mapping, ...] = ()
    tables: tuple[str, ...] = ()
    bytes: int = 0
    rows: int = 0  # as many as there seem to be

    def to_json(self) -> dict:
        data = vars(self) | {"plan": self.plan.to_json() if self.plan else None, "aside": self.rejected}
        del data["rejected"]  # which bears its first name in JSON
        return data | {"evidence": [words.to_json() for words in self.evidence]}

    @staticmethod
    def from_json(data: Mapping) -> FilePreview:
        plan = ImportPlan(**data["plan"]) if data["plan"] else None
        evidence, rejected = tuple(map(Words.from_json, data["evidence"])), tuple(data["aside"])
        same = {name: data[name] for name in ("columns", "bytes", "rows")}
        return FilePreview(
            plan, evidence, preview=tuple(data["preview"]), rejected=rejected, tables=tuple(data["tables"]), **same
        )


def _refused(name: str, value: object, options: str) -> Refusal:
    what = _("{name} cannot be {value}.", name=name, value=str(value)[:60] or "''")
    return Refusal(what, do=_("Choose one of: {options}.", options=options), field=name)


def _check_encoding(name: object) -> None:
    """Any that Python reads text in; not its codecs for other things, which can unpack and execute."""
    try:
        known = isinstance(name, str) and codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):  # the second for a name with a zero byte
        known = False
    if not known or codecs.lookup(name).name in NO_TEXT_CODECS:
        raise _refused("encoding", name, ", ".join(ENCODINGS))


def _check_roles(roles: object) -> None:
    options = "; ".join(" + ".join(sorted(one)) for one in ROLE_SETS)
    named = isinstance(roles, Mapping) and all(isinstance(role, str) and role for role in roles.values())
    if roles == {}:
        what = _("It is not known which columns are to be learnt from.")
        raise Refusal(what, do=_("Choose columns for one of: {options}.", options=options), field="roles")
    if named and set(roles) == {"image"}:
        do = _("Put the pictures of each class into a folder of its own, or add a table that names them.")
        raise Refusal(_("Nothing says which class the pictures belong to."), do=do, field="roles")
    if not named or not are_trainable(roles):
        what = _("These roles do not make data that a model can learn from.")
        raise Refusal(what, do=_("Choose columns for one of: {options}.", options=options), field="roles")
    if len(set(roles.values())) < len(roles):
        what = _("One column cannot play two roles.")
        raise Refusal(what, do=_("Choose another column for one of them."), field="roles")
