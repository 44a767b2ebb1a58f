"""Which column plays which role: by what stands in it, and by its name as whole words. 'text' is no part of 'context'."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

from bigmodel.core.words import Words, _
from bigmodel.importing.formats import chat_formats
from bigmodel.importing.formats.text_lines import join_lines
from bigmodel.importing.import_plan import MISSING_WORDS, parse_split

KNOWN_COLUMN_NAMES: Mapping[str, frozenset[str]] = {
    "text": frozenset(["text", "content", "review", "sentence", "body", "document", "tweet", "comment", "message", "poem", "para", "paragraphs", "lines", "verses", "article", "passage", "abstract", "summary", "文本", "内容", "正文", "评论", "句子", "文章", "诗", "诗句", "段落", "原文", "评价"]),
    "label": frozenset(["label", "labels", "class", "category", "categories", "tag", "topic", "sentiment", "intent", "genre", "rating", "stars", "polarity", "y", "target", "标签", "类别", "分类", "情感", "类型", "种类", "星级"]),
    "source": frozenset(["source", "src", "original", "input", "原文", "源文", "源语言", "en", "eng", "english", "英文", "英语", "question"]),
    "target": frozenset(["target", "tgt", "translation", "translated", "output", "trans", "译文", "目标", "翻译", "zh", "zho", "chinese", "中文", "汉语", "de", "deu", "german", "fr", "fra", "french", "es", "spanish", "ja", "japanese", "ru", "russian", "it", "ko", "pt", "法语", "德语", "日语"]),
    "image": frozenset(["image", "img", "picture", "photo", "file", "filename", "path", "图片", "图像", "文件名"]),
    "messages": frozenset(["messages", "conversation", "conversations", "dialog", "dialogue", "turns", "chat", "对话"]),
    "question": frozenset(["instruction", "instructions", "prompt", "question", "query", "ask", "指令", "问题", "提问", "问", "提示"]),
    "context": frozenset(["input", "context", "输入", "背景"]),
    "answer": frozenset(["output", "response", "answer", "completion", "reply", "chosen", "回答", "答案", "回复", "答", "输出"]),
    "system": frozenset(["system", "系统"]),
    "history": frozenset(["history", "历史"]),
    "split": frozenset(["split", "set", "part", "fold", "partition", "subset", "划分"]),
}  # fmt: skip
LANGUAGE_NAMES = frozenset(["en", "eng", "english", "英文", "英语", "zh", "zho", "cn", "chinese", "中文", "汉语", "de", "deu", "german", "fr", "fra", "french", "es", "spanish", "ja", "jp", "japanese", "ru", "russian", "it", "italian", "ko", "korean", "pt", "portuguese", "ar", "arabic", "法语", "德语", "日语", "韩语", "俄语"])  # fmt: skip
ID_COLUMN_NAMES = frozenset(
    [
        "id",
        "idx",
        "index",
        "uid",
        "uuid",
        "url",
        "link",
        "date",
        "time",
        "timestamp",
        "created",
        "编号",
        "序号",
        "链接",
        "日期",
        "时间",
    ]
)
TOOL_COLUMN_NAMES = frozenset(["tools", "functions"])  # beside a conversation
PROMPT_ROLES = ("question", "context", "system")  # beside an answer
MAX_CLASSES = 200  # different values beyond which a column is hardly a class


@dataclass(frozen=True)
class ColumnStats:
    """What stands in a column, by its first rows."""

    name: str
    fill_rate: float  # share of rows that have a value
    kind: str  # 'text', 'number', 'picture', 'messages', 'spans', 'classes', 'other', 'empty'
    distinct: int
    count: int
    mean_length: float  # length of its texts
    cjk_share: float  # share of Chinese, Japanese and Korean characters
    examples: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    values: frozenset[str] = frozenset()
    script: str = ""  # in which most of its letters are: LATIN, CYRILLIC, CJK ...
    question_share: float = 0.0  # of its texts that ask

    def to_json(self) -> dict:
        return {"kind": self.kind, "filled": self.fill_rate, "distinct": self.distinct, "examples": list(self.examples),
                "parts": _names_splits(self), "missing": sorted(MISSING_WORDS & self.values)}  # fmt: skip


QUESTION = re.compile(
    r"[?？؟][\s\"'”’)）]*$|[吗呢么嘛][。\s]*$|^\s*(?:what|who|whom|whose|which|when|where|why|how|is|are|was|were|do|does|did|can|"
    r"could|should|would|will)\b|什么|怎么|怎样|如何|为何|为什么|哪[里儿个些年种]|谁|多少|是否|几[个年月天岁]",
    re.IGNORECASE,
)
MIN_QUESTION_SHARE = 0.25  # of the texts of a column without a name ask: then the other one answers


def column_stats(name: str, values: Sequence[object]) -> ColumnStats:
    if _hold_lines(name, values):
        values = [join_lines(value) for value in values]
    values = [value[0] if isinstance(value, list) and len(value) == 1 and _is_scalar(value[0]) else value for value in values]  # fmt: skip
    there = [value for value in values if value is not None and value != "" and value != [] and value == value]
    kind = _kind(there)
    texts = [value if isinstance(value, str) else _plain(value) for value in there] if kind != "picture" else []
    joined = "".join(text[:200] for text in texts[:300])
    letters = sum(sign.isalpha() for sign in joined)
    nfc = partial(unicodedata.normalize, "NFC")
    distinct = {nfc(text[:200]) for text in texts}
    return ColumnStats(
        name=name,
        fill_rate=len(there) / max(len(values), 1),
        kind=kind,
        distinct=len(distinct),
        count=len(there),
        mean_length=sum(map(len, texts)) / max(len(texts), 1),
        cjk_share=sum("\u3040" <= sign <= "\u9fff" or "\uac00" <= sign <= "\ud7a3" for sign in joined)
        / max(letters, 1),
        examples=tuple(text[:200] for text in list(dict.fromkeys(map(nfc, texts)))[:5]),
        lengths=tuple(len(value) if isinstance(value, str) else 0 for value in values),
        values=frozenset(list(distinct)[: MAX_CLASSES + 1]),
        script=_main_script(joined[:2000]),
        question_share=sum(bool(QUESTION.search(text)) for text in texts[:300]) / max(len(texts[:300]), 1),
    )


def _main_script(text: str) -> str:
    scripts = Counter(unicodedata.name(sign, "").split(" ")[0] for sign in text if sign.isalpha())
    return max(scripts, key=scripts.__getitem__, default="")


def _hold_lines(name: str, values: Sequence[object]) -> bool:
    """Whether lists of texts are the lines of one text each; lists of a single one are more likely labels, and so are
    those that share most of what they hold."""
    lists = [value for value in values if isinstance(value, list) and join_lines(value) is not value]
    words, lines = set(name_words(name)), [line for value in lists for line in value]
    if words & KNOWN_COLUMN_NAMES["label"] or len(set(lines)) < len(lines) / 2:
        return False
    return any(len(value) > 1 for value in lists) or bool(lists and words & KNOWN_COLUMN_NAMES["text"])


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _kind(values: Sequence[object]) -> str:
    if not values:
        return "empty"
    share = {kind: sum(test(value) for value in values) / len(values) for kind, test in KIND_TESTS.items()}
    return next((kind for kind, part in share.items() if part >= KIND_THRESHOLDS.get(kind, 0.8)), "other")


def _is_messages(value: object) -> bool:
    if isinstance(value, str):
        if not value.startswith(("[{", "[[")):
            return False
        try:
            value = chat_formats.parse_json(value)
        except ValueError:
            return False
    if not isinstance(value, list) or not value or not isinstance(value[0], Mapping | list):
        return False
    try:
        said = list(chat_formats.messages(value[:4]))
    except ValueError:
        return False
    texts = [text for _role, text in said if text is not None]
    return (
        any(role in chat_formats.ROLE_NAMES for role, _text in said)
        and bool(texts)
        and all(isinstance(text, str) for text in texts)
    )


def is_spans(value: object) -> bool:
    """Whether it marks parts of a text: [[0, 4, "PER"]], [{"start": 0, "end": 4, "label": "PER"}]."""
    parts = value if isinstance(value, list | tuple) else [value]
    return bool(parts) and all(
        "start" in part or "start_offset" in part or "startOffset" in part if isinstance(part, Mapping)
        else isinstance(part, list | tuple) and len(part) >= 3 and all(isinstance(end, int) for end in part[:2])
        for part in parts
    )  # fmt: skip


def _are_classes(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(map(_is_scalar, value))


def _is_picture(value: object) -> bool:
    data = value.get("bytes") if isinstance(value, Mapping) else value
    return isinstance(data, bytes)


def _is_number(value: object) -> bool:
    if isinstance(value, bool | int | float):
        return True
    return isinstance(value, str) and bool(re.fullmatch(r"[-+]?[\d.,]+%?", value.strip()))


KIND_THRESHOLDS = {
    "messages": 0.5,
    "picture": 0.5,
    "spans": 0.5,
    "classes": 0.5,
}  # nothing else looks like these by chance
KIND_TESTS = {"messages": _is_messages, "picture": _is_picture, "spans": is_spans, "classes": _are_classes, "number": _is_number,
              "text": lambda value: isinstance(value, str)}  # fmt: skip


def name_words(name: str) -> list[str]:
    """A name's words: 'reviewText' is review and text, 'context' is one word. The whole name is one, too."""
    pieces = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[\u3040-\u9fff]+", name)
    return [name.strip().lower(), *(piece.lower() for piece in pieces)]


