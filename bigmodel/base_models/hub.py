"""Models of the Hugging Face Hub by their id: looked at before anything large is fetched, fetched so that a broken
connection costs nothing, every file compared with the hash that the Hub names. Honours HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bigmodel.base_models import store, validate_folder
from bigmodel.core import files
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
INCOMING = ".incoming"
PARTIAL_DOWNLOAD_DAYS = 30  # for which what has arrived waits for somebody to go on with it
CHUNK_BYTES = 2**16  # bytes written at a time


@dataclass(frozen=True)
class HubModel:
    """A model of the Hub as it would be fetched: this revision, these files."""

    id: str
    revision: str  # of the commit: what is fetched later is what was looked at
    licence: str
    languages: tuple[str, ...]
    bytes: int
    files: Mapping[str, Mapping]  # name -> bytes, sha256 ('' for small ones, which git names by another hash)
    model_type: str
    parameters: int = 0  # as the Hub counts them; where it does not, about

    def to_json(self) -> dict:
        return asdict(self)


def model_info(id: str, revision: str = "") -> HubModel:
    """What there is under an id; Refusal where it cannot be fetched, or would not be let in."""
    _refuse_id(id)
    with _hub_errors_as_refusal(id):
        from huggingface_hub import HfApi

        info = HfApi().model_info(id, revision=revision or None, files_metadata=True, timeout=20)
    found = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    names = _select_files(found)
    card = info.card_data.to_dict() if info.card_data is not None else {}
    config = info.config or {}
    offer = HubModel(
        id=id,
        revision=info.sha or "",
        licence=_text(card.get("license")) or _tagged(info.tags, "license:") or "?",
        languages=tuple(_as_list(card.get("language"))),
        bytes=sum(found[name].size or 0 for name in names),
        files={
            name: {"bytes": found[name].size or 0, "sha256": getattr(found[name].lfs, "sha256", "") or ""}
            for name in names
        },
        model_type=_text(config.get("model_type")),
        parameters=_parameter_count(info) or sum(found[name].size or 0 for name in names if _is_weights(name)) // 2,
    )
    _refuse_offer(id, found, offer)
    return offer


def fetch(
    home: Path, id: str, revision: str = "", tell: Callable[[str, int, int], None] = lambda *_: None
) -> store.Base:
    """Fetch a model and take it in through the gate. What came before an interruption is kept and gone on from.

    `tell(phase, bytes done, bytes in all)`: 'looking', 'fetching', 'checking'.
    """
    tell("looking", 0, 0)
    offer = model_info(id, revision)
    folder = _download_folder(home, offer)
    files.make_folder(folder)
    done = 0
    weights = sorted(filter(_is_weights, offer.files))
    for name in [*sorted(offer.files.keys() - set(weights)), *weights]:
        if name == weights[0]:  # before the first large file
            validate_folder.validate_configs(folder)
            store.refuse_full_disk(home, offer.bytes - downloaded_bytes(home, offer))
        with _hub_errors_as_refusal(id):
            _download_file(offer, name, folder, lambda count, done=done: tell("fetching", done + count, offer.bytes))
        done += offer.files[name]["bytes"]
        tell("fetching", done, offer.bytes)
    tell("checking", done, offer.bytes)
    try:
        base = store.import_folder(
            home, folder, [folder.parent], title=id, source=f"Hub: {id}", revision=offer.revision,
            licence=offer.licence, languages=offer.languages, move=True,
        )  # fmt: skip
    except store.DiskFull:
        raise
    except Refusal:
        shutil.rmtree(folder, ignore_errors=True)  # it will never be let in
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return base


def downloaded_bytes(home: Path, offer: HubModel) -> int:
    """Bytes of it that have come before a connection broke, or somebody cancelled."""
    folder = _download_folder(home, offer)
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) if folder.is_dir() else 0


def remove_stale_downloads(home: Path) -> None:
    """Take away what has arrived of models that nobody has gone on with for a month."""
    for folder in (store.bases_folder(home) / INCOMING).glob("*"):
        if store.last_modified(folder) < time.time() - PARTIAL_DOWNLOAD_DAYS * 24 * 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _download_folder(home: Path, offer: HubModel) -> Path:
    return store.bases_folder(home) / INCOMING / f"{store.slug(offer.id)}-{offer.revision[:12] or 'main'}"


def _parameter_count(info: object) -> int:
    """What the Hub has read in the headers of the weights; 0 where it does not say."""
    total = getattr(getattr(info, "safetensors", None), "total", None)
    return total if isinstance(total, int) and total > 0 else 0


def _download_file(offer: HubModel, name: str, folder: Path, tell: Callable[[int], None]) -> None:
    """One file, from where it was broken off; with the size and hash that the Hub names, or not there."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES  # the client's own 10 MB are lost when the line breaks within them
    target, part = folder / name, folder / f".{name}.part"
    wanted = offer.files[name]
    if target.exists():
        return
    part.touch()
    with part.open("r+b") as data:
        have = data.seek(0, 2)
        if have > wanted["bytes"]:
            have = data.truncate(0)
            data.seek(0)
        url = hf_hub_url(offer.id, name, revision=offer.revision or None)
        http_get(
            url, data, resume_size=have, headers=build_hf_headers(), expected_size=wanted["bytes"],
            tqdm_class=_ProgressBar(tell),
        )  # fmt: skip
    with part.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest() if wanted["sha256"] else ""
    if digest != wanted["sha256"] or part.stat().st_size != wanted["bytes"]:
        part.unlink()
        what = _("{name} did not arrive as the Hub says it is: its hash is another.", name=name)
        raise Refusal(what, do=_("Try again; if it happens again, somebody on the way has changed it."), field="source")
    part.rename(target)


