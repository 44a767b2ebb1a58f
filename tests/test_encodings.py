"""Encodings, names in archives and tags of languages: what is declared goes first, then what looks most like a language."""

import io
import struct
import subprocess
import sys
import zipfile
import zlib

import pytest

from bigmodel.importing.detect_format import detect_text_format
from bigmodel.importing.formats import translation_files, zip_archive
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.encodings import detect_encoding

TEXTS = [
    ("cp1251", "Привет, как дела?"),
    ("cp1251", "text,label\nотлично,pos\nплохо,neg"),
    ("cp1251", "Привіт, як справи сьогодні?"),
    ("koi8_r", "отличный товар, рекомендую"),
    ("shift_jis", "今日は天気がいいですね。"),
    ("shift_jis", "テスト"),
    ("euc_jp", "東京に行きます"),
    ("euc_kr", "저장하지 않고 종료"),
    ("gb18030", "打开文件"),
    ("gb18030", "苹果,香蕉"),
    ("big5", "打開檔案"),
    ("cp1252", "Das schöne Mädchen"),
    ("cp1252", "it’s fine"),
    ("cp1250", "Zażółć gęślą jaźń"),
    ("cp1253", "Καλημέρα κόσμε"),
]


@pytest.mark.parametrize(("encoding", "text"), TEXTS)
def test_short_texts_are_read_in_the_encoding_they_are_in(encoding, text):
    data = text.encode(encoding)
    assert data.decode(detect_encoding(data)[0]) == text


DECLARING = [
    ("gb2312", '"Content-Type: text/plain; charset=GB2312\\n"\nmsgid "lamp"\nmsgstr "灯"\n'),
    ("koi8-r", '<?xml version="1.0" encoding="KOI8-R"?><a>ДА</a>'),
    ("shift_jis", '<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">犬'),
    ("cp1251", "# -*- coding: cp1251 -*-\nДа\n"),
    ("iso8859-2", "# vim: set fileencoding=iso8859-2 :\nsă\n"),
]


@pytest.mark.parametrize(("encoding", "text"), DECLARING)
def test_what_a_text_declares_goes_before_what_it_looks_like(encoding, text):
    found, why = detect_encoding(text.encode(encoding))
    assert text.encode(encoding).decode(found) == text and "says of itself" in str(why[0])


def test_a_wrong_declaration_is_not_believed():
    text = '"Content-Type: text/plain; charset=GB2312\\n"\nmsgid "lamp"\nmsgstr "灯已经打开了"\n'
    assert detect_encoding(text.encode())[0] == "utf-8"


def test_two_readings_that_are_close_are_shown_side_by_side():
    said = " ".join(map(str, detect_encoding("să fie bine mâine".encode("cp1250"))[1]))
    assert "sã fie bine mâine" in said and "să fie bine mâine" in said


# -- names in archives -------------------------------------------------------------------------------------
def names_read(tmp_path, names, encoding):
    """An archive whose names are in an encoding that it does not tell."""
    out, central = b"", b""
    for name in names:
        raw = name.encode(encoding)
        head = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0x21, zlib.crc32(b"x"), 1, 1, len(raw), 0)
        central += b"PK\x01\x02\x14\x00" + head + struct.pack("<HHHII", 0, 0, 0, 0, len(out)) + raw
        out += b"PK\x03\x04" + head + raw + b"x"
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(names), len(names), len(central), len(out), 0)
    (tmp_path / "a.zip").write_bytes(out + central + end)
    with zip_archive.open_zip(tmp_path / "a.zip") as packed:
        return [entry.name for entry in zip_archive.entries(packed)]


NAMES = [
    ("cp932", ["写真/ソース/0.png", "写真/能力/1.png"]),
    ("cp932", ["テスト.txt"]),
    ("gb18030", ["图片/猫/1.png", "图片/狗/2.png"]),
    ("big5", ["圖片/貓/1.png", "圖片/狗/2.png"]),
    ("cp866", ["Кошки/фото.jpg", "Собаки/фото.jpg"]),
    ("cp437", ["Bücher/Größe.txt", "été/1.txt"]),
    ("utf-8", ["図/ねこ.png"]),
]


@pytest.mark.parametrize(("encoding", "names"), NAMES)
def test_names_in_an_archive_are_read_as_they_were_meant(encoding, names, tmp_path):
    assert names_read(tmp_path, names, encoding) == names


def test_the_unicode_name_beside_a_name_goes_first(tmp_path):
    name = "ДА/猫.png".encode()
    extra = struct.pack("<HHBI", 0x7075, 5 + len(name), 1, zlib.crc32(b"x/1.png")) + name
    info = zipfile.ZipInfo("x/1.png")
    info.extra = extra
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(info, b"x")
    with zip_archive.open_zip(tmp_path / "a.zip") as packed:
        assert [entry.name for entry in zip_archive.entries(packed)] == ["ДА/猫.png"]


# -- languages ---------------------------------------------------------------------------------------------
def tmx(*units, encoding="utf-8", segment="seg"):
    body = "".join(
        "<tu>"
        + "".join(f'<tuv xml:lang="{tag}"><{segment}>{text}</{segment}></tuv>' for tag, text in unit.items())
        + "</tu>"
        for unit in units
    )
    return f'<?xml version="1.0" encoding="{encoding}"?><tmx version="1.4"><body>{body}</body></tmx>'.encode(encoding)


def units(data):
    encoding = detect_text_format(data, "a.tmx", True).encoding
    return [row if type(row) is BadRecord else row[1] for row in translation_files.tmx(io.BytesIO(data), encoding)]


@pytest.mark.parametrize(
    ("tags", "names"),
    [
        (("en-us", "ZH_cn"), ["en", "zh"]),
        (("EN", "zh-Hans-CN"), ["en", "zh"]),
        (("eng", "zho"), ["en", "zh"]),
        (("zh-CN", "zh_tw"), ["zh", "zh-Hant"]),
        (("pt_br", "pt-PT"), ["pt-BR", "pt-PT"]),
        (("x-klingon", "?"), ["x-klingon", "?"]),
    ],
)
def test_one_language_is_one_column_however_its_tag_is_written(tags, names):
    assert list(units(tmx(dict(zip(tags, "ab", strict=True))))[0]) == names


def test_variants_without_a_segment_are_said_to_be_so():
    (row,) = units(tmx({"en": "lamp", "zh": "灯"}, segment="note"))
    assert "<seg>" in str(row.reason)


@pytest.mark.parametrize("encoding", ["gb18030", "shift_jis", "koi8-r"])
def test_xml_is_read_in_the_encoding_that_it_declares(encoding):
    text = "ДА" if encoding == "koi8-r" else "日本"
    assert units(tmx({"en": "x", "ja": text}, encoding=encoding)) == [{"en": "x", "ja": text}]


# -- what a terminal cannot show ---------------------------------------------------------------------------
@pytest.mark.parametrize("encoding", ["gbk", "cp1252", "ascii:strict"])
def test_what_a_terminal_cannot_encode_is_replaced(encoding):
    code = "from bigmodel.cli.terminal import replace_unencodable as r; import sys; r(sys.stdout); print('\\U0001f600 \\xe9 \\u6587!')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONIOENCODING": encoding, "PATH": ""}, capture_output=True
    )
    assert done.returncode == 0 and done.stdout.startswith(b"?") and not done.stderr