def name_matches(column: ColumnStats, role: str) -> bool:
    return any(part in KNOWN_COLUMN_NAMES[role] for part in name_words(column.name))


# -- choosing ----------------------------------------------------------------------------------------------
def choose(columns: Sequence[ColumnStats]) -> tuple[dict[str, str], str, list[Words]]:
    """(roles, the column of splits or '', why the roles). No roles where no column could play one."""
    split = next((column for column in columns if _is_split(column)), None)
    left = [column for column in columns if not _is_split(column) and column.kind != "empty"]
    for look in (
        _conversation_roles,
        _image_roles,
        _question_answer_roles,
        _translation_roles,
        _unnamed_question_answer_roles,
        _text_roles,
    ):
        roles, why = look(left)
        if roles:
            return roles, split.name if split else "", why
    return {}, "", [_("No column holds texts, pictures or conversations.")]


def _is_split(one: ColumnStats) -> bool:
    return 0 < one.distinct <= 4 and all(parse_split(value) for value in one.values)


def _names_splits(one: ColumnStats) -> bool:
    """Whether a person could mean it as the column that says which rows are for training."""
    return any(parse_split(value) for value in one.values)


def _conversation_roles(columns: Sequence[ColumnStats]) -> tuple[dict, list]:
    found = next(
        (column for column in columns if column.kind == "messages" and not name_matches(column, "history")), None
    )
    found = found or next((column for column in columns if _is_unknown_conversation(column)), None)
    if found is None:
        return {}, []
    roles, why = {"messages": found.name}, [_("The column {name} holds conversations.", name=found.name)]
    system = next(
        (
            column
            for column in columns
            if column is not found and column.kind == "text" and name_matches(column, "system")
        ),
        None,
    )
    if system is not None:
        roles["system"] = system.name
        why.append(_("The column {name} holds what the system says.", name=system.name))
    tools = next((column for column in columns if column.name.strip().lower() in TOOL_COLUMN_NAMES), None)
    if tools is not None:
        why.append(_("The column {name} describes tools and is left out; calls of tools are learnt as JSON.",
                     name=tools.name))  # fmt: skip
    return roles, why


