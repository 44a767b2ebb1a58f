"""What people do with runs: launch, stop, resume, branch, roll back, delete. Reading them is the store's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.events import LIVE, QUEUED
from bigmodel.core.fields import Field
from bigmodel.core.spec import RunSpec, fields_for, without_time_limit
from bigmodel.core.words import Words, _, join_words
from bigmodel.runs import device, run_annotations
from bigmodel.runs.run import Run
from bigmodel.runs.run_annotations import Annotations
from bigmodel.runs.store import Store
from bigmodel.runs.supervisor import changes_since_checkpoint, retry_delay
from bigmodel.training import pretraining, resume_state

CANCELLED_EARLY = _("Cancelled before it began.")
NO_CHECKPOINT_YET = _("Wait for its first one: it is written with the first validation, or after half a minute.")


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run that can be gone back to."""

    step: int
    best: bool  # on validation
    bytes: int
    folder: Path


class RunService(Store):
    """The runs of a home folder. Whatever changes them calls `refuse_read_only` first; `wake` tells the supervisor."""

    def __init__(self, home: Path, refuse_read_only: Callable[[], None], wake: Callable[[], None]):
        super().__init__(home)
        self._refuse_read_only, self._wake = refuse_read_only, wake

    def launch(self, spec: Mapping | RunSpec, token: str = "", origin: Path | None = None) -> str:
        """Check the spec, write the run folder with its first event, wake the supervisor; the run's id.
        The same token twice is one run. `origin`: the checkpoint that it begins with."""
        self._refuse_read_only()
        spec = RunSpec.check(spec)
        device.check(str(spec.settings["device"]))
        id = super().launch(spec, token, origin)
        self._wake()
        return id

    def stop(self, id: str, reason: Words = CANCELLED_EARLY) -> None:
        """A waiting run is cancelled; one that is trained saves its weights and ends."""
        self._refuse_read_only()
        super().stop(id, reason)
        self._wake()

    def resume(self, id: str, anyway: bool = False) -> None:
        """A run that was stopped or has died goes on from its newest checkpoint, bit by bit as if nothing had been.
        Where versions, device, settings or data have changed since, that is refused with what has changed, unless
        `anyway`."""
        self._refuse_read_only()
        changes = [] if anyway else changes_since_checkpoint(self.folder(id))
        if changes:
            what = _("What comes would not be the same run any more: {changes}.", changes=join_words(changes))
            raise Refusal(what, do=_("Resume it anyway, or branch off a new run."), field="anyway")
        super().resume(id)
        self._wake()

    def delete(self, id: str) -> None:
        """The run with its model; refused while it is trained."""
        self._refuse_read_only()
        super().delete(id)

    def annotations(self, id: str) -> Annotations:
        """Tags and note of a run; none where there are none that can be read."""
        return run_annotations.read(self.runs_folder / Path(id).name)

    def annotate(self, id: str, tags: Sequence[str], note: str) -> None:
        self._refuse_read_only()
        run_annotations.write(self.folder(id).path, tags, note)

    def will_retry(self, id: str) -> bool:
        """Whether a run that died will be resumed by itself, within seconds or a minute."""
        return retry_delay(self.folder(id)) is not None

    def resume_point(self, id: str) -> tuple[str, int]:
        """Where a run would go on: ('step', N); ('pretraining', N), a step of what comes before; ('pretraining-done', 0),
        after that; ('start', 0)."""
        folder, checkpoints = self.folder(id).path, self.checkpoints(id)
        if checkpoints:
            return "step", checkpoints[0].step
        step = pretraining.latest_step(folder)
        if step:
            return "pretraining", step
        return ("pretraining-done" if pretraining.is_finished(folder) else "start"), 0

    def unfinished(self) -> dict[str, RunSpec]:
        """The specs of the runs that wait or are being trained, by id: what they need must stay."""
        return {run.id: run.spec for run in self.all(states=(*LIVE, QUEUED))}

    # -- checkpoints ---------------------------------------------------------------------------------
    def checkpoints(self, id: str) -> list[Checkpoint]:
        """What a run can go on or branch off from, newest first."""
        best_step, checkpoints = self.get(id).best_step, []
        for path in resume_state.checkpoint_folders(self.folder(id).path):
            step = int(path.name.removeprefix("step-"))
            with suppress(FileNotFoundError):  # a live run has just replaced it by a newer one
                if (path / resume_state.STATE_FILE).exists():
                    size = sum(file.stat().st_size for file in path.iterdir())
                    checkpoints.append(Checkpoint(step, best_step == step, size, path))
        return checkpoints

    def branch(self, id: str, step: int | None = None, settings: Mapping | None = None, name: str = "",
               token: str = "") -> str:  # fmt: skip
        """A new run that begins with a checkpoint of another, with changed settings: more epochs, another learning
        rate. The newest whole checkpoint where no step is named; also of a live run. Refuses to change the network or
        the encoding."""
        self._refuse_read_only()
        parent, chosen = self.get(id), self._intact_checkpoint(id, step)
        spec = RunSpec.check(
            parent.spec.to_json()
            | {"settings": {**parent.spec.settings, **without_time_limit(settings or {})}, "name": name}
            | {"parent": {"run": id, "step": chosen.step}, "study": None}
        )
        _refuse_another_network(parent.spec, spec)
        try:
            _refuse_no_epochs_left(resume_state.read(chosen.folder)["epoch"], spec)
            return self.launch(spec, token, chosen.folder)
        except OSError as error:
            if chosen.folder.exists():
                raise
            raise _checkpoint_replaced(chosen) from error

    def _intact_checkpoint(self, id: str, step: int | None) -> Checkpoint:
        """The newest checkpoint whose files are whole, or that of a step."""
        live, checkpoints = self.get(id).live, self.checkpoints(id)
        candidates = [entry for entry in checkpoints if step in (None, entry.step)]
        if not candidates:
            what = _("The run {run} has no checkpoint to begin with.", run=id)
            options = ", ".join(str(entry.step) for entry in checkpoints) or "-"
            do = _("Choose one of: {options}.", options=options)
            raise Refusal(what, do=NO_CHECKPOINT_YET if live and not checkpoints else do, field="step")
        intact = next((entry for entry in candidates if resume_state.is_valid(entry.folder)), None)
        if intact is not None:
            return intact
        if live and not candidates[0].folder.exists():
            raise _checkpoint_replaced(candidates[0])
        what = _("The checkpoint of step {step} is damaged.", step=candidates[0].step)
        raise Refusal(what, do=_("Choose another one."), field="step")

    def rollback(self, id: str, token: str = "") -> str:
        """A new run with half the learning rate, from the best checkpoint; from the newest other one where that is
        damaged or of the run's end; from the beginning where none will do."""
        run = self.get(id)
        spec, rate = run.spec, rate_setting(run)
        halved = {rate: spec.settings[rate] / 2}
        best_first = sorted(self.checkpoints(id), key=lambda entry: not entry.best)
        usable = next((entry for entry in best_first if _has_epochs_left(entry, spec)), None)
        if usable is not None:
            return self.branch(id, usable.step, halved, token=token)
        return self.launch(spec.to_json() | {"settings": {**spec.settings, **halved}, "study": None}, token)


