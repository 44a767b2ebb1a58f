"""Broken files of every format that people bring, small, made here: what a fuzzer begins with and the tests compare."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache

REVIEWS = [("The film was good, the story even better", "good"), ("A boring plot and awful acting", "bad"),
           ("Really nice music and a great ending", "good"), ("Two hours of my life that I want back", "bad"),
           ("I would see it again at once", "good"), ("The worst sequel of them all", "bad"),
           ("A quiet, honest little picture", "good"), ("Loud, long and empty", "bad")]  # fmt: skip
PAIRS = [("Open the file", "打开文件"), ("Save all changes", "保存所有更改"), ("Close the window", "关闭窗口"),
         ("Print this page", "打印此页"), ("Undo the last step", "撤消上一步"), ("Choose a colour", "选择一种颜色")]  # fmt: skip


# -- whole ones, to break ----------------------------------------------------------------------------------
def csv(rows=REVIEWS, head="text,label") -> bytes:
    return (head + "\n" + "".join(f'"{text}",{label}\n' for text, label in rows)).encode()


def jsonl(rows=REVIEWS) -> bytes:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows).encode()


def json_list(rows=REVIEWS) -> bytes:
    return json.dumps([{"text": text, "label": label} for text, label in rows], indent=1).encode()


def text() -> bytes:
    return "\n\n".join(f"{one}\n{other}" for one, other in REVIEWS * 2).encode()


def po() -> bytes:
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    return (head + "".join(f'msgid "{one}"\nmsgstr "{other}"\n\n' for one, other in PAIRS)).encode()


def tmx(pairs=PAIRS, head: str = "") -> bytes:
    units = "".join(
        f'<tu><tuv xml:lang="en"><seg>{one}</seg></tuv><tuv xml:lang="zh"><seg>{other}</seg></tuv></tu>\n'
        for one, other in pairs
    )
    return (
        f'<?xml version="1.0"?>{head}\n<tmx version="1.4"><header srclang="en"/><body>\n{units}</body></tmx>'.encode()
    )


def xliff() -> bytes:
    units = "".join(f'<trans-unit id="{n}"><source>{one}</source><target>{other}</target></trans-unit>\n'
                    for n, (one, other) in enumerate(PAIRS))  # fmt: skip
    return f'<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2"><file><body>\n{units}</body></file></xliff>'.encode()


def picture(seed: int = 0, side: int = 12, format: str = "PNG") -> bytes:
    from PIL import Image

    image = Image.new("RGB", (side, side), (seed * 37 % 256, seed * 91 % 256, 120))
    image.putpixel((seed % side, seed // side % side), (255, 255, 255))
    out = io.BytesIO()
    image.save(out, format)
    return out.getvalue()


def archive(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def pictures() -> dict[str, bytes]:
    return {f"{'cats' if n % 2 else 'dogs'}/{n}.png": picture(n) for n in range(10)}


def parquet(columns: Mapping[str, list] | None = None) -> bytes:
    import pyarrow
    import pyarrow.parquet

    columns = columns or {"text": [one for one, _ in REVIEWS], "label": [other for _, other in REVIEWS]}
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


WHOLE: Mapping[str, Callable[[], bytes]] = {
    "whole.csv": csv, "whole.jsonl": jsonl, "whole.json": json_list, "whole.txt": text, "whole.po": po, "whole.tmx": tmx,
    "whole.xliff": xliff, "whole.parquet": parquet, "whole.zip": lambda: archive(pictures()),
    "whole.csv.gz": lambda: gzip.compress(csv(), mtime=0),
}  # fmt: skip


# -- broken ones -------------------------------------------------------------------------------------------
def lying_zip(size: int) -> bytes:
    """An archive whose directory says another size than what comes out."""
    data = bytearray(archive(pictures()))
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        struct.pack_into("<I", data, place + 24, size)
        place = data.find(b"PK\x01\x02", place + 4)
    return bytes(data)


def linked_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name, data in pictures().items():
            packed.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data)
        link = zipfile.ZipInfo("cats/link.png", (2024, 1, 1, 0, 0, 0))
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    return out.getvalue()


def locked_zip() -> bytes:
    data = bytearray(archive({"data.csv": csv()}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        data[start + place] |= 1
    return bytes(data)


def bomb_zip() -> bytes:
    return archive({"data.csv": b"text,label\n" + b"a" * 2**27 + b"\n" * 2**24})


def bomb_gzip() -> bytes:
    return gzip.compress(b"text,label\n" + b"0" * 300 * 2**20, mtime=0)


def huge_picture() -> bytes:
    """A PNG that says it has 4 billion pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