def _is_unknown_conversation(column: ColumnStats) -> bool:
    """Whether it holds messages of speakers that are not known, which its rows are then refused for."""
    begins = re.compile(r'\[\{[^}]*"(?:role|from|speaker)":')
    return name_matches(column, "messages") and column.kind == "other" and all(map(begins.match, column.examples))


def _question_answer_roles(columns: Sequence[ColumnStats]) -> tuple[dict, list]:
    """Columns named as a question and its answer. 'input' and 'output' alone are a question and its answer where both are
    in one script, else more likely a translation."""
    texts = [column for column in columns if column.kind == "text"]
    spelled = [column for column in columns if column.kind in ("text", "number")]  # an answer may be a number
    answer = next((one for one in spelled if name_matches(one, "answer") and one.fill_rate > 0.5), None)
    if answer is None:
        return {}, []
    named = {
        role: next((text for text in texts if text is not answer and name_matches(text, role)), None)
        for role in PROMPT_ROLES
    }
    question, context = named["question"], named["context"]
    if question is None and context is not None and abs(context.cjk_share - answer.cjk_share) <= 0.6:
        question, context = context, None
    few = answer.distinct <= max(2, answer.count / 10)  # then it is a class
    if question is None or question.fill_rate < 0.5 or few:
        return {}, []
    roles = {"question": question.name, "answer": answer.name}
    why = [_("The columns {question} and {answer} hold questions or instructions and their answers.",
             question=question.name, answer=answer.name)]  # fmt: skip
    if context is not None and context is not question:
        roles["context"] = context.name
        why.append(_("The column {name} holds what an instruction is about.", name=context.name))
    if named["system"] is not None:
        roles["system"] = named["system"].name
        why.append(_("The column {name} holds what the system says.", name=named["system"].name))
    history = next(
        (column for column in columns if name_matches(column, "history") and column.kind in ("messages", "other")), None
    )
    if history is not None:
        roles["history"] = history.name
        why.append(_("The column {name} holds the turns before a question.", name=history.name))
    return roles, why


