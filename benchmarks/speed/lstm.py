"""Training the classic LSTM text generator: ours beside Keras, on TensorFlow and on torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

from benchmarks.speed.report import compared
from benchmarks.speed.side import Side, alternate, peer
from benchmarks.speed.training import OURS, prepared, spec_from, spec_of
from bigmodel.core import catalog
from bigmodel.core.spec import RunSpec

KERAS = "benchmarks.speed.lstm:keras_side"
GOALS = {"tensorflow": "<= 0.60", "torch": "<= 0.35"}


def spec(device: str = "cpu", **more: object) -> RunSpec:
    """Embedding 10,000 x 128, LSTM 128, Dense 10,000; 32 windows of 64 characters."""
    return spec_of("text-generation", "lstm", "prose_zh", device, **more)


def lstm(rounds: int, device: str = "cpu", steps: int = 14, warm: int = 3) -> list[dict]:
    asked = spec(device)
    task = {"spec": asked.to_json(), "steps": steps, "warm": warm}
    found = alternate(
        {
            "ours": Side(OURS, **task),
            **{name: Side(KERAS, _backend(name, device), **task, backend=name) for name in GOALS},
        },
        rounds,
    )
    note = f"from {steps} steps of {epoch_steps(asked)} in the epoch, after Keras has compiled its own"
    for measured in found.values():
        for one in measured if isinstance(measured, list) else ():
            one["epoch_seconds"] = one["step_seconds"] * epoch_steps(asked)
    work = "LSTM, embedding 10,000 x 128, 128 units, dense 10,000: one epoch"
    return [
        compared(
            work, found["ours"], f"Keras on {name}", found[name], "s", goal, "epoch_seconds", note=note, ratio="time"
        )
        for name, goal in GOALS.items()
    ]


def _backend(name: str, device: str) -> dict[str, str]:
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {"KERAS_BACKEND": name, "TF_CPP_MIN_LOG_LEVEL": "2", **hidden}


def epoch_steps(spec: RunSpec) -> int:
    return len(catalog.task(spec.task).batch_indices(prepared(spec).arrays["train"], spec.settings, 0))


def keras_model(spec: RunSpec):
    """The article's model, giving a word for every place as ours does."""
    keras = peer("keras")
    settings = spec.settings
    model = keras.Sequential(
        [
            keras.layers.Embedding(settings["vocabulary"], settings["embedding"]),
            keras.layers.LSTM(settings["units"], return_sequences=True),
            keras.layers.Dense(settings["vocabulary"], activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.Adam(settings["learning_rate"], clipnorm=settings["clip"])
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    return model


def keras_side(spec: Mapping, steps: int, warm: int, backend: str) -> Callable[[], dict]:
    import numpy as np

    peer(backend)
    asked = spec_from(spec)
    _same_threads(backend)
    settings, tokens = asked.settings, prepared(asked).arrays["train"]["tokens"]
    starts = np.concatenate(catalog.task(asked.task).batch_indices({"tokens": tokens}, settings, 0))
    windows = tokens[starts[:, None] + np.arange(settings["block_size"] + 1)].astype(np.int32)
    model = keras_model(asked)

    def fit(count: int) -> list[float]:
        cut = windows[: count * settings["batch_size"]]
        told = model.fit(cut[:, :-1], cut[:, 1:], batch_size=settings["batch_size"], shuffle=False, verbose=0)
        return told.history["loss"]

    fit(warm)

    def measure() -> dict:
        fit(1)
        begun = time.perf_counter()
        losses = fit(steps)
        seconds = time.perf_counter() - begun
        units = steps * settings["batch_size"] * settings["block_size"]
        return {
            "rate": units / seconds,
            "step_seconds": seconds / steps,
            "losses": losses,
            "parameters": model.count_params(),
            "threads": _threads(),
            "precision": "fp32",
        }

    return measure


def _same_threads(backend: str) -> None:
    """TensorFlow does not read OMP_NUM_THREADS by itself."""
    if backend == "tensorflow" and "OMP_NUM_THREADS" in os.environ:
        threading = peer("tensorflow").config.threading
        threading.set_intra_op_parallelism_threads(int(os.environ["OMP_NUM_THREADS"]))
        threading.set_inter_op_parallelism_threads(int(os.environ["OMP_NUM_THREADS"]))


def _threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
