"""The class that an export of a labelling tool says of a record, as a column of its own: Label Studio, Argilla, Prodigy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice

from bigmodel.core.words import Words, _
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.csv_json import Record

LABEL = "label"
PEEKED_RECORDS = 50  # of which one must be as a tool writes it
REJECTED_ANSWERS = ("reject", "ignore")  # Prodigy's for a class that is not meant
DISCARDED = ("discarded", "Discarded", "draft")  # Argilla's for an answer that is none


def with_labels(records: Iterator[Record]) -> Iterator[Record]:
    """Records with the class that their annotators chose; of files of no such tool as they are."""
    peeked = list(islice(records, PEEKED_RECORDS))
    tool = tool_of(record[1] for record in peeked if type(record) is not BadRecord)
    both = chain(peeked, records)
    return both if tool is None else map(LABELLERS[tool], both)


def tool_of(records: Iterator[Mapping]) -> str | None:
    return next((tool for record in records for tool, is_export in EXPORTS.items() if is_export(record)), None)


def evidence(records: Iterator[Mapping]) -> list[Words]:
    tool = tool_of(records)
    said = _("It is an export of {tool}: the column {name} is what the annotators chose.", tool=tool, name=LABEL)
    return [said] if tool else []


def _added(labels: Callable[[Mapping], Mapping[str, object]]) -> Callable[[Record], Record]:
    """To add columns to the records that can be read."""
    return lambda record: record if type(record) is BadRecord else (record[0], {**record[1], **labels(record[1])})


def _single(values: Sequence) -> object:
    """The one value on which all agree; else all of them. What marks a part of a text stays a list."""
    different = [value for index, value in enumerate(values) if value is not None and value not in values[:index]]
    return different[0] if len(different) == 1 and not isinstance(different[0], Mapping) else different or None


# -- Label Studio ------------------------------------------------------------------------------------
def _label_studio(task: Mapping) -> dict[str, object]:
    """By the name of each question. Choices are classes, everything else marks parts of a text."""
    answers: dict[str, list] = {}
    for annotation in task.get("annotations") or task.get("completions") or ():
        if not isinstance(annotation, Mapping) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or ():
            value = result.get("value") or {}
            chosen = value.get("choices")
            name = str(result.get("from_name") or LABEL)
            answers.setdefault(name, []).extend(chosen if isinstance(chosen, list) else [value])
    return _as_columns({name: _single(values) for name, values in answers.items()})


def _as_columns(answers: dict[str, object]) -> dict[str, object]:
    """The answer to the only question is the class, whatever the question is called."""
    return {LABEL: next(iter(answers.values()))} if len(answers) == 1 else answers or {LABEL: None}


# -- Argilla -----------------------------------------------------------------------------------------
def _argilla(record: Mapping) -> dict[str, object]:
    """Its second version has answers by question, or a list of users' answers; its first has an annotation."""
    responses = record.get("responses")
    if responses is None:
        return {LABEL: record.get("annotation")}
    answers: dict[str, list] = {}
    for name, value in responses.items() if isinstance(responses, Mapping) else ():
        given = [one for one in value or () if isinstance(one, Mapping) and one.get("status") not in DISCARDED]
        answers[name] = [one.get("value") for one in given]
    for response in responses if isinstance(responses, list) else ():
        if isinstance(response, Mapping) and response.get("status") not in DISCARDED:
            for name, value in (response.get("values") or {}).items():
                answers.setdefault(name, []).append(value.get("value") if isinstance(value, Mapping) else value)
    return _as_columns({name: _single(values) for name, values in answers.items()})


# -- Prodigy -----------------------------------------------------------------------------------------
def _prodigy(task: Mapping) -> dict[str, object]:
    if task.get("answer") in REJECTED_ANSWERS:
        return {LABEL: None, "answer": None if task["answer"] == "ignore" else task["answer"]}
    if isinstance(task.get("accept"), list):
        return {LABEL: _single(task["accept"])}
    return {LABEL: task.get("spans") or task.get(LABEL)}


EXPORTS: Mapping[str, Callable[[Mapping], bool]] = {
    "Label Studio": lambda record: (
        isinstance(record.get("data"), Mapping) and ("annotations" in record or "completions" in record)
    ),
    "Argilla": lambda record: (
        (isinstance(record.get("fields"), Mapping) and "responses" in record)
        or {"annotation", "prediction", "status"} <= set(record)
    ),
    "Prodigy": lambda record: "answer" in record and ("_input_hash" in record or "_task_hash" in record),
}
LABELLERS: Mapping[str, Callable[[Record], Record]] = {
    "Label Studio": _added(_label_studio),
    "Argilla": _added(_argilla),
    "Prodigy": _added(_prodigy),
}
