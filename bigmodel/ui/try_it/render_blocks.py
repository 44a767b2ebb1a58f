"""Blocks on the screen: what a model answers, drawn without knowing which task it is."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from bigmodel.core.blocks import Block, Note, Picture, Prose, Scores, Table
from bigmodel.core.words import Words
from bigmodel.ui.image_widgets import upscale
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.runs import charts
from bigmodel.ui.streaming_text import streaming_text

MAX_SCORES = 10


def latest_blocks(blocks: Sequence[Block]) -> list[Block]:
    """What is to be seen: each Prose replaces the one before it."""
    last = max((index for index, block in enumerate(blocks) if isinstance(block, Prose)), default=-1)
    return [block for index, block in enumerate(blocks) if not isinstance(block, Prose) or index == last]


def render_blocks(blocks: Sequence[Block], key: str, done: bool = True, scores: int = MAX_SCORES) -> None:
    """An answer so far. The key stays the same while it grows, so that it grows in place.

    scores: of names with probabilities, at most so many.
    """
    for index, block in enumerate(latest_blocks(blocks)):
        if isinstance(block, Scores):
            block = Scores(block.names[:scores], block.values[:scores])
        RENDERERS[type(block)](block, f"{key}.{index}", done)


def _prose(block: Prose, key: str, done: bool) -> None:
    streaming_text(block.text, key=key, prompt=block.prompt, done=done or block.done)
    if (done or block.done) and not block.text:
        st.caption(_("Nothing more: for this model the text ends here."))
    if (done or block.done) and block.tokens and block.seconds > 0:
        rate = f"{block.tokens / block.seconds:.0f}"
        st.caption(_("{tokens} tokens, {rate} a second", tokens=block.tokens, rate=rate))


def _scores(block: Scores, key: str, done: bool) -> None:
    names, values = [say(Words(name)) for name in block.names], block.values
    if not names:
        return
    alt = _(
        "Probabilities: {name} {share} %, then {others} more",
        name=names[0],
        share=round(100 * values[0]),
        others=len(names) - 1,
    )
    charts.bars(names, values, key=key, alt=alt, percent=True)


def _picture(block: Picture, key: str, done: bool) -> None:
    st.image(upscale(block.png), caption=block.caption or None, alt=block.caption or _("A picture of the answer"))


def _table(block: Table, key: str, done: bool) -> None:
    import pandas

    frame = pandas.DataFrame(list(block.rows), columns=[say(name) for name in block.columns])
    st.dataframe(frame, hide_index=True, key=key, alt=_("A table of the answer"))


def _note(block: Note, key: str, done: bool) -> None:
    st.caption(f":material/info: {escape_markdown(say(block.words))}")


RENDERERS = {Prose: _prose, Scores: _scores, Picture: _picture, Table: _table, Note: _note}
