"""English sentences with their Chinese translation."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class EnZh(Dataset):
    name = "en_zh"
    order = 40
    title = _("English-Chinese")
    about = _(
        "Phrases and sentences of computer programs with their translation, gathered from open-source message catalogues."
    )
    facts = DatasetInfo(
        licence="MIT, BSD-3-Clause, Apache-2.0",
        source=_("Message catalogues of open-source projects; each is named in DATA_LICENSES.md"),
        languages=("en", "zh"),
    )
    columns = {
        "source": Column("text", _("English")),
        "target": Column("text", _("Chinese")),
        "origin": Column("text", _("Origin")),
    }
