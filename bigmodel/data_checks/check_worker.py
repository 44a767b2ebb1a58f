"""The process that looks for faults: one JSON line a word. `python -m bigmodel.data_checks.check_worker NAME CACHE HOME`

{"title", "share"} ... {"done": true} | {"error"}
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import uuid
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.data_checks.run_checks import CheckReport, run_checks, save_report
from bigmodel.importing.store import registry

NICENESS = 5  # steps back from the others: a training beside it is more important


def main(name: str, cache: str, home: str) -> int:
    words = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is none of ours

    def say(**what: object) -> None:
        print(json.dumps(what, ensure_ascii=False), file=words, flush=True)

    if hasattr(os, "nice"):
        os.nice(NICENESS)
    registry.register_home(Path(home))
    try:
        data = catalog.dataset(name)
        for part in run_checks(data):
            if isinstance(part, CheckReport):
                save_report(data, Path(cache), part)
            else:
                say(title=part.title.to_json(), share=part.share)
        say(done=True)
    except Refusal as refusal:
        say(error=refusal.to_json())
    except MemoryError:
        what = _("The memory was used up while the rows were looked at.")
        say(error=Refusal(what, do=_("Close other programs, or look at a smaller part of the data.")).to_json())
    except Exception:  # the one who asked is told; the log says more
        mark = uuid.uuid4().hex[:8]
        print(f"[{mark}] {traceback.format_exc()}", file=sys.stderr, flush=True)
        what = _("The rows could not be looked at.")
        say(error=Refusal(what, _("Something went wrong inside; the log has it under {mark}.", mark=mark)).to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
