"""The process that computes beside a search: `python -m bigmodel.tuning.worker`, on stdin the request {"home", "study"}, to weigh its
settings, or {"home", "spec"}, to find a learning rate for it.

Progress is {"step"}; the result is {"importance"}, or the fields of a RateCurve.
"""

from __future__ import annotations

from pathlib import Path

from bigmodel.base_models import store as bases
from bigmodel.core import child_process
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _
from bigmodel.importing.store import registry
from bigmodel.runs.store import Store
from bigmodel.tuning.importance import weigh_settings
from bigmodel.tuning.learning_rate_finder import find
from bigmodel.tuning.study import StudyFolder


def work(request: dict, replies: child_process.Replies) -> dict:
    home = Path(request["home"])
    registry.register_home(home)
    bases.register_bases(home)
    if "study" in request:
        return {"importance": weigh_settings(StudyFolder(Path(request["study"])))}
    result: dict = {}
    for result in find(RunSpec.check(request["spec"]), Store(home).cache):
        if "step" in result:
            replies.progress(**result)
    return result


def explain(error: Exception) -> Refusal:
    mark = child_process.log_traceback()
    what = _("This could not be computed.")
    return Refusal(what, _("Something went wrong inside; the log has it under {mark}.", mark=mark))


if __name__ == "__main__":
    child_process.exit_process(child_process.serve(work, explain))