def _unnamed_question_answer_roles(columns: Sequence[ColumnStats]) -> tuple[dict, list]:
    """Two columns without names, of which the first asks more often than the second."""
    texts = [column for column in columns if column.kind in ("text", "number")]
    if len(texts) != 2 or not all(column.name.isdecimal() for column in texts) or texts[0].kind != "text":
        return {}, []
    question, answer = texts
    asks = question.question_share >= max(MIN_QUESTION_SHARE, answer.question_share + 0.1)
    few = min(column.distinct / max(column.count, 1) for column in texts) <= 0.3  # then one of them is a class
    if not asks or few:
        return {}, []
    why = _("{share} % of the texts in the column {question} are questions, so the column {answer} answers them.",
            share=round(100 * question.question_share), question=question.name, answer=answer.name)  # fmt: skip
    return {"question": question.name, "answer": answer.name}, [why]


def _image_roles(columns: Sequence[ColumnStats]) -> tuple[dict, list]:
    found = next((column for column in columns if column.kind == "picture"), None)
    if found is None:
        return {}, []
    label, why = _label_column([column for column in columns if column is not found])
    said = [_("The column {name} holds pictures.", name=found.name)]
    return ({"image": found.name, "label": label.name}, [*said, *why]) if label else ({"image": found.name}, said)


def missing_words(column: ColumnStats) -> tuple[set[str], set[str]]:
    """Words in a column of classes that stand for a missing one, and those that are classes after all: - beside +."""
    words = set(column.values) & MISSING_WORDS
    literal = words & {"-"} if "+" in column.values else set()
    return words - literal, literal


def _label_column(columns: Sequence[ColumnStats], text: ColumnStats | None = None) -> tuple[ColumnStats | None, list]:
    """A column with few different values: the one that is called a class, else the one with the fewest."""
    fitting = [
        column
        for column in columns
        if column is not text and column.kind in ("text", "number", "other") and column.fill_rate > 0.5 and 1 < column.distinct <= MAX_CLASSES
        and column.mean_length <= 60 and not set(name_words(column.name)) & ID_COLUMN_NAMES
        and (column.distinct <= max(2, column.count / 4) or (name_matches(column, "label") and column.distinct < column.count))
    ]  # fmt: skip
    best = min(fitting, key=_label_rank, default=None)
    if best is None or (best.kind == "number" and not name_matches(best, "label") and best.distinct > 20):
        return None, []
    why = _("The column {name} looks like a class: {distinct} different values in {count} rows.",
            name=best.name, distinct=best.distinct - len(missing_words(best)[0]), count=best.count)  # fmt: skip
    return best, [why]


def _label_rank(column: ColumnStats) -> tuple:
    exact = column.name.strip().lower() in KNOWN_COLUMN_NAMES["label"]
    return not name_matches(column, "label"), column.kind == "number", not exact, column.distinct


