"""The rows of a data set as the checks read them: columns by what they are for, read once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset, is_compatible
from bigmodel.data_checks import image_hashes, minhash
from bigmodel.data_checks.image_hashes import ImageStats
from bigmodel.data_checks.message_texts import MESSAGES, MessageTexts, split_messages

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

ROW_COLUMN = "row"  # the column of an own data set that names its rows; elsewhere they are counted
READ_BUDGET_BYTES = 2 * 2**30  # of text read into memory; of a larger data set the beginning is looked at
HELD_OUT = ("validation", "test")


class Rows:
    """What the checks look at. Rows are addressed by their place; `ids` turns places into the names of rows."""

    def __init__(self, data: Dataset, budget: int = READ_BUDGET_BYTES):
        self.data = data
        self.table, self.total = _read(data, budget)
        learnt = _learned_columns(data)
        present = [name for name in data.columns if name in self.table.column_names]
        self.texts = [name for name in present if data.columns[name].kind == "text" and name in learnt]
        self.label = next((name for name in present if data.columns[name].kind == "class"), None)
        self.image = next((name for name in present if data.columns[name].kind == "image"), None)

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def is_translation(self) -> bool:
        return {"source", "target"} <= set(self.texts)

    @cached_property
    def ids(self) -> np.ndarray:
        """The names of the rows, by place."""
        import numpy as np

        if ROW_COLUMN in self.table.column_names:
            return self.table[ROW_COLUMN].to_numpy()
        return np.arange(1, len(self) + 1)  # as an own copy of what ships numbers them

    def ids_of(self, places) -> tuple[int, ...]:
        return tuple(int(self.ids[place]) for place in places)

    @cached_property
    def split(self) -> list[str]:
        return self.table["split"].to_pylist()

    def column_texts(self, column: str) -> Sequence[str]:
        """One column's texts, a row each; what is missing is empty. Of a conversation all that is said."""
        if column not in self._texts_cache:
            self._texts_cache[column] = self.message_texts(column).joined()
        return self._texts_cache[column]

    @cached_property
    def _texts_cache(self) -> dict[str, Sequence[str]]:
        return {}

    def message_texts(self, column: str) -> MessageTexts:
        """One column text by text: of a conversation each turn."""
        if column not in self._message_texts_cache:
            self._message_texts_cache[column] = split_messages(
                column, [text or "" for text in self.table[column].to_pylist()]
            )
        return self._message_texts_cache[column]

    @cached_property
    def _message_texts_cache(self) -> dict[str, MessageTexts]:
        return {}

    @cached_property
    def prompts(self) -> Sequence[str]:
        """What a model is given of each row's texts before it has to say something itself."""
        if MESSAGES in self.texts:
            return self.message_texts(MESSAGES).joined(leave_out=["assistant"])
        return self.column_texts("source" if self.is_translation else self.texts[0])

    @cached_property
    def labels(self) -> list:
        """What stands in the label column: places among the names, or names."""
        return self.table[self.label].to_pylist()

    @cached_property
    def class_names(self) -> tuple:
        """Of the classes, as they are shown."""
        return tuple(self.data.columns[self.label].names)

    @cached_property
    def normalized_texts(self) -> list[tuple[str, ...]]:
        """The learnt texts of each row without case, width, punctuation and spaces. Of a conversation what is asked and what is
        answered; what a system says, and the form of a question, is the same in many."""
        columns = [self.column_texts(name) for name in self.texts if name != MESSAGES]
        if MESSAGES in self.texts:
            turns = self.message_texts(MESSAGES)
            asked, answered = turns.joined(["system", "assistant"]), turns.joined(["system", "user", "tool"])
            columns += [minhash.without_boilerplate(asked), answered]
        return list(zip(*([minhash.normalize(text) for text in column] for column in columns), strict=True))

    @cached_property
    def near_duplicate_texts(self) -> dict[int, dict[int, float]]:
        """Place -> the other places whose texts are nearly the same -> how alike, 1 for equal when folded. Another question
        with the same answer is another conversation, and so is the same question with another answer."""
        found = minhash.find_near_duplicates(["\n".join(texts) for texts in self.normalized_texts])
        return minhash.similar_in_every_part(found, self.normalized_texts) if MESSAGES in self.texts else found

    @cached_property
    def pictures(self) -> list[ImageStats]:
        return list(self.inspect_images())

    def inspect_images(self):
        """Look at the pictures one by one; afterwards `pictures` holds what was seen."""
        if "pictures" in self.__dict__:
            yield from self.pictures
            return
        seen = []
        for part in self.table[self.image].chunks:
            for picture in part:
                seen.append(image_hashes.inspect_image((picture.as_py() or {}).get("bytes")))
                yield seen[-1]
        self.__dict__["pictures"] = seen

    @cached_property
    def near_duplicate_images(self) -> dict[int, dict[int, float]]:
        """Place -> the places of pictures that are nearly the same -> how alike."""
        return image_hashes.find_near_duplicates(self.pictures)


def _learned_columns(data: Dataset) -> set[str]:
    """The columns that a task learns from; a title or an author is only there to be read."""
    needs = {
        name for task in catalog.tasks().values() if is_compatible(task, dataset=data) for name in task.required_columns
    }
    return needs or {"text", "source", "target", "image", "label", "messages"}


def _read(data: Dataset, budget: int) -> tuple[pyarrow.Table, int]:
    """(the learnt columns of as many rows as the budget allows, how many rows there are)."""
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(data.path())
    wanted = [name for name in file.schema_arrow.names if name in (*data.columns, ROW_COLUMN, "split")]
    groups, spent = [], 0
    for number in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(number).total_byte_size
        if groups and spent + size > budget:
            break
        groups.append(number)
        spent += size
    return file.read_row_groups(groups, columns=wanted), file.metadata.num_rows
