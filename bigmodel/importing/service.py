"""Data sets as people look at them: rows, statistics, versions, originals, what was rejected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _, say
from bigmodel.data import browse
from bigmodel.data.browse import Page, RowQuery
from bigmodel.importing.store import originals, rejected_rows, repair_rows, versions
from bigmodel.importing.store.originals import Original
from bigmodel.importing.store.registry import DatasetRegistry


class DataService:
    """Those that ship and those of a home folder, by name. `registry`: those of the home folder alone."""

    def __init__(
        self,
        registry: DatasetRegistry,
        cache: Path,
        refuse_read_only: Callable[[], None],
        unfinished_runs: Callable[[], Mapping[str, RunSpec]],
    ):
        self.registry, self.cache = registry, cache
        self._refuse_read_only, self._unfinished_runs = refuse_read_only, unfinished_runs

    # -- rows ----------------------------------------------------------------------------------------
    def find_rows(self, dataset: str, query: RowQuery | None = None, start: int = 0, count: int = 50) -> Page:
        """Rows as a person reads them: text, the name of a class, pictures as PNG bytes, each with its number (`row`)
        and its part (`split`); and how many were found."""
        return browse.find(dataset, query or RowQuery(), start, count, self.cache)

    def peek(self, dataset: str, split: str = "train", start: int = 0, count: int = 50, search: str = "") -> list[dict]:
        """The columns alone of the rows of one part. `search` looks for a part of a text or of a class's name."""
        page = self.find_rows(dataset, RowQuery(split, search), start, count)
        return [{name: value for name, value in row.items() if name not in ("row", "split")} for row in page.rows]

    def rows_by_number(self, dataset: str, rows: Sequence[int]) -> list[dict]:
        """The rows of these numbers, each with its number (`row`) and its part (`split`)."""
        return browse.rows_by_number(dataset, rows, self.cache)

    def stats(self, dataset: str) -> dict:
        """rows {split: n}, lengths {text column: [(from, to, rows)] in characters, both inclusive},
        classes {name: rows}, bytes (of the file)."""
        return browse.dataset_stats(dataset, self.cache)

    # -- where they came from ------------------------------------------------------------------------
    def original(self, dataset: str) -> Original | None:
        """Where the file lies that a data set was made of, and how it was kept; None for what ships."""
        return originals.find(self.registry.folder / self.registry.version(dataset).slug)

    def rejected_rows(self, dataset: str, start: int = 0, count: int = 50) -> list[dict]:
        """{"row", "count", "raw", "reason", "cells"} of what could not be taken in; "picture": true where it has one that
        only lacks its class."""
        return list(islice(rejected_rows.entries(self.registry.version(dataset), start), count))

    def rejected_images(self, dataset: str, rows: Sequence[int]) -> dict[int, bytes]:
        """Thumbnails of such rows, by number."""
        return dict(rejected_rows.pictures(self.registry.version(dataset), rows))

    def rejected_csv(self, dataset: str, language: str) -> bytes:
        """All of them as CSV, to be repaired elsewhere and given back."""
        return repair_rows.to_csv(self.registry.version(dataset), lambda words: say(words, language))

    # -- changed -------------------------------------------------------------------------------------
    def set_newest(self, version: str) -> str:
        """From now on the data set's name means this version."""
        self._refuse_read_only()
        return versions.set_newest(self.registry, version)

    def delete(self, slug: str) -> None:
        """With all versions; refused while a run waits for it or is trained on it."""
        self._refuse_read_only()
        for run, spec in self._unfinished_runs().items():
            if spec.dataset.partition("@")[0] == slug:
                what = _("The run {run} needs this data set.", run=run)
                raise Refusal(what, do=_("Stop it first."), field="dataset")
        self.registry.delete(slug)
