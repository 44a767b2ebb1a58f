"""A study's folder: its spec, Optuna's journal of its trials, and how it ended; the truth about it, whoever works on it."""

from __future__ import annotations

import json
import logging
import os
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel.core import checked_json, files
from bigmodel.core.checked_json import fields, is_time, is_words
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.runs.lock import Lock
from bigmodel.tuning.study_spec import FIRST_FULL, HYPERBAND, MEDIAN, RESOURCE, TPE, StudySpec

if TYPE_CHECKING:
    import optuna

WAITING, RUNNING, FINISHED, PRUNED, FAILED = "waiting", "running", "finished", "pruned", "failed"
IS_END = fields({"reason": is_words, "time": is_time})
# what is written down of a trial, by name in Optuna's user_attrs
RUN, SETTINGS, VALUE, STEPS, SECONDS = "run", "settings", "value", "steps", "seconds"
PRUNED_AT, WHY, RESUMED = "pruned_at", "why", "resumed"


@dataclass(frozen=True)
class Trial:
    """One set of values that is tried. number: from 1.  value: of the metric, the best so far; None before the first validation."""

    number: int
    state: str
    settings: Mapping[str, Any]
    value: float | None = None
    run: str = ""
    steps: int = 0
    seconds: float = 0.0
    why: Words | None = None  # it failed

    @property
    def has_ended(self) -> bool:
        return self.state in (FINISHED, PRUNED, FAILED)


@dataclass(frozen=True)
class Study:
    """What a person knows of a study. reason: why it has ended, None while it goes on."""

    id: str
    spec: StudySpec
    trials: tuple[Trial, ...] = ()
    reason: Words | None = None
    stopping: bool = False
    ended: float = 0.0

    @property
    def has_ended(self) -> bool:
        return self.reason is not None

    @property
    def steps(self) -> int:
        return sum(trial.steps for trial in self.trials)

    @property
    def seconds(self) -> float:
        return sum(trial.seconds for trial in self.trials)

    @property
    def best(self) -> Trial | None:
        """The best of the trials that came to their end; of those that were pruned only where no other has."""
        for states in ((FINISHED,), (PRUNED, RUNNING)):
            measured = [trial for trial in self.trials if trial.state in states and trial.value is not None]
            if measured:
                return max(measured, key=self.score)
        return None

    def score(self, trial: Trial) -> float:
        """Higher is better, whatever the metric."""
        assert trial.value is not None
        return trial.value if self.spec.metric.higher_is_better else -trial.value

    def best_so_far(self) -> list[tuple[int, float]]:
        """(number of a trial, value) each time that one which came to its end was better than all before it."""
        steps: list[tuple[int, float]] = []
        best = float("-inf")
        for trial in self.trials:
            if trial.state == FINISHED and trial.value is not None and self.score(trial) > best:
                best = self.score(trial)
                steps.append((trial.number, trial.value))
        return steps


