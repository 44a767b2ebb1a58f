"""Questions that were put, each to one model or to two at once, and what was answered, as long as a session lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import streamlit as st

from bigmodel.core.model import Model
from bigmodel.ui.state import studio
from bigmodel.ui.try_it.answers import Answer

MAX_EXCHANGES = 8  # rounds of a model that a session remembers


@dataclass
class Exchange:
    """One question: the inputs, and each model's answer, by the model's id."""

    inputs: dict
    answers: dict[str, Answer] = field(default_factory=dict)

    def ask(self, model: Model) -> None:
        """Ask a model, in the same words and with the same seed as the others."""

        def ask(id: str, inputs: Mapping):
            return studio().models.ask(id, inputs, model.task)

        self.answers[model.id] = Answer(model.id, self.inputs, ask)

    def stop(self) -> None:
        for answer in self.answers.values():
            if answer.running:
                answer.cancel()


def exchanges_of(model: Model) -> list[Exchange]:
    """Newest first."""
    return st.session_state.setdefault("rounds", {}).setdefault(model.id, [])


def ask_models(model: Model, other: Model | None, inputs: Mapping, instead: bool = False) -> None:
    """Put a question; answers that are still being written are stopped and kept, or given up for these."""
    past = exchanges_of(model)
    if past:
        past[0].stop()
    if instead and past:
        past.pop(0)
    one = Exchange(dict(inputs))
    for asked in filter(None, (model, other)):
        one.ask(asked)
    past.insert(0, one)
    del past[MAX_EXCHANGES:]
    st.session_state["try.asked"] = True


def ask_other_model(model: Model, other: Model) -> None:
    """Whoever is chosen to stand beside a model answers its newest question, too."""
    past = exchanges_of(model)
    if past and other.id not in past[0].answers:
        past[0].ask(other)
