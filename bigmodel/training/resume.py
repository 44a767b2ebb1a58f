"""Where a run goes on from: the newest valid checkpoint of its own, or that of the run it branches off from."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.events import Event, note_event
from bigmodel.core.words import _, join_words
from bigmodel.training import resume_state
from bigmodel.training.evaluator import Evaluator


def restore(evaluator: Evaluator, per_epoch: int, steps: int) -> Generator[Event, None, Mapping]:
    """Put model, optimizer and random generators where the newest valid checkpoint has them; the rest of its state.

    {} for a run that begins. A damaged checkpoint is passed over for the one before.
    """
    folder, damaged = evaluator.folder, []
    resume_state.recover(folder)
    for place in resume_state.checkpoint_folders(folder):
        if not resume_state.is_valid(place):
            damaged.append(place.name)
            continue
        for name in damaged:
            yield note_event(_("The checkpoint {name} is damaged; the one before it is used.", name=name))
        before = resume_state.read(place)
        device = next(evaluator.model.parameters()).device
        processor = resume_state.processor_name(device)
        changes = resume_state.changes(before, evaluator.session.spec, device.type, processor)
        if changes:
            words = _("It goes on, but no longer as the same run, bit by bit: {changes}.", changes=join_words(changes))
            yield note_event(words)
        _load_checkpoint(place, evaluator)
        evaluator.valid_checkpoints.add(place)
        evaluator.step = before["step"]
        evaluator.restore(before["watch"])
        if evaluator.best_is_lost():
            yield evaluator.reset_best()
        yield Event("resume", {"step": evaluator.step})
        yield note_event(_("Goes on from step {step}.", step=evaluator.step))
        return before
    if damaged:
        yield note_event(
            _("No checkpoint is whole any more ({names}): the run begins again.", names=", ".join(damaged))
        )
    if (folder / resume_state.ORIGIN).exists():
        yield from _branch(evaluator, folder / resume_state.ORIGIN, per_epoch, steps)
    return {}


def _branch(evaluator: Evaluator, origin: Path, per_epoch: int, steps: int) -> Generator[Event, None, None]:
    """Begin with the checkpoint of another run; its optimizer state too, where the optimizer is the same."""
    if not resume_state.is_valid(origin):
        what = _("The checkpoint that this run begins with is damaged.")
        raise Refusal(what, do=_("Branch off from another checkpoint."))
    before = resume_state.read(origin)
    same = before["spec"]["settings"]["optimizer"] == evaluator.settings["optimizer"]
    _load_checkpoint(origin, evaluator, with_optimizer=same)
    evaluator.step = round(before["epoch"] * per_epoch)
    if evaluator.step >= steps:
        what = _("The weights have been trained for {epochs} epochs already.", epochs=round(before["epoch"], 2))
        raise Refusal(what, do=_("Ask for more epochs than that."), field="epochs")
    evaluator.validated, evaluator.before = evaluator.step, before["watch"].get("before", {})
    yield note_event(_("Begins with the weights of step {step} of another run.", step=before["step"]))
    yield from evaluator.samples()


def _load_checkpoint(place: Path, evaluator: Evaluator, with_optimizer: bool = True) -> None:
    resume_state.load_weights(place, evaluator.model)
    if with_optimizer:
        resume_state.load_optimizer(place, evaluator.optimizer)
    resume_state.load_random(place)