class StudyFolder:
    """Names what lies where. The journal has one writer, who holds the tuner's lock; anybody may read it."""

    def __init__(self, path: Path):
        self.path, self.id = path, path.name
        self.spec_file = path / "study.json"
        self.journal_file = path / "journal.jsonl"
        self.stop_file = path / "stop"
        self.end_file = path / "ended.json"
        self._storage: Any = None  # reads only what came since it has read last
        self._spec: StudySpec | None = None  # never changes

    def spec(self) -> StudySpec:
        try:
            self._spec = self._spec or StudySpec.check(checked_json.read_object(self.spec_file))
            return self._spec
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise unreadable(self.id, error) from error

    def end(self) -> tuple[Words, float] | None:
        """(why it has ended, when); None while it goes on."""
        try:
            record = checked_json.read_object(self.end_file, IS_END)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise unreadable(self.id, error) from error
        return Words.from_json(record["reason"]), record["time"]

    def write_end(self, reason: Words, time: float) -> None:
        files.write_atomic(self.end_file, json.dumps({"reason": reason.to_json(), "time": time}), lasting=True)

    def request_stop(self) -> None:
        self.stop_file.touch()

    def stop_requested(self) -> bool:
        return self.stop_file.exists()

    def go_on(self) -> None:
        """What was asked before is over."""
        self.stop_file.unlink(missing_ok=True)
        self.end_file.unlink(missing_ok=True)

    # -- the journal -------------------------------------------------------------------------------
    def create_journal(self, spec: StudySpec) -> None:
        """Once, before the folder gets its name."""
        optuna = import_optuna()
        direction = "maximize" if spec.metric.higher_is_better else "minimize"
        optuna.create_study(storage=self._open(), study_name="study", direction=direction)

    def repair_journal(self) -> None:
        """Cut off the half line that a full disk or a power failure has left: what comes next begins on a line of its own."""
        with self.journal_file.open("rb+") as journal:
            text = journal.read()
            whole = text.rfind(b"\n") + 1
            if whole != len(text):
                journal.truncate(whole)

    def open(self, spec: StudySpec) -> optuna.Study:
        """Optuna's study with its sampler and its pruner. The sampler's seed depends on how many trials there are, so that
        whoever opens it draws what would have been drawn without the end."""
        optuna = import_optuna()
        if not self.journal_file.exists():
            raise unreadable(self.id, FileNotFoundError(str(self.journal_file)))
        try:
            study = optuna.load_study(study_name="study", storage=self._open())
            count = len(study.get_trials(deepcopy=False))
        except Exception as error:  # a damaged journal fails in many ways
            self._storage = None
            raise unreadable(self.id, error) from error
        search = spec.search
        seed = random.Random(f"{search['seed']} {count}").getrandbits(32)
        startup = min(2 * FIRST_FULL, max(FIRST_FULL, search["trials"] // 4))  # drawn at random, before TPE learns
        if search["sampler"] == TPE:
            study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, multivariate=True)
        else:
            study.sampler = optuna.samplers.RandomSampler(seed=seed)
        study.pruner = _pruner(search["pruner"])
        return study

    def _open(self) -> Any:
        optuna = import_optuna()
        if self._storage is None:
            # the kernel's lock in place of Optuna's, which a killed process leaves behind for half a minute
            backend = optuna.storages.journal.JournalFileBackend(str(self.journal_file), Lock(self.path / "lock"))
            self._storage = optuna.storages.JournalStorage(backend)
        return self._storage

    def trials(self, spec: StudySpec) -> tuple[Trial, ...]:
        """As the journal tells of them."""
        study = self.open(spec)
        return tuple(map(_trial, study.get_trials(deepcopy=False)))


def _pruner(name: str) -> optuna.pruners.BasePruner:
    optuna = import_optuna()
    if name == MEDIAN:
        return optuna.pruners.MedianPruner(n_startup_trials=FIRST_FULL, n_warmup_steps=2)
    if name == HYPERBAND:
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=RESOURCE, reduction_factor=3)
    return optuna.pruners.NopPruner()


def _trial(frozen: optuna.trial.FrozenTrial) -> Trial:
    notes = frozen.user_attrs
    settings = notes.get(SETTINGS) or frozen.system_attrs.get("fixed_params") or frozen.params
    names = {"WAITING": WAITING, "RUNNING": RUNNING, "COMPLETE": FINISHED, "PRUNED": PRUNED, "FAIL": FAILED}
    why = notes.get(WHY)
    return Trial(
        frozen.number + 1,  # as people count
        names[frozen.state.name],
        dict(settings),
        notes.get(VALUE),
        notes.get(RUN, ""),
        notes.get(STEPS, 0),
        notes.get(SECONDS, 0.0),
        Words.from_json(why) if why else None,
    )


def import_optuna() -> Any:
    """Optuna, which says nothing of its own on the terminal. It loads no torch."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    logging.getLogger("optuna").propagate = False
    return optuna


def unreadable(id: str, error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    what = _("The study {study} cannot be read.", study=id)
    return Refusal(what, why=_("The system says: {reason}.", reason=str(error)[:200]), field="study")


def folders(root: Path) -> dict[str, StudyFolder]:
    """All studies of a home, by id."""
    try:
        return {entry.name: StudyFolder(Path(entry.path)) for entry in os.scandir(root) if entry.is_dir()}
    except FileNotFoundError:
        return {}
