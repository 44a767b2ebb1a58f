"""One update: gradients over the batches that share it, computed again in micro-batches where memory runs out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import Loss
from bigmodel.core.events import Event, note_event
from bigmodel.core.spec import Session
from bigmodel.core.words import _
from bigmodel.data.prepare import Prepared
from bigmodel.training import out_of_memory
from bigmodel.training.batch_sizes import batch_numel
from bigmodel.training.determinism import Determinism
from bigmodel.training.forward import Forward
from bigmodel.training.nonfinite_guard import NonfiniteGuard
from bigmodel.training.throughput import Throughput
from bigmodel.training.update_ratio import UpdateRatio

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass
class TrainStep:
    """What an update is made with. `micro_batches`: into how many pieces a batch is split so that it fits the memory."""

    session: Session
    data: Prepared
    model: Any
    optimizer: Any
    forward: Forward
    throughput: Throughput
    micro_batches: int

    def __post_init__(self) -> None:
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.update_ratio = UpdateRatio(self.weights)
        self.device = self.forward.device
        self.determinism = Determinism(self.device)
        self.guard = NonfiniteGuard(self.optimizer, self.model, self.device)
        self.min_micro_batch = 2 if self.guard.norm_statistics else 1  # batch norm needs more than one example
        self.foreach = self.device.split(":")[0] in ("cpu", "cuda")

    def gradients(self, group: Sequence[np.ndarray], epoch: int) -> tuple[Loss, torch.Tensor, int]:
        """(loss, 2-norm of the gradient before clipping, micro-batches where a batch had to be split further just now, else 0).

        `group`: index arrays of the batches that share the update. Where memory runs out, the same update is computed
        again in smaller micro-batches, from the same random state: the gradient is the same mean over the same examples.
        """
        import torch

        split = 0
        while True:
            start = _rng_state(self.device)
            try:
                with self.determinism.strict_mode():
                    loss = self._passes(group, epoch)
                break
            except Exception as error:
                unsupported = self.determinism.relax_if_unsupported(error)
                if not unsupported and (
                    not out_of_memory.is_out_of_memory(error)
                    or self.micro_batches >= max(map(len, group)) // self.min_micro_batch
                ):
                    raise
            self.optimizer.zero_grad(set_to_none=True)
            self.guard.restore_statistics()
            _rng_state(self.device, start)
            if unsupported:
                continue
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()
            split = self.micro_batches = 2 * self.micro_batches
        # foreach: one kernel for all weights, which matters for small networks
        clip = self.session.settings["clip"] or math.inf
        return loss, torch.nn.utils.clip_grad_norm_(self.weights, clip, foreach=self.foreach), split

    def _micro_batch_count(self, indices: Sequence) -> int:
        return max(min(self.micro_batches, len(indices) // self.min_micro_batch), 1)

    def _passes(self, group: Sequence[np.ndarray], epoch: int) -> Loss:
        """Forward and backward through every micro-batch of every batch; the mean of their losses by weight."""
        import numpy as np
        import torch

        session, rows = self.session, self.data.arrays["train"]
        if self.micro_batches > 1:
            group = [piece for indices in group for piece in np.array_split(indices, self._micro_batch_count(indices))]
        batches = [session.task.batch(rows, indices, session.settings, epoch) for indices in group]
        weights = [session.task.loss_weight(batch) for batch in batches]  # what each loss is a mean over
        total, parts = torch.zeros((), device=self.device), {}
        for batch, weight in zip(batches, weights, strict=True):
            if not weight:
                continue
            share = weight / sum(weights)
            loss = self.forward(batch)
            scaled = loss.total * share
            scaled.backward()
            total += scaled.detach()
            for name, part in loss.parts.items():
                parts[name] = parts.get(name, 0.0) + part * share
        self.throughput.count(sum(session.task.count_units(batch) for batch in batches), sum(map(batch_numel, batches)))
        return Loss(total, parts)

    def split_event(self, step: int, parts: int) -> Event:
        """That batches are computed in `parts` micro-batches from this step on."""
        if self.guard.norm_statistics:
            words = _(
                "The memory was not enough for a whole batch. From step {step} on each is computed in {parts} parts and added up. What is learnt stays nearly the same: this network has norms over a batch, which now see the parts.",
                step=step,
                parts=parts,
            )
        else:
            words = _(
                "The memory was not enough for a whole batch. From step {step} on each is computed in {parts} parts and added up, so what is learnt stays the same.",
                step=step,
                parts=parts,
            )
        return note_event(words, parts=parts)


def _rng_state(device: str, state: tuple | None = None) -> tuple:
    """The states of the generators that a step draws from; `state` is put back first, if given."""
    import torch

    gpu = device.startswith("cuda")
    if state is not None:
        torch.set_rng_state(state[0])
        if gpu:
            torch.cuda.set_rng_state(state[1], device)
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if gpu else None
