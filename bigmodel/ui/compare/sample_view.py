"""The same inputs, answered by each run as it was at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import streamlit as st

from bigmodel.core import blocks
from bigmodel.core.errors import Refusal
from bigmodel.core.events import Event
from bigmodel.ui import number_format
from bigmodel.ui.compare.selection import Group, task_of
from bigmodel.ui.language import _, escape_markdown
from bigmodel.ui.state import studio
from bigmodel.ui.try_it.answer_card import show_question
from bigmodel.ui.try_it.render_blocks import render_blocks

MAX_GROUPS, MAX_INPUTS = 4, 3


def sample_section(groups: Sequence[Group]) -> None:
    """The first seed of the first few groups; the inputs that at least two of them have answered."""
    shown = groups[:MAX_GROUPS]
    answers = {group.letter: _last_answers(group.runs[0].id) for group in shown}
    counts: dict[str, int] = {}
    for given in answers.values():
        for key in given:
            counts[key] = counts.get(key, 0) + 1
    shared = [key for key, count in counts.items() if count > 1][:MAX_INPUTS]
    if not shared:
        st.caption(_("These runs have answered no input in common yet."))
        return
    for number, key in enumerate(shared):
        example = next(given[key] for given in answers.values() if key in given)
        show_question(task_of(groups), blocks.unpack(example["inputs"]), f"compare.sample.{number}")
        with st.grid(len(shown), min_column_width=240, gap="small"):
            for group in shown:
                with st.container(border=True, height="stretch"):
                    _answer(group, answers[group.letter].get(key), f"compare.sample.{number}.{group.letter}")


def _answer(group: Group, sample: Event | None, key: str) -> None:
    if sample is None:
        not_asked = _("not asked")
        st.caption(f"**{group.letter}** · {not_asked}")
        return
    step = _("step {step}", step=number_format.count(sample["step"]))
    st.caption(f"**{group.letter}** · {escape_markdown(step)}")
    render_blocks([blocks.from_json(block) for block in sample.data.get("blocks", ())], key)


def _last_answers(run: str) -> Mapping[str, Event]:
    """By what was asked."""
    try:
        return _samples(str(studio().home), run, studio().runs.folder(run).size())
    except (OSError, Refusal):  # deleted while the page is drawn
        return {}


@st.cache_resource(max_entries=64, show_spinner=False)
def _samples(home: str, run: str, size: int) -> Mapping[str, Event]:
    """Read once for each length of the run's story. `home` is part of the name: two homes may know the same run."""
    _cursor, told = studio().runs.events(run, kinds=("sample",))
    return {json.dumps(event.data.get("inputs", {}), sort_keys=True): event for event in told}