def rate_setting(run: Run) -> str:
    """The setting that is halved when a run has diverged: the learning rate of what it had come to."""
    return "pretraining_rate" if run.pretraining and not run.plan else "learning_rate"


def branchable_fields(spec: RunSpec) -> list[Field]:
    """The settings that a branch of the run may change: not what its weights are the weights of."""
    task, architecture = catalog.task(spec.task), catalog.architecture(spec.architecture)
    fixed = {field.name for field in architecture.hyperparameters_for(task)} - {"dropout"} | {
        "block_size",
        *task.encoding_settings,
    }
    return [field for field in fields_for(task, architecture) if field.name not in fixed]


def _has_epochs_left(entry: Checkpoint, spec: RunSpec) -> bool:
    """Whether a checkpoint is whole, and not that of the run's end."""
    return resume_state.is_valid(entry.folder) and resume_state.read(entry.folder)["epoch"] < spec.settings["epochs"]


def _checkpoint_replaced(entry: Checkpoint) -> Refusal:
    """A live run keeps its best and its newest checkpoints only."""
    what = _("The checkpoint of step {step} has just given way to a newer one.", step=entry.step)
    return Refusal(what, do=_("Choose another one."), field="step")


def _refuse_another_network(parent: RunSpec, spec: RunSpec) -> None:
    """A branch keeps the weights, so it keeps what they are weights of."""
    free = {field.name for field in branchable_fields(spec)}
    for name in sorted(spec.settings.keys() & parent.settings.keys() - free):
        if spec.settings[name] != parent.settings[name]:
            what = _("A branch cannot change '{setting}': the weights are made for {value}.", setting=name,
                     value=str(parent.settings[name]))  # fmt: skip
            raise Refusal(what, do=_("Start a new run instead."), field=name)


def _refuse_no_epochs_left(epoch: float, spec: RunSpec) -> None:
    """Before a worker is started only to find it out."""
    if epoch >= spec.settings["epochs"]:
        what = _("The weights have been trained for {epochs} epochs already.", epochs=round(epoch, 2))
        raise Refusal(what, do=_("Ask for more epochs than that."), field="epochs")
