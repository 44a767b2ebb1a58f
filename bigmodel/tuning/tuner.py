"""The tuner: follows the runs of each study, prunes, and launches the next trial. Each step can be killed and done again."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel.core.errors import Refusal
from bigmodel.core.events import CANCELLED, DIVERGED, FINISHED, INTERRUPTED, LIVE, QUEUED, STOPPED
from bigmodel.core.polling_thread import PollingThread
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, _
from bigmodel.runs.lock import Lock
from bigmodel.runs.run import Run
from bigmodel.runs.store import Store
from bigmodel.runs.supervisor import retry_delay
from bigmodel.tuning.search_space import suggest
from bigmodel.tuning.study import (
    PRUNED_AT,
    RESUMED,
    RUN,
    SECONDS,
    SETTINGS,
    STEPS,
    VALUE,
    WHY,
    StudyFolder,
    folders,
    import_optuna,
)
from bigmodel.tuning.study_spec import GRID, RESOURCE, StudySpec

if TYPE_CHECKING:
    import optuna

TICK_SECONDS = 0.5
FAILURES = 5  # trials in a row that fail before a study ends: the next ones would fail as well
PRUNED = _("Pruned: behind the other trials of its search.")
SEARCH_OVER = _("Its search has come to its end.")
BY_PERSON = _("It was stopped.")

logger = logging.getLogger(__name__)


class Tuner(PollingThread):
    """Works while it holds the home's tuner lock; tries to take it each round until then."""

    def __init__(self, store: Store, root: Path, wake: Callable[[], None] = lambda: None):
        super().__init__("bigmodel-tuner", TICK_SECONDS)
        self.store, self.root, self._wake_supervisor = store, root, wake
        self._lock = Lock(store.home / "tuner.lock")
        self._folders: dict[str, StudyFolder] = {}  # of the studies that go on
        self._logged: set[tuple[str, str]] = set()

    def close(self) -> None:
        self._lock.release()

    # -- a round -----------------------------------------------------------------------------------
    def tick(self) -> bool:
        """Whether any study goes on here. False also where another tuner works, or the home folder has gone."""
        if self.store.lost() or not (self._lock.held or self._lock.acquire()):
            return False
        self._open_new()
        for id, folder in list(self._folders.items()):
            with self._log_errors(id):
                if not Advance(folder, self.store, self._wake_supervisor).run():
                    del self._folders[id]
        return bool(self._folders)

    def _open_new(self) -> None:
        """Studies that have been made, or go on again, since the last round. A damaged one is left alone."""
        existing = folders(self.root)
        self._folders = {id: folder for id, folder in self._folders.items() if id in existing}
        for id, folder in existing.items():
            with self._log_errors(id):
                if id not in self._folders and not folder.end_file.exists():
                    folder.repair_journal()
                    self._folders[id] = folder

    @contextmanager
    def _log_errors(self, id: str) -> Iterator[None]:
        """One bad study must not stop the others; each error is logged once."""
        try:
            yield
        except Exception as error:
            if (id, str(error)) not in self._logged:
                self._logged.add((id, str(error)))
                logger.warning("%s: %s", id, error, exc_info=None if isinstance(error, OSError | Refusal) else error)


