"""Training a translator: ours beside transformers' Seq2SeqTrainer, as it comes and on the very same batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.speed import trainer
from benchmarks.speed.report import compared
from benchmarks.speed.side import Side, alternate
from benchmarks.speed.training import OURS, fresh_model, prepared, spec_from, spec_of
from bigmodel.core import catalog
from bigmodel.core.spec import RunSpec

TRAINER = "benchmarks.speed.encoder_decoder:trainer_side"


def spec(device: str = "cpu", **more: object) -> RunSpec:
    """What the Train page begins with: 3 + 3 layers, 128 wide, 64 sentences, dropout and label smoothing 0.1."""
    return spec_of("translation", "transformer", "en_zh", device, **more)


def translator(rounds: int, device: str = "cpu", steps: int = 25, warm: int = 5) -> list[dict]:
    task = {"spec": spec(device).to_json(), "steps": steps, "warm": warm}
    found = alternate(
        {
            "ours": Side(OURS, **task),
            "as it comes": Side(TRAINER, **task),
            "same batches": Side(TRAINER, **task, same_batches=True),
        },
        rounds,
    )
    work = "encoder-decoder, 3 + 3 layers of 128, 64 sentences"
    as_it_comes = "tokens without padding; the peer draws its batches at random and pads them to their longest"
    same = "the peer gets our batches, sentences of like length together, in our order"
    return [
        compared(work, found["ours"], "Seq2SeqTrainer", found["as it comes"], "tokens/s", ">= 1.3", note=as_it_comes),
        compared(
            work, found["ours"], "Seq2SeqTrainer, our batches", found["same batches"], "tokens/s", ">= 1.3", note=same
        ),
    ]


class Pairs:
    """Sentences as Seq2SeqTrainer wants them, and a list of which were asked for, in order."""

    def __init__(self, spec: RunSpec, arrays: Mapping, same_batches: bool):
        import numpy as np

        size = spec.settings["batch_size"]
        if same_batches:
            batches = catalog.task(spec.task).batch_indices(arrays, spec.settings, 0)
            self.order = np.concatenate([batch for batch in batches if len(batch) == size])
        else:
            self.order = np.arange(len(arrays["source_offsets"]) - 1)
        self.arrays, self.asked = arrays, []

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict:
        row = int(self.order[index])
        self.asked.append(row)
        return {"input_ids": self._side("source", row).tolist(), "labels": self._side("target", row).tolist()}

    def _side(self, side: str, row: int) -> Any:
        start, end = self.arrays[f"{side}_offsets"][row : row + 2]
        return self.arrays[side][start:end]

    def units(self, rows: list[int]) -> int:
        """Tokens of both sides, padding not counted: what our loop counts."""
        return sum(len(self._side(side, row)) for side in ("source", "target") for row in rows)


def trainer_side(spec: Mapping, steps: int, warm: int, same_batches: bool = False, **own: Any) -> Callable[[], dict]:
    import transformers

    asked = spec_from(spec)
    data, size = prepared(asked), asked.settings["batch_size"]
    own = {**({"train_sampling_strategy": "sequential"} if same_batches else {}), **own}

    def measure() -> dict:
        model = fresh_model(asked, data)
        pairs = Pairs(asked, data.arrays["train"], same_batches)
        return trainer.measure(
            model,
            pairs,
            asked.settings,
            steps,
            warm,
            lambda step: pairs.units(pairs.asked[step * size : (step + 1) * size]),
            arguments=own,
            trainer_class=transformers.Seq2SeqTrainer,
            arguments_class=transformers.Seq2SeqTrainingArguments,
            data_collator=transformers.DataCollatorForSeq2Seq(data.processor, model),
        )

    return measure
