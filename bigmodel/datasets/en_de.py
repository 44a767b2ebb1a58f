"""English sentences with their German translation."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class EnDe(Dataset):
    name = "en_de"
    order = 50
    title = _("English-German")
    about = _("Phrases of computer programs and verses of the Bible (King James and Luther 1912), side by side.")
    facts = DatasetInfo(
        licence="BSD-3-Clause, Apache-2.0, CC0",
        source=_("Message catalogues of open-source projects; each is named in DATA_LICENSES.md"),
        languages=("en", "de"),
    )
    columns = {
        "source": Column("text", _("English")),
        "target": Column("text", _("German")),
        "origin": Column("text", _("Origin")),
    }