class _ProgressBar:
    """What http_get takes for a class of progress bars and for the bar itself: tells the bytes that are there."""

    def __init__(self, on_progress: Callable[[int], None]):
        self.on_progress, self.bytes = on_progress, 0

    def __call__(self, *_args: object, initial: int = 0, **_options: object) -> _ProgressBar:
        self.bytes = initial
        return self

    def update(self, count: int) -> None:
        self.bytes += count
        self.on_progress(self.bytes)

    def __enter__(self) -> _ProgressBar:
        return self

    def __exit__(self, *_error: object) -> None:
        pass


def _select_files(found: Mapping) -> list[str]:
    """The files that belong to the model, of the top folder alone; one set of weights where there are two."""
    names = {name for name in found if name in validate_folder.ALLOWED_FILES or _is_weights(name)}
    if "model.safetensors" in names:
        shards = {name for name in names if _is_weights(name) or name == validate_folder.WEIGHTS_INDEX}
        names -= shards - {"model.safetensors"}
    return sorted(names)


def _is_weights(name: str) -> bool:
    return validate_folder.WEIGHTS_PATTERN.fullmatch(name) is not None


def _refuse_id(id: str) -> None:
    if not MODEL_ID.fullmatch(id) or ".." in id:
        what = _("'{id}' is not the id of a model.", id=id[:80])
        raise Refusal(
            what, do=_("An id looks like this: {example}", example="HuggingFaceTB/SmolLM2-135M"), field="source"
        )


def _refuse_offer(id: str, found: Mapping, offer: HubModel) -> None:
    if not any(map(_is_weights, offer.files)):
        what = _("{id} has no weights in the form of safetensors.", id=id)
        others = sorted(
            {Path(name).suffix for name in found if Path(name).suffix in (".bin", ".pt", ".h5", ".gguf", ".msgpack")}
        )
        why = _("It has: {kinds}.", kinds=", ".join(others)) if others else None
        raise Refusal(what, why, _("Choose another model; pickled weights are not read."), field="source")
    if "config.json" not in offer.files:
        raise Refusal(_("{id} holds no model: there is no config.json.", id=id), field="source")
    if offer.model_type and validate_folder.find_family(offer.model_type) is None:
        what = _("This is a network of the kind '{kind}', which is not known here.", kind=offer.model_type[:40])
        raise Refusal(what, do=_("Known are: {kinds}.", kinds=", ".join(validate_folder.FAMILIES)), field="source")


@contextmanager
def _hub_errors_as_refusal(id: str) -> Iterator[None]:
    """What goes wrong between here and the Hub, in words."""
    from huggingface_hub import errors

    try:
        yield
    except Refusal:
        raise
    except errors.GatedRepoError as error:
        what = _("{id} is given out only to people who have agreed to its terms.", id=id)
        do = _("Agree on its page of the Hub, then set HF_TOKEN to a token of yours and try again.")
        raise Refusal(what, do=do, field="source") from error
    except errors.RevisionNotFoundError as error:
        raise Refusal(_("{id} has no such revision.", id=id), field="source") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        what = _("There is no model {id} on the Hub, or it is private.", id=id)
        do = _("Look for a typing mistake; for a private one set HF_TOKEN to a token of yours.")
        raise Refusal(what, do=do, field="source") from error
    except errors.OfflineModeIsEnabled as error:
        what = _("The Hub is switched off here by HF_HUB_OFFLINE.")
        raise Refusal(what, do=_offline(), field="source") from error
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            what = _("The Hub wants to know who asks for {id}.", id=id)
            raise Refusal(what, do=_("Set HF_TOKEN to a token of yours that may read it."), field="source") from error
        if isinstance(error, OSError) and not hasattr(error, "response") and error.errno is not None and error.strerror:
            raise
        reason = f"{type(error).__name__}" if status is None else f"{status}"
        what = _("The Hub cannot be reached ({reason}).", reason=reason)
        raise Refusal(what, do=_offline(), field="source") from error


def _offline():
    return _(
        "What has arrived is kept; try again with a network. Without one: copy the model's folder here by other means and take it in from there, or begin with a model that is included."
    )


def _text(value: object) -> str:
    return (
        value[:100] if isinstance(value, str) else ", ".join(map(str, value))[:100] if isinstance(value, list) else ""
    )


def _as_list(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value][:40] if isinstance(value, list) else []


def _tagged(tags: list[str] | None, start: str) -> str:
    return next((tag.removeprefix(start) for tag in tags or () if tag.startswith(start)), "")
