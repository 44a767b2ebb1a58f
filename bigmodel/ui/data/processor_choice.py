"""By which task and with whose tokenizer the rows of a data set are looked at: what people have chosen, or the first."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset, Task
from bigmodel.core.spec import RunSpec
from bigmodel.ui.data.overview import tasks_of
from bigmodel.ui.language import _, say
from bigmodel.ui.stable_selectbox import disambiguate
from bigmodel.ui.state import studio

FROM_SCRATCH = "own"  # made from the rows themselves, not brought by a base model


def processors(task: Task) -> dict[str, str]:
    """Where a processor can come from -> what it is called: made for the rows, or that of a base model."""
    own = next((one for one in catalog.architectures_for(task).values() if not one.overrides), None)
    found = {FROM_SCRATCH: _("{network}, from scratch", network=say(own.title))} if own else {}
    return disambiguate(found | {base.name: say(base.title) for base in studio().base_models.all(task.head)})


def selected_processor(dataset: Dataset) -> tuple[RunSpec, str]:
    """(the spec whose processor is used, its name), as chosen on the page."""
    tasks = tasks_of(dataset)
    chosen = st.session_state.get(f"seen.{dataset.name}.task")
    task = next((task for task in tasks if task.name == chosen), tasks[0])
    known = processors(task)
    source = st.session_state.get(f"seen.{dataset.name}.{task.name}.processor")
    source = source if source in known else next(iter(known))
    return spec_of(task, source, dataset), known[source]


def spec_of(task: Task, source: str, dataset: Dataset) -> RunSpec:
    networks = catalog.architectures_for(task)
    if source == FROM_SCRATCH:
        network = next(name for name, one in networks.items() if not one.overrides)
        return RunSpec.check({"task": task.name, "architecture": network, "dataset": dataset.name})
    network = next(name for name, one in networks.items() if one.overrides)
    settings = {"base": source}
    return RunSpec.check({"task": task.name, "architecture": network, "dataset": dataset.name, "settings": settings})
