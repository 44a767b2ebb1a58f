"""The front desk: all that a page, the command line or a notebook may ask for. Loads no torch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from bigmodel.base_models import store as bases
from bigmodel.base_models.service import BaseModelService
from bigmodel.core import child_process
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.data_checks.check_jobs import CheckJobs
from bigmodel.evaluation.service import EvaluationService
from bigmodel.importing.import_jobs import ImportJobs
from bigmodel.importing.service import DataService
from bigmodel.importing.store import registry
from bigmodel.importing.store.version_jobs import VersionJobs
from bigmodel.inference.service import ModelService
from bigmodel.runs import device
from bigmodel.runs.device import Device
from bigmodel.runs.lock import Lock
from bigmodel.runs.service import RunService
from bigmodel.runs.store import Store
from bigmodel.runs.supervisor import Supervisor
from bigmodel.tuning.service import TuningService
from bigmodel.tuning.tuner import Tuner

LIBRARIES = "bigmodel.training.warm_up:import_libraries"  # by name: nothing here imports torch


def home() -> Path:
    """Where runs live: $BIGMODEL_HOME, else ~/.bigmodel."""
    return Path(os.environ.get("BIGMODEL_HOME") or Path.home() / ".bigmodel").expanduser().absolute()


class Studio:
    """The services of one home folder. All their methods raise Refusal for what cannot be done, and all that would
    change anything do so while another server works on this home."""

    def __init__(self, home_folder: Path | None = None):
        self.home = (home_folder or home()).absolute()
        refuse = self._refuse_read_only
        self.runs = RunService(self.home, refuse, self._wake)
        self.imports = ImportJobs(self.home, self._on_new_dataset, refuse)
        self.versions = VersionJobs(self.home, self._on_new_dataset, refuse)
        self.checks = CheckJobs(self.runs.cache, self.home, self.home / "lint.log")
        self.data = DataService(self.imports.registry, self.runs.cache, refuse, self.runs.unfinished)
        self.models = ModelService(self.runs)
        self.tuning = TuningService(self.runs, refuse, self._wake)
        self.base_models = BaseModelService(
            self.home, refuse, self.runs.unfinished, self.models.get, self.imports.roots
        )
        self.evaluations = EvaluationService(self.home, self.runs.cache, self.models, refuse)
        registry.register_home(self.home)
        bases.register_bases(self.home)
        self._server_lock = Lock(self.runs.server_lock)
        self._serving = False
        self._supervisor: Supervisor | None = None
        self._tuner: Tuner | None = None
        self._mutex = threading.RLock()
        self._preloaded = ExitStack()  # the process that workers are forked from

    def serve(self) -> None:
        """Begin to work on this home, unless another server does: then this one may only look."""
        self._serving = True
        self._preloaded.enter_context(child_process.preloading(LIBRARIES))
        self._take_over(wait=1.0)

    def close(self) -> None:
        """Leave. What is being trained goes on, and is found again by the next server."""
        with self._mutex:
            self._serving = False
            for jobs in (self.imports, self.versions, self.checks, self.evaluations, self.tuning):
                jobs.close()
            self._stop_working()
            self.models.client.close()
            self._preloaded.close()
            self._server_lock.release()

    @property
    def read_only(self) -> bool:
        """Whether another server works on this home, or it has gone. When the other one has, this one takes over."""
        return self._serving and (self.home_lost is not None or not self._take_over())

    @property
    def home_lost(self) -> Refusal | None:
        """What is said of a home folder that was renamed, replaced or removed under this server."""
        return self.runs.lost()

    def device(self) -> Device:
        """What the next run is trained on, and how busy it is."""
        return device.current_device()

    def _take_over(self, wait: float = 0.0) -> bool:
        with self._mutex:
            if self._server_lock.held:
                return True
            if not self._server_lock.acquire(wait):
                return False
            self._start_working()
            return True

    @contextmanager
    def working(self) -> Iterator[None]:
        """The queue and the studies are worked on here for as long as no server does: for the command line."""
        with child_process.preloading(LIBRARIES):
            self._start_working()
            try:
                yield
            finally:
                self._stop_working()

    def _start_working(self) -> None:
        self._supervisor = Supervisor(Store(self.home), on_finished=self._on_finished_run)
        self._tuner = Tuner(Store(self.home), self.tuning.root, self._supervisor.wake)
        self._supervisor.start()
        self._tuner.start()

    def _stop_working(self) -> None:
        for thread in (self._tuner, self._supervisor):
            if thread is not None:
                thread.stop()
        self._tuner = self._supervisor = None

    def _on_finished_run(self, id: str) -> None:
        """It is evaluated, unless it is one of many trials: of these only the best is of interest, in the end."""
        if self._serving and not self.runs.get(id).spec.study:
            self.evaluations.begin_finished(id)

    def _refuse_read_only(self) -> None:
        if lost := self.home_lost:
            raise lost
        if self.read_only:
            what = _("Another bigmodel server works on {home}.", home=str(self.home))
            why = _("This one may look, but not start, stop or delete anything.")
            raise Refusal(what, why=why, do=_("Use the other one, or stop it and try again."))

    def _wake(self) -> None:
        for thread in (self._supervisor, self._tuner):
            if thread is not None:
                thread.wake()

    def _on_new_dataset(self, name: str) -> None:
        """Its rows are counted, and a server checks them without being asked."""
        with suppress(Refusal):  # whoever looks at it will be told
            self.data.stats(name)
            if self._serving:
                self.checks.begin(name)