class Advance:
    """One step of one study: what has happened to its runs is told to Optuna, and what is due is done."""

    def __init__(self, folder: StudyFolder, store: Store, wake: Callable[[], None] = lambda: None):
        self.folder, self.store, self.wake = folder, store, wake
        self.spec: StudySpec = folder.spec()
        self.study: optuna.Study = folder.open(self.spec)

    def run(self) -> bool:
        """Whether the study goes on."""
        if self.folder.end() is not None:
            return False
        for trial in self._trials("RUNNING"):
            self._follow(trial)
        reason = self._reason_to_end()
        running = self._trials("RUNNING")
        if reason is None and not running:  # one trial a device
            self._ask()
        if reason is None:
            return True
        live = [trial for trial in running if self._is_live(trial)]
        for trial in live:
            self._stop_run(trial, SEARCH_OVER)
        if not live:
            self.folder.write_end(reason, time.time())
        return bool(live)

    def _trials(self, *states: str) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if not states or trial.state.name in states]

    # -- the end -----------------------------------------------------------------------------------
    def _reason_to_end(self) -> Words | None:
        search, trials = self.spec.search, self._trials()
        if self.folder.stop_requested():
            return BY_PERSON
        told = [trial for trial in trials if trial.state.is_finished()]
        last = told[-FAILURES:]
        if len(last) == FAILURES and all(trial.state.name == "FAIL" for trial in last):
            why = last[-1].user_attrs.get(WHY)
            failed = _("{count} trials in a row have failed.", count=FAILURES)
            return _("{what} {why}", what=failed, why=Words.from_json(why)) if why else failed
        if search["sampler"] == GRID and len(told) >= len(self.spec.grid()):
            return _("All combinations of the grid have been tried.")
        counted = sum(trial.state.name != "FAIL" for trial in told)
        if search["trials"] and counted >= search["trials"]:
            return _("All {count} trials are done.", count=counted)
        used = [self._used(trial) for trial in trials]
        if search["minutes"] and sum(seconds for _steps, seconds in used) >= 60 * search["minutes"]:
            return _("The {minutes} minutes are over.", minutes=search["minutes"])
        if search["steps"] and sum(steps for steps, _seconds in used) >= search["steps"]:
            return _("The {steps} steps are done.", steps=search["steps"])
        return None

    def _used(self, trial: optuna.trial.FrozenTrial) -> tuple[int, float]:
        """(steps, seconds) of training so far."""
        if SECONDS in trial.user_attrs or RUN not in trial.user_attrs:
            return trial.user_attrs.get(STEPS, 0), trial.user_attrs.get(SECONDS, 0.0)
        return measure(self._get_run(trial))

    # -- a trial that goes on ------------------------------------------------------------------------
    def _follow(self, frozen: optuna.trial.FrozenTrial) -> None:
        import_optuna()
        run, stopping = self._get_run(frozen), self.folder.stop_requested()
        if run is None:
            if RUN in frozen.user_attrs:
                self._tell(frozen, "FAIL", None, _("The run {run} was deleted.", run=frozen.user_attrs[RUN]))
            elif not stopping:
                self._launch(frozen)  # killed between asking and launching
            return
        best = self._report(frozen, run)
        if stopping and PRUNED_AT not in frozen.user_attrs and run.state in (STOPPED, CANCELLED):
            return  # it is resumed when the study goes on
        if run.state in (*LIVE, QUEUED):
            self._prune(frozen)
        elif run.state == FINISHED:
            failed = None if best is not None else _("It was never measured on the validation split.")
            self._tell(frozen, "FAIL" if failed else "COMPLETE", run, failed, best)
        elif run.state in (STOPPED, DIVERGED):
            self._tell(frozen, "PRUNED", run, run.reason)
        elif run.state == INTERRUPTED and self._will_go_on(frozen, run):
            return
        else:
            why = Refusal.from_json(run.error).what if run.error else run.reason
            self._tell(frozen, "FAIL", run, why or (_("It was cancelled.") if run.state == CANCELLED else None))

    def _get_run(self, frozen: optuna.trial.FrozenTrial) -> Run | None:
        try:
            return self.store.get(frozen.user_attrs[RUN])
        except (KeyError, Refusal):
            return None

    def _report(self, frozen: optuna.trial.FrozenTrial, run: Run) -> float | None:
        """Tell of the validations that are new, each at the part of the run that is done: so trials are compared whatever
        their batch size, or how many steps fit into their time. The best of them."""
        metric = self.spec.metric
        _cursor, events = self.store.events(run.id, kinds=("validation",))
        measured = {event["step"]: event["metrics"].get(metric.name) for event in events}  # told again after a death
        finite = {step: value for step, value in sorted(measured.items()) if value is not None and math.isfinite(value)}
        for step, value in finite.items():
            part = min(math.ceil(RESOURCE * step / max(run.steps, step)), RESOURCE)
            if part not in frozen.intermediate_values:
                self._storage.set_trial_intermediate_value(frozen._trial_id, part, value)
        values = finite.values()
        if not values:
            return None
        best = max(values) if metric.higher_is_better else min(values)
        if frozen.user_attrs.get(VALUE) != best:
            self._note(frozen, VALUE, best)
        return best

    def _prune(self, frozen: optuna.trial.FrozenTrial) -> None:
        trial = self._storage.get_trial(frozen._trial_id)
        if PRUNED_AT not in trial.user_attrs:
            if trial.last_step is None or not self.study.pruner.prune(self.study, trial):
                return
            self._note(trial, PRUNED_AT, trial.last_step)
        self._stop_run(trial, PRUNED)

    def _will_go_on(self, frozen: optuna.trial.FrozenTrial, run: Run) -> bool:
        """Whether a run that died goes on by itself, or by us: once where the machine was off for longer than the supervisor
        waits."""
        if retry_delay(self.store.folder(run.id)) is not None:
            return True
        if RESUMED in frozen.user_attrs or self.store.folder(run.id).stop_requested():
            return False
        self._note(frozen, RESUMED, True)
        self.store.resume(run.id)
        self.wake()
        return True

    def _is_live(self, frozen: optuna.trial.FrozenTrial) -> bool:
        run = self._get_run(frozen)
        return run is not None and run.state in (*LIVE, QUEUED)

    def _stop_run(self, frozen: optuna.trial.FrozenTrial, reason: Words) -> None:
        run = frozen.user_attrs[RUN]
        if not self.store.folder(run).stop_requested():
            self.store.stop(run, reason)
            self.wake()

    def _tell(
        self, frozen: Any, state: str, run: Run | None, why: Words | None = None, value: float | None = None
    ) -> None:
        if why is not None and WHY not in frozen.user_attrs:
            self._note(frozen, WHY, why.to_json())
        steps, seconds = measure(run)
        self._note(frozen, STEPS, steps)
        self._note(frozen, SECONDS, seconds)
        self.study.tell(frozen.number, value, state=import_optuna().trial.TrialState[state])

    def _note(self, frozen: optuna.trial.FrozenTrial, name: str, value: object) -> None:
        self._storage.set_trial_user_attr(frozen._trial_id, name, value)

    @property
    def _storage(self) -> Any:
        return self.study._storage

    # -- the next trial ------------------------------------------------------------------------------
    def _ask(self) -> None:
        """What stands in the form first, or the next combination of a grid, else what the sampler draws."""
        trials = self._trials()
        if not self._trials("WAITING"):
            if self.spec.search["sampler"] == GRID:
                self.study.enqueue_trial(self.spec.grid()[len(trials)])
            elif not trials and self.spec.start():
                self.study.enqueue_trial(self.spec.start())
        trial = self.study.ask()
        self._launch(self._storage.get_trial(trial._trial_id))

    def _launch(self, frozen: optuna.trial.FrozenTrial) -> None:
        """Draw the values that it has not drawn yet, and launch its run. The token makes a second launch the same run."""
        trial = import_optuna().trial.Trial(self.study, frozen._trial_id)
        fields = self.spec.fields
        chosen = {name: suggest(trial, fields[name], dimension) for name, dimension in self.spec.space.items()}
        self._note(frozen, SETTINGS, chosen)
        base = self.spec.spec
        try:
            spec = RunSpec.check(
                base.to_json()
                | {"settings": {**base.settings, **chosen}}
                | {"name": self.spec.name, "study": {"study": self.folder.id, "trial": frozen.number + 1}}
            )
        except Refusal as refusal:  # of settings that are right one by one and not together
            self._tell(frozen, "FAIL", None, refusal.what)
            return
        run = self.store.launch(spec, token=f"study {self.folder.id} trial {frozen.number + 1}")
        self._note(frozen, RUN, run)
        self.wake()


def measure(run: Run | None) -> tuple[int, float]:
    """(steps, seconds) that a run has been trained."""
    if run is None or not run.started:
        return (run.step if run else 0), 0.0
    return run.step, max((run.ended or time.time()) - run.started, 0.0)
