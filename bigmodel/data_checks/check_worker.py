"""The process that checks a data set: `python -m bigmodel.data_checks.check_worker`, the request {"name", "cache", "home"} on stdin.

Progress is {"title", "share"}; the report is kept in the cache.
"""

from __future__ import annotations

import os
from pathlib import Path

from bigmodel.core import catalog, child_process
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.data_checks.run_checks import CheckReport, run_checks, save_report
from bigmodel.importing.store import registry

NICENESS = 5  # steps back from the others: a training beside it is more important


def check(request: dict, replies: child_process.Replies) -> dict:
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    registry.register_home(Path(request["home"]))
    data = catalog.dataset(request["name"])
    for part in run_checks(data):
        if isinstance(part, CheckReport):
            save_report(data, Path(request["cache"]), part)
        else:
            replies.progress(title=part.title.to_json(), share=part.share)
    return {}


def explain(error: Exception) -> Refusal:
    if isinstance(error, MemoryError):
        what = _("The memory was used up while the rows were looked at.")
        return Refusal(what, do=_("Close other programs, or look at a smaller part of the data."))
    mark = child_process.log_traceback()
    what = _("The rows could not be looked at.")
    return Refusal(what, _("Something went wrong inside; the log has it under {mark}.", mark=mark))


if __name__ == "__main__":
    child_process.exit_process(child_process.serve(check, explain))
