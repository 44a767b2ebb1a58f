"""Data sets of the Hub, by their names: asked about, looked into, fetched. Runs in the reading process alone.

HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured by the libraries. No data set's own program is ever run: they
are read as tables. What is fetched is pinned to a commit.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.importing import preview as looking
from bigmodel.importing.formats.parquet import class_name
from bigmodel.importing.import_plan import split_in_name
from bigmodel.importing.store.parquet_writer import sha256

NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
PREVIEW = 200  # rows that are looked at
CARD_SHOWN_CHARACTERS, CARD_READ_CHARACTERS = (
    20_000,
    100_000,
)  # characters of a card that are shown, and that are read to find these
FRONT_MATTER = re.compile(r"\A\s*---\n.*?\n---\s*\n", re.DOTALL)  # of a card: YAML
HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CONFIGS = 100
BATCH = 500
NO_TRAIN_SPLIT = _("None of the wanted parts is for training, so the rows are cut anew.")
NO_TABLES_ERRORS = ("EmptyDatasetError", "DataFilesNotFoundError")  # of `datasets`: nothing in it is a table


def dataset_info(request: Mapping, tell: Callable) -> dict:
    """id, revision (a commit), licence, card, downloads, configs {name: {split: rows, 0 where nobody has counted}}.
    Of the configurations only the first is looked into: each takes several requests."""
    name, revision = str(request["id"]).strip(), str(request.get("revision") or "").strip() or None
    name = name.removeprefix("https://huggingface.co/datasets/").strip("/")
    if not NAME.fullmatch(name):
        what = _("{name} is no name of a data set.", name=name[:100] or "''")
        raise Refusal(what, do=_("Give it as owner/name, as the Hub shows it."), field="id")
    with translate_hub_errors(name):
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(name, revision=revision, timeout=20)
        if info.gated:
            HfApi().auth_check(name, repo_type="dataset")
        names = _configs(name, info.sha)
        configs = {config: {} for config in names} | {names[0]: _splits(name, names[0], info.sha)}
        told = _card(name, info.sha)
    card = info.card_data.to_dict() if info.card_data else {}
    return {
        "id": name,
        "revision": info.sha,
        "licence": _licence(card.get("license")),
        "card": (told or str(getattr(info, "description", "") or ""))[:CARD_SHOWN_CHARACTERS],
        "downloads": info.downloads or 0,
        "url": f"{_endpoint()}/datasets/{name}",
        "configs": configs,
    }


def _licence(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _configs(name: str, revision: str) -> list[str]:
    from datasets.inspect import get_dataset_config_names

    return get_dataset_config_names(name, revision=revision)[:CONFIGS]


def _splits(name: str, config: str, revision: str) -> dict[str, int]:
    """The parts of a configuration, with their rows where its authors or the Hub have counted them, else 0."""
    from datasets import load_dataset_builder

    builder = load_dataset_builder(name, config, revision=revision)
    counted = {str(split): one.num_examples or 0 for split, one in (builder.info.splits or {}).items()}
    found = counted or {str(split): 0 for split in builder.config.data_files or {}}
    if not found:
        what = _("{name} holds no tables that can be read.", name=name)
        raise Refusal(what, do=_("Choose another data set, or fetch its files and bring them."))
    return found


def splits(request: Mapping, tell: Callable) -> dict:
    """The parts of one more configuration of what `about` was asked about."""
    with translate_hub_errors(request["id"]):
        return {"splits": _splits(request["id"], request["config"], request["revision"])}


def _card(name: str, revision: str) -> str:
    """What the authors have written in README.md, without the facts for machines at its head; '' where there is none."""
    from huggingface_hub import errors, hf_hub_download

    try:
        path = hf_hub_download(name, "README.md", repo_type="dataset", revision=revision)
    except errors.EntryNotFoundError:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read(CARD_READ_CHARACTERS)
    return HTML_COMMENT.sub("", FRONT_MATTER.sub("", text)).strip()


def _stream(about: Mapping, split: str):
    """One split as it comes over the line; pictures stay the bytes they are."""
    from datasets import Image, load_dataset

    stream = load_dataset(about["id"], about["config"], split=split, revision=about["revision"], streaming=True)
    for name, feature in (stream.features or {}).items():
        if isinstance(feature, Image):
            stream = stream.cast_column(name, Image(decode=False))
    return stream


def _rows(stream) -> Iterator[dict]:
    names = {name: feature.names for name, feature in (stream.features or {}).items() if hasattr(feature, "names")}
    for row in stream:
        yield row | {name: class_name(row.get(name), known) for name, known in names.items()}


def preview(request: Mapping, tell: Callable) -> dict:
    """What the first rows are and could be used for, as of a file."""
    wanted = request["about"]
    folder = Path(request["folder"])
    first = next((split for split in wanted["splits"] if "train" in split), wanted["splits"][0])
    with translate_hub_errors(wanted["id"]):
        _write_parquet(_stream(wanted, first), PREVIEW, folder / "preview.parquet", first, lambda rows: None)
    corrected = dict(request.get("corrected") or {})
    said = [_("Revision {revision} of {name}, read as it comes over the line.",
              revision=wanted["revision"][:12], name=wanted["id"])]  # fmt: skip
    if "split" not in corrected and not any(split_in_name(split) == "train" for split in wanted["splits"]):
        corrected["split"] = ""
        said.append(NO_TRAIN_SPLIT)
    found = looking.preview_file(folder / "preview.parquet", "preview.parquet", corrected).to_json()
    return found | {"evidence": [*(one.to_json() for one in said), *found["evidence"]]}


def fetch(request: Mapping, tell: Callable) -> dict:
    """The wanted rows as `file`, a Parquet file with a column that names the split. sha256: of the source, which is the
    same whichever version of a library has written the file; content: of the file."""
    wanted, target = request["about"], Path(request["folder"]) / "file"
    counted = wanted["configs"][wanted["config"]]
    sizes = [min(counted[split], wanted["most"]) for split in wanted["splits"]]
    total = sum(sizes) if all(sizes) else 0  # 0: nobody knows
    count = 0

    def told(rows: int) -> None:
        nonlocal count
        count = rows
        tell(done=count, total=total, rows=count, aside=0)

    with translate_hub_errors(wanted["id"]):
        parts = []
        for number, split in enumerate(wanted["splits"]):
            part = target.with_name(f"part-{number}.parquet")
            before = count
            _write_parquet(_stream(wanted, split), wanted["most"], part, split,
                   lambda rows, before=before: told(before + rows))  # fmt: skip
            parts.append(part)
    _join(parts, target, wanted["id"])
    for part in parts:
        part.unlink()
    same = json.dumps([wanted[name] for name in ("id", "revision", "config", "splits", "most")])
    source = hashlib.sha256(same.encode()).hexdigest()
    return {"sha256": source, "bytes": target.stat().st_size, "content": sha256(target)}


def _join(parts: Sequence[Path], target: Path, name: str) -> None:
    """Parts as one file. A column that one of them lacks is empty there; one that holds two kinds of things is refused."""
    import pyarrow
    import pyarrow.parquet as parquet

    files = [parquet.ParquetFile(part) for part in parts]
    try:
        form = pyarrow.unify_schemas([file.schema_arrow for file in files], promote_options="permissive")
        with parquet.ParquetWriter(target, form, compression="zstd") as writer:
            for file in files:
                for batch in file.iter_batches(BATCH, use_threads=False):
                    writer.write_batch(_align_to_schema(batch, form))
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0][:200]
        what = _("The parts of {name} do not go together: {reason}.", name=name, reason=reason)
        raise Refusal(what, do=_("Choose one part of it, or fetch its files and bring them.")) from error


def _align_to_schema(batch, form):
    """A batch with the columns of a schema; one that it lacks is empty."""
    import pyarrow

    there = set(batch.schema.names)
    columns = [
        batch[one.name].cast(one.type) if one.name in there else pyarrow.nulls(len(batch), one.type) for one in form
    ]
    return pyarrow.RecordBatch.from_arrays(columns, schema=form)


def _write_parquet(stream, most: int, path: Path, split: str, tell: Callable[[int], None]) -> None:
    """The first rows as Parquet, in batches; the first batch says which columns there are."""
    import pyarrow
    import pyarrow.parquet as parquet

    part = split_in_name(split) or split
    rows, writer, count = itertools.islice(_rows(stream), most), None, 0
    while batch := list(itertools.islice(rows, BATCH)):
        for row in batch:
            row["split"] = row.get("split") if isinstance(row.get("split"), str) else part
        table = pyarrow.Table.from_pylist(batch, schema=writer.schema if writer else None)
        if writer is None:
            writer = parquet.ParquetWriter(
                path, _resolve_null_types(table.schema, stream.features or {}), compression="zstd"
            )
            table = table.cast(writer.schema)
        writer.write_table(table)
        count += len(batch)
        tell(count)
    if writer is None:
        raise Refusal(_("The part {name} has no rows.", name=split), do=_("Choose another part."))
    writer.close()


def _resolve_null_types(schema, features: Mapping):
    """A column that holds nothing in the first rows is what its authors say, else text."""
    import pyarrow
    from datasets import Value

    said = {name: feature.pa_type for name, feature in features.items() if isinstance(feature, Value)}
    return pyarrow.schema(
        [
            (one.name, said.get(one.name, pyarrow.string()) if pyarrow.types.is_null(one.type) else one.type)
            for one in schema
        ]
    )


@contextmanager
def translate_hub_errors(name: str) -> Iterator[None]:
    """What the Hub's client raises, in words: missing, gated, offline, broken."""
    from huggingface_hub import errors

    try:
        yield
    except Refusal:
        raise
    except errors.GatedRepoError:
        what = _("{name} is only given to people who have agreed to its terms.", name=name)
        do = _("Agree to them on the Hub, and set {variable} to a token of yours.", variable="HF_TOKEN")
        raise Refusal(what, do=do) from None
    except errors.RevisionNotFoundError:
        raise Refusal(_("{name} has no such revision.", name=name), do=_("Leave it empty for the newest.")) from None
    except errors.RepositoryNotFoundError:
        what = _("There is no data set {name} on the Hub, or it is private.", name=name)
        do = _("Look at the spelling; for a private one, set {variable} to a token of yours.", variable="HF_TOKEN")
        raise Refusal(what, do=do) from None
    except errors.OfflineModeIsEnabled:
        what = _("bigmodel is told to stay offline ({variable}).", variable="HF_HUB_OFFLINE")
        raise Refusal(what, do=_("Take that back, or bring the data as a file.")) from None
    except MemoryError:
        raise
    except Exception as error:  # the libraries raise dozens of kinds: of the net, of the files, of their own
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        if type(error).__name__ in NO_TABLES_ERRORS:
            raise Refusal(
                _("{name} holds no tables that can be read.", name=name),
                do=_("Choose another data set, or fetch its files and bring them."),
            ) from error
        if _is_network_error(error):
            what = _("The Hub cannot be reached: {reason}.", reason=reason)
            raise Refusal(
                what, do=_("Look at the network, or set {variable} to a mirror.", variable="HF_ENDPOINT")
            ) from error
        raise Refusal(
            _("{name} cannot be read: {reason}.", name=name, reason=reason),
            do=_("Choose another data set, or fetch its files and bring them."),
        ) from error


def _is_network_error(error: BaseException | None) -> bool:
    names = set()
    while error is not None:
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__ or error.__context__
    return bool(
        names & {"ConnectError", "ConnectTimeout", "ReadTimeout", "ConnectionError", "TimeoutException", "HTTPError"}
    )


HANDLERS = {"about": dataset_info, "splits": splits, "preview": preview, "fetch": fetch}