LAUGHS = '<!DOCTYPE t [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(8)) + "]>"  # fmt: skip
OUTSIDE = '<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@cache
def broken() -> dict[str, bytes]:
    """Name -> content of every broken file."""
    return (
        _tables()
        | _json()
        | _dialogues()
        | _texts()
        | _xml()
        | _packed()
        | _pictures()
        | _parquets()
        | _empty()
        | _others()
    )


def _empty() -> dict[str, bytes]:
    return {
        "empty.csv": b"", "empty.jsonl": b"", "empty.zip": archive({}), "blank.txt": b"  \n\n \t\n", "mark_only.csv": b"\xef\xbb\xbf",
        "head_only.csv": b"text,label\n", "two_rows.csv": csv(REVIEWS[:2]), "null_bytes.csv": bytes(2000),
        "empty_list.json": b"[]", "empty_objects.jsonl": b"{}\n{}\n{}\n", "one_line.txt": b"a single line of text\n",
    }  # fmt: skip


def _others() -> dict[str, bytes]:
    """Files of quite another kind, under names that promise data."""
    return {
        "report.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "pdf.csv": b"%PDF-1.7\n1 0 obj\n",
        "book.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "book.xlsx": archive({"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<workbook/>"}),
        "pack.7z": b"7z\xbc\xaf\x27\x1c" + bytes(50), "pack.rar": b"Rar!\x1a\x07\x01\x00" + bytes(50),
        "pack.bz2": b"BZh91AY&SY" + bytes(50), "pack.xz": b"\xfd7zXZ\x00" + bytes(50), "pack.zst": b"\x28\xb5\x2f\xfd" + bytes(50),
        "pack.tar": bytes(257) + b"ustar\x0000" + bytes(250), "base.db": b"SQLite format 3\x00" + bytes(100),
        "program.csv": b"\x7fELF\x02\x01\x01" + bytes(100), "program.exe": b"MZ\x90\x00" + bytes(100),
        "array.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}", "data.h5": b"\x89HDF\r\n\x1a\n" + bytes(50),
        "data.arrow": b"ARROW1\x00\x00" + bytes(50), "weights.gguf": b"GGUF\x03\x00\x00\x00" + bytes(50),
        "model.safetensors": struct.pack("<Q", 40) + b'{"w":{"dtype":"F32","shape":[1]}}       ' + bytes(4),
        "weights.pt": archive({"archive/data.pkl": b"\x80\x02}q\x00.", "archive/version": b"3\n"}),
        "rows.pkl": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00", "photo.png": picture(), "photo.jpg": picture(format="JPEG"),
        "photo.gif": picture(format="GIF"), "photo.webp": picture(format="WEBP"), "sound.wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
        "sound.mp3": b"ID3\x04\x00" + bytes(50), "page.html": b"<!DOCTYPE html><html><body>Hi</body></html>",
        "letter.rtf": b"{\\rtf1\\ansi Hello}", "noise.bin": bytes((n * 7919 + n // 3) % 256 for n in range(4000)),
    }  # fmt: skip


def _tables() -> dict[str, bytes]:
    good = csv()
    return {
        "unclosed_quote.csv": good + b'"a quote that is never closed,good\n' + csv()[11:],
        "stray_quote.csv": good + b'"one" more,good\n', "missing_fields.csv": good + b"only text\n",
        "extra_fields.csv": good + b"a,b,c,d\n", "bad_bytes.csv": good + b"caf\xe9 \xff\xfe,good\n",
        "zero_bytes.csv": good + b"a\x00b,good\n", "no_label.csv": good + b"some text,\n", "no_text.csv": good + b",good\n   ,bad\n",
        "blank_lines.csv": good + b"\n\n\n", "same_names.csv": csv(head="text,text"),
        "numbers_only.csv": b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(20)),
        "same_rows.csv": b"text,label\n" + b"the same,good\n" * 30, "long_cell.csv": good + b"x" * 1_000_001 + b",good\n",
        "old_mac.csv": good.replace(b"\n", b"\r"), "utf16.csv": good.decode().encode("utf-16"),
        "utf16_cut.csv": good.decode().encode("utf-16")[:-1] + b"\xd8",
        "gb18030.csv": ("文本,类别\n" + "".join(f"这个电影的情节我很喜欢{n}，好看的,{'好' if n % 2 else '差'}\n" for n in range(12))).encode("gb18030"),
        "gb18030_broken.csv": ("文本,类别\n" + "".join(f"这个电影的情节我很喜欢{n}，好看的,{'好' if n % 2 else '差'}\n" for n in range(12))).encode("gb18030") + b"\x81,\xff\n",
        "latin1.csv": b"text,label\n" + "".join(f"un café très très agréable numéro {n},{'été' if n % 2 else 'hiver'}\n" for n in range(12)).encode("latin-1"),
        "semicolons.csv": good.replace(b'",', b'";').replace(b"text,", b"text;"), "context.csv": b"context,label\n" + good[11:],
        "many_classes.csv": b"text,label\n" + b"".join(b"text number %d,class%d\n" % (n, n) for n in range(30)),
        "formula.csv": good + b"=cmd|' /C calc'!A0,good\n", "split_unknown.csv": b"text,label,split\n" + b"".join(
            b"text number %d,%s,%s\n" % (n, b"ab"[n % 2 : n % 2 + 1], b"train" if n % 3 else b"test") for n in range(30)),
        "turned_round.csv": good + "abc \u202egnp.exe,good\n".encode(),
    }  # fmt: skip


def _json() -> dict[str, bytes]:
    good = jsonl()
    return {
        "broken_line.jsonl": good + b'{"text": "cut of', "no_object.jsonl": good + b"[1, 2]\n42\nnull\n",
        "wrong_types.jsonl": good + b'{"text": 5, "label": "good"}\n{"text": "x", "label": {"a": 1}}\n{"text": ["x"], "label": "good"}\n',
        "missing_keys.jsonl": good + b'{"other": 1}\n', "surrogate.jsonl": good + b'{"text": "\\ud800", "label": "good"}\n',
        "deep.jsonl": good + b"[" * 5000 + b"]" * 5000 + b"\n", "nan.jsonl": good + b'{"text": NaN, "label": "good"}\n',
        "bad_bytes.jsonl": good + b'{"text": "caf\xe9", "label": "good"}\n', "control.jsonl": good + b'{"text": "a\\u0000b", "label": "good"}\n',
        "cut.json": json_list()[:-40], "broken_inside.json": json_list().replace(b'"label": "bad"', b'"label": bad', 1),
        "number.json": b"42", "object.json": b'{"a": 1, "b": 2}', "deep.json": b"[" * 3000, "strings.json": b'["a", "b", "c", "d"]',
        "conversation.jsonl": b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n' * 2
        + b'{"messages": [{"role": "user", "content": "Bye"}, {"role": "assistant", "content": "See you"}]}\n'
        + b'{"messages": [{"role": "user", "content": "Why"}, {"role": "assistant", "content": "Because"}]}\n'
        + b'{"messages": [{"role": "user", "content": "Nobody answers"}]}\n{"messages": []}\n{"messages": [{"role": "ghost", "content": "x"}]}\n',
    }  # fmt: skip


def _said(*turns: tuple[str, object]) -> bytes:
    """A line with a conversation of these messages."""
    return json.dumps({"messages": [{"role": who, "content": what} for who, what in turns]}).encode() + b"\n"


def _dialogues() -> dict[str, bytes]:
    """Conversations of every common form, some of which cannot be learnt from."""
    good = b"".join(_said(("user", f"Question {n}"), ("assistant", f"Answer {n}")) for n in range(6))
    alpaca = [
        {"instruction": f"Say the number {n}.", "input": "" if n % 2 else "in words", "output": f"It is {n}."}
        for n in range(8)
    ]
    share = [
        {"conversations": [{"from": "human", "value": f"Hi {n}"}, {"from": "gpt", "value": f"Hello {n}"}]}
        for n in range(8)
    ]
    pairs = "".join(f"What is {n} and {n}?,It is {2 * n}.\n" for n in range(8))
    return {
        "no_list.jsonl": good + b'{"messages": "hello"}\n{"messages": 5}\n{"messages": {"role": "user", "content": "a"}}\n{"messages": ["a", 1]}\n',
        "unknown_role.jsonl": good + _said(("ghost", "Boo"), ("assistant", "Oh")) + _said(("user", "A"), ("assistent", "B")),
        "empty_answer.jsonl": good + _said(("user", "A"), ("assistant", "")) + _said(("user", " "), ("assistant", "B")) + _said(("user", "A"), ("assistant", None)),
        "no_answer.jsonl": good + _said(("user", "Is somebody there?")) + _said(("system", "Be kind."), ("user", "Hello?")),
        "wrong_order.jsonl": good + _said(("assistant", "I begin"), ("user", "No")) + _said(("user", "A"), ("user", "B"), ("assistant", "C"))
        + _said(("user", "A"), ("system", "Late"), ("assistant", "C")),
        "control_in_answer.jsonl": good + _said(("user", "A"), ("assistant", "a\u0000b")),
        "alpaca.json": json.dumps([*alpaca, {"instruction": "Say nothing.", "input": "", "output": ""}, {"instruction": None, "output": "x"}, {"input": "x"}]).encode(),
        "sharegpt.json": json.dumps([*share, {"conversations": []}, {"conversations": [{"from": "gpt", "value": "I begin"}]}, {"conversations": [{"value": "who?"}]}]).encode(),
        "questions.csv": f"question,answer\n{pairs}only a question,\n,only an answer\n".encode(),
    }  # fmt: skip


def _texts() -> dict[str, bytes]:
    return {
        "folders.zip": archive({f"{'good' if n % 2 else 'bad'}/{n}.txt": f"a text with the number {n}".encode() for n in range(10)} | {
            "good/gbk.txt": "这个电影的情节很好看，我很喜欢。".encode("gb18030"), "good/empty.txt": b"", "good/bytes.txt": bytes(range(256)),
            "good/other.dat": b"x"}),
        "bad_bytes.txt": text() + b"\n\ncaf\xe9\xff\n", "one_long_line.txt": b"word " * 250_000,
        "same_lines.txt": b"again\n" * 50, "untranslated.po": po() + b'msgid "left"\nmsgstr ""\n',
        "fuzzy.po": po() + b'#, fuzzy\nmsgid "maybe"\nmsgstr "\xe4\xb9\x9f\xe8\xae\xb8"\n',
        "broken_entry.po": po() + b'msgid "never closed\nmsgstr "x"\n\nmsgid "fine"\nmsgstr "good"\n',
        "no_msgstr.po": b'msgid "a"\n\nmsgid "b"\n\n',
    }  # fmt: skip


def _xml() -> dict[str, bytes]:
    return {
        "laughs.tmx": tmx([("&g;", "x"), *PAIRS], LAUGHS), "outside.tmx": tmx([("&x;", "x"), *PAIRS], OUTSIDE), "cut.tmx": tmx()[:-60],
        "one_language.tmx": tmx().replace(b'xml:lang="zh"', b'xml:lang="en"'), "no_units.tmx": tmx([]),
        "half_pairs.tmx": tmx([*PAIRS, ("only here", "")]), "broken_tags.tmx": tmx().replace(b"</tuv>", b"</tu>", 3),
        "untranslated.xliff": xliff().replace(b"</body>", b"<trans-unit><source>left</source></trans-unit></body>"),
        "cut.xliff": xliff()[:-100], "other.xml": b'<?xml version="1.0"?><catalog><book/></catalog>',
        "encoding.tmx": tmx().replace(b'<?xml version="1.0"?>', b'<?xml version="1.0" encoding="no-such"?>'),
    }  # fmt: skip


def _packed() -> dict[str, bytes]:
    return {
        "cut.zip": archive(pictures())[:-200], "not_really.zip": b"PK\x03\x04" + bytes(100), "locked.zip": locked_zip(),
        "nothing_known.zip": archive({"a.exe": b"MZ", "b.dat": b"x"}), "lying_small.zip": lying_zip(3), "lying_large.zip": lying_zip(2**31),
        "links.zip": linked_zip(), "bomb.zip": bomb_zip(), "bomb.csv.gz": bomb_gzip(), "cut.csv.gz": gzip.compress(csv() * 50, mtime=0)[:-60],
        "not_really.csv.gz": b"\x1f\x8b\x08\x00" + bytes(50), "zip_in_zip.zip": archive({"inner.zip": archive(pictures())}),
        "table.zip": archive({"folder/data.csv": csv() + b"broken\n"}),
    }  # fmt: skip


def _pictures() -> dict[str, bytes]:
    good = pictures()
    return {
        "broken_picture.zip": archive(good | {"cats/broken.png": picture()[:40], "cats/text.png": b"no picture at all"}),
        "huge_picture.zip": archive(good | {"cats/huge.png": huge_picture()}),
        "outside.zip": archive(good | {"../../cats/out.png": picture(50), "/etc/cats/abs.png": picture(51), "C:/cats/c.png": picture(52)}),
        "devices.zip": archive(good | {"con/nul.png": picture(53), "aux/com1.png": picture(54)}),
        "long_names.zip": archive(good | {f"cats/{'n' * 251}.png": picture(55)}),
        "turned_names.zip": archive(good | {"ca\u202ets/\u202egnp.png": picture(56)}),
        "no_folders.zip": archive({f"{n}.png": picture(n) for n in range(6)}), "one_class.zip": archive({f"cats/{n}.png": picture(n) for n in range(6)}),
        "labels.zip": archive({f"{n}.png": picture(n) for n in range(10)} | {
            "labels.csv": b"file,class\n" + b"".join(b"%d.png,%s\n" % (n, b"odd" if n % 2 else b"even") for n in range(9))}),
        "labels_broken.zip": archive({f"{n}.png": picture(n) for n in range(6)} | {"labels.csv": b"\x00\x01\x02\x03" * 100}),
        "other_files.zip": archive(good | {"cats/readme.txt": b"hello", "Thumbs.db": b"x", "__MACOSX/cats/._1.png": b"x"}),
    }  # fmt: skip


def _parquets() -> dict[str, bytes]:
    good = parquet()
    middle = len(good) // 4
    return {
        "cut.parquet": good[:-30], "head_only.parquet": b"PAR1" + bytes(20) + b"PAR1", "damaged.parquet": good[:60] + bytes(40) + good[100:],
        "footer.parquet": good[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1", "flipped.parquet": good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :],
        "nulls.parquet": parquet({"text": ["one text", None, "two texts", "", "three texts", "four"], "label": ["a", "b", None, "a", "b", "a"]}),
        "numbers.parquet": parquet({"a": [1, 2, 3, 4], "b": [0.5, 1.5, 2.5, 3.5]}), "no_rows.parquet": parquet({"text": [], "label": []}),
        "no_pictures.parquet": parquet({"image": [b"none", b"of", b"these", b"is one"], "label": ["a", "b", "a", "b"]}),
    }  # fmt: skip