def _translation_roles(columns: Sequence[ColumnStats]) -> tuple[dict, list]:
    """Two columns of texts that say the same: by their names, or in two scripts with lengths that go together."""
    texts = [
        column
        for column in columns
        if column.kind == "text" and column.distinct > 1 and column.distinct > 0.3 * column.count
    ]
    best, best_score, why = None, 0.0, []
    for one, other in combinations(texts, 2):
        source, target = (one, other) if _is_source_first(one, other) else (other, one)
        named = name_matches(source, "source") and name_matches(target, "target")
        both = _is_language(source) and _is_language(target)
        scripts = abs(one.cjk_share - other.cjk_share) > 0.6 or _scripts_differ(one, other)
        together = correlation(one.lengths, other.lengths)
        score = 3.0 * (named or both) + 2.0 * scripts + together
        if score > best_score and (named or both or scripts) and together > (0.0 if named or both else 0.3):
            best, best_score = (source, target), score
            if named or both:
                why = [_("The columns {source} and {target} are named as a text and its translation.",
                         source=source.name, target=target.name)]  # fmt: skip
            else:
                why = [_("The columns {source} and {target} hold texts in two scripts, long and short together.",
                         source=source.name, target=target.name)]  # fmt: skip
    return ({"source": best[0].name, "target": best[1].name}, why) if best else ({}, [])


def _scripts_differ(one: ColumnStats, other: ColumnStats) -> bool:
    """Such as Latin and Cyrillic; how much of Japanese is kanji says nothing."""
    scripts = {one.script, other.script}
    return len(scripts) == 2 and not scripts & {"", "CJK"}


def _is_language(one: ColumnStats) -> bool:
    last = re.split(r"[._\s-]", one.name.strip().lower())[-1]
    return last in LANGUAGE_NAMES


def _is_source_first(one: ColumnStats, other: ColumnStats) -> bool:
    if name_matches(one, "source") != name_matches(other, "source"):
        return name_matches(one, "source")
    if name_matches(one, "target") != name_matches(other, "target"):
        return name_matches(other, "target")
    return True


def correlation(one: Sequence[int], other: Sequence[int]) -> float:
    """Of the lengths of two columns, row by row."""
    pairs = [(a, b) for a, b in zip(one, other, strict=False) if a and b]
    if len(pairs) < 3:
        return 1.0 if pairs else 0.0
    mean_a, mean_b = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    across = sum((a - mean_a) * (b - mean_b) for a, b in pairs)
    along = sum((a - mean_a) ** 2 for a, _b in pairs) * sum((b - mean_b) ** 2 for _a, b in pairs)
    return across / along**0.5 if along else 0.0


def _text_roles(columns: Sequence[ColumnStats]) -> tuple[dict, list]:
    """The column with the longest, most different texts; one that is called text before the others."""
    fitting = [
        column
        for column in columns
        if column.kind == "text" and column.fill_rate > 0.3 and not set(name_words(column.name)) & ID_COLUMN_NAMES
    ]
    label, why = _label_column(columns)
    fitting = [one for one in fitting if one is not label] or fitting
    best = max(
        fitting,
        key=lambda one: (_text_name_score(one), one.mean_length * min(1.0, one.distinct / max(one.count, 1))),
        default=None,
    )
    if best is None:
        return {}, []
    said = [_("The column {name} holds texts of {length} characters on average.",
              name=best.name, length=round(best.mean_length))]  # fmt: skip
    if label is None or label is best:
        label, why = _label_column(columns, best)
    unfit = next((column for column in columns if _is_unfit_label(column)), None)
    if unfit is not None and label is None:  # whose rows are refused, and say why
        return {"text": best.name, "label": unfit.name}, said
    if unfit is not None:
        why = [*why, _("The column {name} is left out: it marks parts of texts, or holds several classes of a row.", name=unfit.name)]  # fmt: skip
    return ({"text": best.name, "label": label.name}, [*said, *why]) if label else ({"text": best.name}, said)


def _is_unfit_label(column: ColumnStats) -> bool:
    """Whether annotators have said something there that is no class of a whole text."""
    return column.kind == "spans" or (column.kind == "classes" and name_matches(column, "label"))


def _text_name_score(one: ColumnStats) -> int:
    """2 where the whole name is that of a text, 1 where a word of it is and the texts are not short."""
    if one.name.strip().lower() in KNOWN_COLUMN_NAMES["text"] and one.distinct > 0.3 * one.count:
        return 2
    return int(name_matches(one, "text") and one.mean_length > 15)
