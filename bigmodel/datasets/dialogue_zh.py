"""Questions about Chinese poems and poets, and a little small talk."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class DialogueZh(Dataset):
    name = "dialogue_zh"
    order = 36
    title = _("Chinese poems, asked and answered")
    about = _(
        "2,001 conversations in Chinese: the next line of a poem, who wrote it, the whole by heart, who a poet was, and a little small talk. The questions are worded by us; all about a poem is in one split."
    )
    facts = DatasetInfo(
        licence="MIT (poems: public domain), BSD-3-Clause",
        source="npm chinese-poetry 2.0.1, PyPI chatterbot-corpus 1.3.3",
        citation="chinese-poetry: the most comprehensive database of Chinese poetry; ChatterBot Language Training Corpus",
        languages=("zh",),
    )
    columns = {"messages": Column("text", _("Conversation")), "topic": Column("text", _("Topic"))}
    default_settings = {
        "gpt": {"block_size": 192},
        "lstm": {"block_size": 192},
    }  # characters; pretrained tokens are longer
