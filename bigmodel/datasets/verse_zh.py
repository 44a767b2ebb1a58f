"""Chinese verse with its kind."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class VerseZh(Dataset):
    name = "verse_zh"
    order = 34
    title = _("Chinese verse by kind")
    about = _(
        "6,000 poems: shi of the Tang, shi of the Song in the very same forms, Song ci and Yuan qu. No poet is in two splits."
    )
    facts = DatasetInfo(
        licence="MIT (texts: public domain)",
        source="npm chinese-poetry 2.0.1",
        citation="chinese-poetry: the most comprehensive database of Chinese poetry",
        languages=("zh",),
    )
    columns = {
        "text": Column("text", _("Poem")),
        "label": Column("class", _("Kind"), names=(_("Tang shi"), _("Song shi"), _("Song ci"), _("Yuan qu"))),
        "title": Column("text", _("Title")),
        "author": Column("text", _("Author")),
    }
    default_settings = {"text_length": 128}
