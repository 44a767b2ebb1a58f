"""The process that evaluates a model: `python -m bigmodel.evaluation.evaluation_worker`, a request on stdin:
{"home", "model", "task", "folder", "id", "dataset", "split", "target"}.

Progress is {"title", "share"}; the evaluation is written into the folder `target`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from bigmodel.base_models import store as bases
from bigmodel.core import child_process, disk_space, files
from bigmodel.core.errors import Refusal
from bigmodel.core.model import read_model
from bigmodel.core.words import Words, _
from bigmodel.evaluation import evaluation as evaluations
from bigmodel.evaluation.run_evaluation import evaluate
from bigmodel.importing.store import registry

NICENESS = 5  # steps back from the others: a training beside it is more important


def serve(request: dict, replies: child_process.Replies) -> dict:
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    home = Path(request["home"])
    registry.register_home(home)
    bases.register_bases(home)
    model = read_model(request["model"], Path(request["folder"]))
    if model is None:
        what = _("There is no model {model}.", model=request["model"])
        raise Refusal(what, do=_("Look at the list of models."), field="model")

    if request["task"]:  # a base can be asked for several things
        model = replace(model, task=request["task"])

    def report(phase: Words, share: float) -> None:
        replies.progress(title=phase.to_json(), share=share)

    found, records = evaluate(model, request["id"], request["dataset"], request["split"], report)
    with files.staged(Path(request["target"]), shared=True) as staging:
        evaluations.write(staging, found, records)
    return {}


def explain(error: Exception) -> Refusal:
    from bigmodel.training import out_of_memory

    if out_of_memory.is_out_of_memory(error):
        what = _("The memory was used up while the model was evaluated.")
        return Refusal(what, do=_("Close other programs, or choose a smaller model."))
    if disk_space.was_full(error):
        return Refusal(disk_space.disk_full_words(0))
    mark = child_process.log_traceback()
    what = _("The model could not be evaluated.")
    return Refusal(what, _("Something went wrong inside; the log has it under {mark}.", mark=mark))


if __name__ == "__main__":
    child_process.exit_process(child_process.serve(serve, explain))
