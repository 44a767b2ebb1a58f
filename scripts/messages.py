"""Message catalogues: `update` takes up what the code says, `check` fails when a catalogue does not fit the code.

python scripts/messages.py update
python scripts/messages.py check
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
LOCALES = ROOT / "bigmodel" / "locale"
FOLDERS = ("bigmodel", "pages", "scripts")
KEYWORDS = {"_": None, "words": None}
PLACEHOLDER = re.compile(r"{(\w*)[^{}]*}")
ENGLISH = re.compile(r"[A-Za-z][A-Za-z0-9'-]*")
# What a Chinese engineer writes in Latin letters too.
TERMS = frozenset(
    re.split(
        r"\s+",
        "tuv seg AdamW Adam SGD GPT BERT LSTM ViT ResNet CNN BPE BLEU chrF F1 MSE Top-p Top-k Softmax softmax JSON CSV PNG JPEG WebP GIF "
        "CPU GPU CUDA MPS Apple fp32 bf16 bigmodel transformers Python Transformer MB GB kB ms Attention Is All You Need "
        "Fashion-MNIST ID NaN ReLU English HTTP URL "
        "TSV TXT Markdown Lines Parquet ZIP RAR PDF Office SQLite NumPy HDF5 Arrow gzip bzip2 xz zstd tar pickle PO gettext fuzzy "
        "LoRA rsLoRA DoRA LoHa LoKr IA QLoRA alpha NVIDIA bitsandbytes safetensors dropout BIGMODEL DATA ROOTS HF TOKEN HUB OFFLINE GGUF config json run "
        "XLIFF TMX XML UTF Hub Hugging Face SHA 7z TF-IDF n-gram "
        "TER ROC-AUC AP ECE BCa McNemar Cohen's Holm "
        "NLLB mBART M2M100 T5 zh en zho Hans auto tokenizer Shift Enter TPE Hyperband",
    )
)
HIDDEN = re.compile(r"""\bf(["']).*?\{_\(""")  # a sentence inside an f-string, where extraction does not look
HEADER = "# What bigmodel says, in another language. Kept complete by scripts/messages.py."
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)  # the catalogue's own dates would change at each update and say nothing


def from_code() -> Catalog:
    """Every sentence of the code, with the files it stands in."""
    catalog = Catalog(project="bigmodel", charset="utf-8")
    for folder in FOLDERS:
        found = extract_from_dir(
            ROOT / folder,
            method_map=[("**.py", "python")],
            keywords=KEYWORDS,
            options_map={"**.py": {"encoding": "utf-8"}},
        )
        for file, _line, message, _comments, _context in found:
            if message:
                catalog.add(message, locations=[(f"{folder}/{file}", None)])
    return catalog


def path(language: str) -> Path:
    return LOCALES / language / "LC_MESSAGES" / "bigmodel.po"


def languages() -> list[str]:
    return sorted(folder.name for folder in LOCALES.iterdir() if folder.is_dir())


def load(language: str) -> Catalog:
    if not path(language).exists():
        return Catalog(locale=language, project="bigmodel", charset="utf-8", fuzzy=False)
    with path(language).open("rb") as file:
        return read_po(file, locale=language)


def save(language: str, catalog: Catalog) -> None:
    catalog.header_comment = HEADER
    catalog.creation_date = catalog.revision_date = LONG_AGO
    catalog.last_translator, catalog.language_team, catalog.msgid_bugs_address = "bigmodel", "bigmodel", ""
    with path(language).open("wb") as file:
        write_po(file, catalog, sort_output=True, width=0, ignore_obsolete=True)


def update() -> int:
    """Take up new sentences, drop those that are gone; what is translated stays."""
    code = from_code()
    for language in languages():
        catalog = load(language)
        catalog.update(code, no_fuzzy_matching=True, update_header_comment=False)
        catalog.obsolete.clear()
        missing = [message.id for message in catalog if message.id and not message.string]
        save(language, catalog)
        print(f"{language}: {len(catalog)} sentences, {len(missing)} to translate")
    return 0


def hidden() -> Iterator[str]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
                if HIDDEN.search(line):
                    yield f"a sentence inside an f-string: {file.relative_to(ROOT)}:{number}"


def problems(language: str) -> Iterator[str]:
    """What does not fit: missing, stale, other placeholders, English left over."""
    code, catalog = from_code(), load(language)
    ids = {message.id for message in code if message.id}
    known = {message.id: message for message in catalog if message.id}
    for text in sorted(ids - set(known)):
        yield f"not in the catalogue: {text!r}"
    for text in sorted(set(known) - ids):
        yield f"no longer in the code: {text!r}"
    for text in sorted(ids & set(known)):
        message = known[text]
        if not message.string or message.fuzzy:
            yield f"not translated: {text!r}"
            continue
        if sorted(PLACEHOLDER.findall(text)) != sorted(PLACEHOLDER.findall(message.string)):
            yield f"other placeholders: {text!r} -> {message.string!r}"
        left = english(message.string)
        if left:
            yield f"English left ({', '.join(left)}): {message.string!r}"


def english(text: str) -> list[str]:
    """The English words of a translation that are no terms."""
    text = re.sub(r":\w+(?:-\w+)*(?:/\w+)?:?(?=\[)|:material/\w+:|`[^`]*`", " ", PLACEHOLDER.sub(" ", text))
    return [word for word in ENGLISH.findall(text) if re.sub(r"-\d+$", "", word) not in TERMS and len(word) > 1]


def check() -> int:
    found = list(hidden())
    found += [f"{language}: {problem}" for language in languages() for problem in problems(language)]
    print("\n".join(found) or "the catalogues are complete")
    return 1 if found else 0


if __name__ == "__main__":
    verbs = {"update": update, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        sys.exit(f"usage: python scripts/messages.py {'|'.join(verbs)}")
    sys.exit(verbs[sys.argv[1]]())
