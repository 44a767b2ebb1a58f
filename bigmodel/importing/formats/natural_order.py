"""Names in the order in which people count: 10 after 9, 第十回 after 第九回."""

from __future__ import annotations

import re

CHINESE_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
CHINESE_POWERS = {"十": 10, "百": 100, "千": 1000}
CHINESE_ORDINAL = re.compile("第([零〇一二两三四五六七八九十百千]+)")


def natural_key(name: str) -> list:
    counted = CHINESE_ORDINAL.sub(lambda match: f"第{chinese_number(match[1])}", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part)
            for part in re.split(r"(\d{1,18})", counted) if part]  # fmt: skip


def chinese_number(numeral: str) -> int:
    """Up to 9999, as 一百零三 or 一二〇."""
    if not CHINESE_POWERS.keys() & set(numeral):
        return int("".join(str(CHINESE_DIGITS[sign]) for sign in numeral))
    total, digit = 0, 0
    for sign in numeral:
        if sign in CHINESE_POWERS:
            total, digit = total + (digit or 1) * CHINESE_POWERS[sign], 0
        else:
            digit = CHINESE_DIGITS[sign]
    return total + digit
