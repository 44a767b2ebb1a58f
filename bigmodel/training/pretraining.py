"""Pretraining by masked language modelling on the texts of the task that follows (Devlin et al. 2019, section 3.1)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bigmodel.core import files
from bigmodel.core.contracts import LOSS, Task
from bigmodel.core.events import DIVERGED, FINISHED, STOPPED, Event
from bigmodel.core.shared_fields import TOKEN_ACCURACY
from bigmodel.core.spec import RunSpec, Session
from bigmodel.core.words import Words, _
from bigmodel.metrics.token_scores import score_tokens
from bigmodel.training import checkpoint, resume_state

MASK_PROBABILITY = 0.15  # of the tokens are to be named
MASK_TOKEN_SHARE, RANDOM_TOKEN_SHARE = 0.8, 0.1  # of those: replaced by [MASK], by a random token; the rest stays
EPOCHS_SETTING = "pretraining_epochs"  # the hyperparameter of a network that can do this


class MaskedLmTask(Task):
    """Masked language modelling over the batches of another task: logits (masked, vocabulary), of the masked places only."""

    head = "masked-lm"
    metrics = (
        LOSS,
        TOKEN_ACCURACY,
    )

    def __init__(self, task: Task, facts: Mapping):
        self.task, self.unit = task, task.unit
        self.mask_token_id, self.vocab_size, self.special_token_ids = (
            facts["mask"],
            facts["vocabulary"],
            facts["special"],
        )

    def batch_indices(self, arrays: Mapping, settings: Mapping, epoch: int | None) -> Sequence:
        return self.task.batch_indices(arrays, settings, epoch)

    def batch(self, arrays: Mapping, indices: Any, settings: Mapping, epoch: int | None) -> dict:
        """input_ids, partly masked, and attention_mask (batch, tokens); `places` (masked), their positions in the flattened
        batch, and labels (masked)."""
        import numpy as np
        import torch

        batch = self.task.batch(arrays, indices, settings, None)
        ids, real = batch["input_ids"].numpy(), batch["attention_mask"].numpy().astype(bool)
        random = np.random.default_rng(
            [settings["seed"], 0 if epoch is None else epoch + 1, int(indices[0]), len(indices)]
        )
        maskable = real & ~np.isin(ids, self.special_token_ids)
        masked = maskable & (random.random(ids.shape) < MASK_PROBABILITY)
        if not masked.any():  # of a few short texts
            masked.flat[np.flatnonzero(maskable if maskable.any() else real)[0]] = True
        fate, any_token = random.random(ids.shape), random.integers(0, self.vocab_size, ids.shape)
        inputs = np.where(masked & (fate < MASK_TOKEN_SHARE), self.mask_token_id, ids)
        randomised = (fate >= MASK_TOKEN_SHARE) & (fate < MASK_TOKEN_SHARE + RANDOM_TOKEN_SHARE)
        inputs = np.where(masked & randomised, any_token, inputs)
        return {
            "input_ids": torch.from_numpy(inputs),
            "attention_mask": batch["attention_mask"],
            "places": torch.from_numpy(np.flatnonzero(masked)),
            "labels": torch.from_numpy(ids[masked]),
        }

    def count_units(self, batch: Mapping) -> int:
        return len(batch["input_ids"])

    def measure(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping, final: bool = False) -> dict:
        """Always with the same tokens masked. The test split is for the task that follows."""
        if final:
            return {}
        batches = (
            self.batch(arrays, indices, settings, None) for indices in self.batch_indices(arrays, settings, None)
        )
        nats, hits, count = score_tokens(model, batches)
        return {"loss": nats / count, "accuracy": hits / count}


def is_enabled(settings: Mapping) -> bool:
    return settings.get(EPOCHS_SETTING, 0) > 0


def pretraining_folder(folder: Path) -> Path:
    """Where the pretraining of the run in `folder` is kept, as that of a run is."""
    return folder / "pretraining"


def latest_step(folder: Path) -> int:
    """The step of its pretraining that a run would go on from, 0 where there is none."""
    steps = [int(one.name.removeprefix("step-")) for one in resume_state.checkpoint_folders(pretraining_folder(folder))]
    return max(steps, default=0)


def is_finished(folder: Path) -> bool:
    """Whether the pretraining of a run has come to its end."""
    return not (pretraining_folder(folder) / "checkpoints").exists() and checkpoint.verify(
        pretraining_folder(folder) / "model"
    )


def is_needed(settings: Mapping, folder: Path) -> bool:
    """Whether a run has to pretrain: not where it goes on from weights that have."""
    if not is_enabled(settings) or is_finished(folder) or (folder / resume_state.ORIGIN).exists():
        return False
    return not any(resume_state.is_valid(one) for one in resume_state.checkpoint_folders(folder))


def pretraining_spec(spec: RunSpec) -> RunSpec:
    """The same run, with the settings of its pretraining."""
    own = {
        "epochs": spec.settings[EPOCHS_SETTING],
        "learning_rate": spec.settings["pretraining_rate"],
        "loss": "cross-entropy",
        "label_smoothing": 0.0,
        "max_steps": 0,
        "max_minutes": 0,
        "eval_every": 0,
        "patience": 0,
    }
    return replace(spec, settings={**spec.settings, **own})


def pretraining_session(session: Session, facts: Mapping) -> Session:
    """The pretraining of a run; `facts`: those of its encoded data."""
    return replace(session, spec=pretraining_spec(session.spec), task=MaskedLmTask(session.task, facts))


def relay_events(events: Iterator[Event], folder: Path) -> Generator[Event, None, bool]:
    """The events of a pretraining as part of the run that it belongs to; whether it has come to its end."""
    files.make_folder(pretraining_folder(folder))
    steps = 0
    for event in events:
        if event.kind == "plan":
            steps = event["steps"]
        elif event.kind == "step":
            names = ("step", "epoch", "loss", "learning_rate", "rate", "seconds")
            yield Event("pretraining", {name: event[name] for name in names} | {"steps": steps})
        elif event.kind == "validation":
            yield Event("pretraining", {name: event[name] for name in ("step", "epoch", "metrics")} | {"steps": steps})
        elif event.kind == "state" and event["state"] == FINISHED:
            checkpoint.remove(pretraining_folder(folder) / "checkpoints")
            return True
        elif event.kind == "state":
            yield _relayed_state(event)
        elif event.kind == "note" and "parts" in event.data:
            yield event
    return False


def _relayed_state(state: Event) -> Event:
    """A state with words that do not take its steps for those of the run."""
    if state["state"] == STOPPED:
        words = _("Stopped in the pretraining; it can go on from there.")
    elif state["state"] == DIVERGED:
        words = _("In the pretraining: {reason}", reason=Words.from_json(state["reason"]))
    else:
        return state
    return Event("state", {**state.data, "reason": words.to_json()})


def clean_up(folder: Path) -> None:
    """What was learnt before is in the run's own checkpoints by now."""
    if resume_state.can_resume(folder):
        checkpoint.remove(pretraining_folder(folder))
