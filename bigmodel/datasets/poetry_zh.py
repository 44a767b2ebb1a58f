"""Classical Chinese poems."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class PoetryZh(Dataset):
    name = "poetry_zh"
    order = 10
    title = _("Chinese poetry")
    about = _(
        "Poems of the Tang and Song dynasties in simplified characters, one poem a row. A model raised on them writes verse."
    )
    facts = DatasetInfo(
        licence="MIT (texts: public domain)",
        source="npm chinese-poetry 2.0.1",
        citation="chinese-poetry: the most comprehensive database of Chinese poetry",
        languages=("zh",),
    )
    columns = {
        "text": Column("text", _("Poem")),
        "title": Column("text", _("Title")),
        "author": Column("text", _("Author")),
        "dynasty": Column("text", _("Dynasty")),
    }
