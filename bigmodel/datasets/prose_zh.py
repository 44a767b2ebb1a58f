"""Classical Chinese prose."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class ProseZh(Dataset):
    name = "prose_zh"
    order = 20
    title = _("Chinese prose")
    about = _(
        "Classical prose in simplified characters, a paragraph a row. Small: a model learns its tone, not its sense."
    )
    facts = DatasetInfo(
        licence="MIT (texts: public domain)",
        source="npm chinese-poetry 2.0.1",
        citation="chinese-poetry: the most comprehensive database of Chinese poetry",
        languages=("zh",),
    )
    columns = {
        "text": Column("text", _("Text")),
        "title": Column("text", _("Title")),
        "author": Column("text", _("Author")),
        "book": Column("text", _("Book")),
    }
