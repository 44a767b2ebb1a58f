"""English quiz questions with their topic."""

from bigmodel.core.contracts import Column, Dataset, DatasetInfo
from bigmodel.core.words import _


class TriviaEn(Dataset):
    name = "trivia_en"
    order = 32
    title = _("Quiz questions by topic")
    about = _(
        "About 6,000 English quiz questions of eight topics. A model learns to say what a question is about; some could stand under two."
    )
    facts = DatasetInfo(
        licence="CC BY-SA 4.0",
        source="OpenTriviaQA, npm party-game-sentences 1.2.10",
        citation="OpenTriviaQA, uberspot and contributors",
        languages=("en",),
    )
    columns = {
        "text": Column("text", _("Question")),
        "label": Column(
            "class",
            _("Topic"),
            names=(
                _("Animals"),
                _("Geography"),
                _("History"),
                _("Literature"),
                _("Films"),
                _("Music"),
                _("Science"),
                _("Sports"),
            ),
        ),
    }
    default_settings = {"text_length": 64}
