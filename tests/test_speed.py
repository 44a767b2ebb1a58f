"""The benchmarks compare the same model, data and batch, and say what they did not measure."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import _parser, main
from benchmarks.report import environment
from benchmarks.speed import (
    command,
    dashboard,
    data,
    encoder_decoder,
    gpu,
    growth,
    images,
    importing,
    language_model,
    lstm,
    report,
    rows,
    training,
)
from benchmarks.speed.side import Failed, Missing, Side, alternate, peer
from bigmodel.core import catalog
from bigmodel.core.events import FINISHED
from bigmodel.studio import Studio

ROOT = Path(__file__).parents[1]
TINY = {"layers": 1, "width": 16, "attention_heads": 2, "block_size": 16, "batch_size": 4, "precision": "fp32"}

TINY_PAIRS = {"layers": 1, "width": 16, "attention_heads": 2, "batch_size": 4, "dropout": 0.0, "precision": "fp32"}
PICTURES = {  # asked for inside the tests: asking makes the benchmarks' data sets known to the catalogue
    "vit": lambda: images.vit_spec(layers=1, width=16, attention_heads=2, batch_size=8, precision="fp32"),
    "resnet": lambda: images.resnet_spec(channels=4, stages=2, batch_size=8, precision="fp32"),
}


@pytest.fixture(autouse=True, scope="module")
def known():
    """What the benchmarks add to the catalogue is gone after them."""
    yield
    catalog.datasets.cache_clear()


@pytest.fixture
def writer():
    return language_model.char_gpt_spec(**TINY)


def own_losses(spec, steps, monkeypatch):
    """The loss of every step of our loop."""
    monkeypatch.setattr("bigmodel.training.compute.STEP_EVENT_SECONDS", 0.0)
    return [one["loss"] for one in training.run(spec, steps) if one.kind == "step"]


# -- the same work on both sides -------------------------------------------------------------------
def test_the_bare_loop_learns_exactly_what_ours_learns(writer, monkeypatch):
    theirs = language_model.bare_loop(writer, training.prepared(writer), steps=4, warm=1)["losses"]
    assert own_losses(writer, 5, monkeypatch) == pytest.approx(theirs, rel=1e-6)


def test_the_trainer_learns_what_our_loop_learns(writer, monkeypatch):
    in_our_order = {"train_sampling_strategy": "sequential", "logging_steps": 1, "remove_unused_columns": False}
    measure = language_model.trainer_side(writer.to_json(), 4, 1, aligned=True, **in_our_order)
    assert own_losses(writer, 5, monkeypatch) == pytest.approx(measure()["losses"], rel=1e-3)


def test_seq2seq_trainer_learns_what_our_loop_learns_from_our_batches(monkeypatch):
    spec = encoder_decoder.spec(**TINY_PAIRS)
    in_our_order = {"logging_steps": 1, "train_sampling_strategy": "sequential"}
    measure = encoder_decoder.trainer_side(spec.to_json(), 4, 1, same_batches=True, **in_our_order)
    assert own_losses(spec, 5, monkeypatch) == pytest.approx(measure()["losses"], rel=1e-3)


@pytest.mark.parametrize("spec", PICTURES.values(), ids=PICTURES)
def test_the_picture_trainer_sees_our_pictures(spec, monkeypatch):
    spec = spec()
    in_our_order = {"logging_steps": 1, "train_sampling_strategy": "sequential"}
    measure = images.trainer_side(spec.to_json(), 3, 1, **in_our_order)
    assert own_losses(spec, 4, monkeypatch) == pytest.approx(measure()["losses"], rel=2e-3)


@pytest.mark.parametrize("backend", lstm.GOALS)
def test_keras_learns_the_same_model(backend):
    """It begins with other random weights, so that only where it begins is alike: all words equally likely."""
    for name in ("keras", backend):
        pytest.importorskip(name, reason="a peer: pip install -r requirements-bench.txt")
    spec = lstm.spec(vocabulary=300, embedding=8, units=8, batch_size=4, block_size=8)
    found = alternate(
        {
            "keras": Side(
                lstm.KERAS, lstm._backend(backend, "cpu"), spec=spec.to_json(), steps=2, warm=1, backend=backend
            )
        },
        1,
    )["keras"]
    ours = sum(weight.numel() for weight in training.fresh_model(spec, training.prepared(spec)).parameters())
    one_bias_less = 4 * spec.settings["units"]  # torch has two of them, which are only ever added
    assert found[0]["parameters"] == ours - one_bias_less
    assert found[0]["losses"][0] == pytest.approx(math.log(300), rel=0.02)


def test_units_of_pairs_are_tokens_without_padding():
    spec = encoder_decoder.spec(**TINY_PAIRS)
    arrays = training.prepared(spec).arrays["train"]
    task = catalog.task("translation")
    batch = task.batch_indices(arrays, spec.settings, 0)[0]
    units = encoder_decoder.Pairs(spec, arrays, same_batches=False).units(list(batch))
    assert units == task.count_units(task.batch(arrays, batch, spec.settings, 0))


def test_everybody_begins_with_the_same_weights(writer):
    import torch

    kept = training.prepared(writer)
    one, two = training.fresh_model(writer, kept).state_dict(), training.fresh_model(writer, kept).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_speed_is_that_of_the_steps_after_the_warm_up(writer):
    events = [one for one in training.run(writer, 400) if one.kind == "step"]
    found = training.speed(events, warm=1)
    per_step = writer.settings["batch_size"] * writer.settings["block_size"]
    assert found["rate"] * found["step_seconds"] == pytest.approx(per_step, rel=0.02)


# -- processes ---------------------------------------------------------------------------------------
def echo(word):
    """A side for the tests: what it was given, and how often it was asked."""
    asked = []

    def measure():
        print("libraries print")  # must not disturb the answers
        asked.append(word)
        return {"rate": float(len(asked)), "word": word}

    return measure


def broken(where):
    def measure():
        raise ValueError("no such thing")

    return broken("") if where == "measure" and measure() else measure()


def lacking():
    peer("a_library_that_nobody_has")


def side(function, **arguments):
    return Side(f"test_speed:{function}", {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}, **arguments)


def test_sides_take_turns_in_processes_of_their_own():
    found = alternate({"a": side("echo", word="one"), "b": side("echo", word="two")}, 3)
    assert [one["rate"] for one in found["a"]] == [1, 2, 3]
    assert {one["word"] for one in found["b"]} == {"two"}


def test_a_missing_peer_is_said_with_what_to_install_and_the_others_are_measured():
    found = alternate({"ours": side("echo", word="x"), "peer": side("lacking")}, 2)
    row = report.compared("work", found["ours"], "a peer", found["peer"], "tokens/s", ">= 1.5")
    assert isinstance(found["peer"], Missing) and row["ours_value"] == 1.5
    assert "a_library_that_nobody_has is missing, pip install -r requirements-bench.txt" in row["note"]
    assert row["ratio"] is None and row["reached"] is None and "not measured" in report.render(figures(row))


def test_a_side_that_breaks_says_why():
    with pytest.raises(Failed, match="ValueError: no such thing"):
        alternate({"a": side("broken", where="start")}, 1)


# -- rows, figures, page -------------------------------------------------------------------------------
def figures(*rows, name="char-gpt"):
    return {name: {"rows": list(rows), "environment": environment(()), "load": [0.1, 0.2], "seconds": 3.0}}


def rates(*values):
    return [{"rate": value, "threads": 1, "precision": "fp32"} for value in values]


def times(*values):
    return [{"seconds": value} for value in values]


def test_a_row_compares_medians_whichever_way_is_better():
    faster = report.compared("w", rates(3, 900, 4), "p", rates(1, 2, 3), "u/s", ">= 1.9")
    assert (faster["ours_value"], faster["peer_value"], faster["ratio"], faster["reached"]) == (4, 2, 2, True)
    part = report.compared("w", times(3), "p", times(6), "s", "<= 0.45", "seconds", ratio="time")
    assert (part["ratio"], part["reached"]) == (0.5, False)
    assert report.compared("w", times(3), "p", times(6), "s", ">= 2", "seconds")["reached"] is True


def test_a_row_alone_is_held_against_its_bound():
    assert report.alone("list of 1,000 runs", [0.1, 0.3, 0.15], "s", "<= 0.2")["reached"] is True


@pytest.mark.parametrize(
    "goal, ratio, met", [(1.5, 1.6, True), (">= 1.5x", 1.4, False), ("", 3.0, None), (2, None, None)]
)
def test_goals_are_read_as_they_are_written(goal, ratio, met):
    assert report.reached({"goal": goal, "ratio": ratio}) is met


def test_the_page_keeps_what_others_write(tmp_path):
    kept = replace(report.REPORT, page=tmp_path / "speed.md", folder=tmp_path)
    kept.page.write_text("# How well\n\n<!-- figures: others -->\n| 1 |\n<!-- end of figures -->\n")
    row = report.compared("w", rates(3), "p", rates(2), "u/s", ">= 1.9")
    for name in ("char-gpt", "gpt", "gpt"):
        kept.save_entry(name, figures(row)["char-gpt"], ["gpt", "char-gpt"])
    text = kept.page.read_text()
    assert text.startswith("# How well\n\n<!-- figures: others -->\n| 1 |\n<!-- end of figures -->\n")
    assert text.index("| `gpt` |") < text.index("| `char-gpt` |") and text.count("| `gpt` |") == 1
    assert list(json.loads(kept.file.read_text())) == ["gpt", "char-gpt"]


# -- data, growth, sessions, GPU ---------------------------------------------------------------------------
def test_both_ways_to_encode_give_the_same_tokens():
    spec = data.spec("bench_texts_hundredth", vocabulary=400).to_json()
    ours, theirs = data.our_encoding(spec)(), data.their_encoding(spec)()
    documents = catalog.dataset("bench_texts_hundredth").rows()["train"].num_rows
    assert ours["tokens"] == theirs["tokens"] + documents + 1, "ours has an end before each text and after the last"


def test_both_ways_to_read_count_the_same_units():
    spec = data.spec("bench_texts_hundredth", vocabulary=400).to_json()
    assert data.our_batches(spec)()["rate"] > data.their_batches(spec)()["rate"] > 0
    assert 0 < data.second_run(spec)()["seconds"] < 60


def test_texts_are_as_long_as_they_are_said_to_be():
    dataset = training.spec_of("text-generation", "gpt", "bench_texts_hundredth") and catalog.dataset(
        "bench_texts_hundredth"
    )
    written = sum(len(text.encode()) for text in dataset.rows()["train"]["text"])
    assert rows.SIZES[dataset.name] * 10**6 <= written < 1.01 * rows.SIZES[dataset.name] * 10**6


@pytest.mark.parametrize("kind", importing.KINDS)
def test_every_row_of_a_file_is_imported_and_its_cost_told(kind):
    with Side(importing.HERE + "reading", kind=kind, megabytes=1) as side:
        found = side.measure()
    path = importing.file(kind, 1)
    assert 1e6 <= path.stat().st_size < 1.01e6
    assert found["rows"] == len(path.read_text("utf-8").splitlines()) - (kind == "csv")
    assert 0 < found["seconds"] < 30 and 20 < found["memory"] < 1000


def test_runs_made_for_the_list_read_as_runs(home):
    folders = [growth.ended(home, number, points=1200) for number in (1, 2)]
    growth._indexed(home, folders)
    growth._listed(home, 2)
    run = Studio(home).runs.all()[0]
    assert (run.state, run.step, run.number) == (FINISHED, 1200, 2) and run.validation["loss"] > 0
    assert len(Studio(home).runs.events(run.id, kinds=("step",))[1]) == 1200


def test_sessions_watch_a_run_that_goes_on_and_see_it_redrawn():
    small = {"layers": 1, "width": 16, "attention_heads": 2, "block_size": 16, "vocabulary": 400, "batch_size": 4}
    (row,) = dashboard.dashboard(1, window=3.0, conditions={"no server": None, "2 sessions": 2}, **small)
    assert row["ours_value"] > 0 and row["ratio"] == pytest.approx(row["ours_value"] / row["peer_value"])
    assert float(re.search(r"redrawn ([\d.]+) times a second", row["note"])[1]) > 0.2


def test_without_a_gpu_the_gpu_comparison_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["speed", "gpt2"]) == 2
    assert "--device cuda" in capsys.readouterr().err
    assert main(["speed", "gpt2", "--device", "cuda"]) == 1
    assert "no cuda device" in capsys.readouterr().err


def test_utilisation_counts_as_nanogpt_does():
    settings = {"width": 768, "block_size": 1024, "layers": 12}
    assert gpu.flops_a_token(124_439_808, settings) == pytest.approx(6 * 123.65e6 + 12 * 12 * 12 * 64 * 1024, rel=1e-3)
    assert gpu.peak_of("NVIDIA H100 80GB HBM3") == 989 and gpu.peak_of("NVIDIA H100 PCIe") == 756
    assert gpu.peak_of("an unknown card") is None


# -- the command ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", command.COMPARISONS)
def test_every_comparison_is_found(name):
    options = _parser(["speed"]).parse_args(["speed"])
    assert callable(command.comparison(name)) and "rounds" in command.arguments(name, options)


def test_unknown_names_and_rounds_are_refused(capsys):
    for wrong in (["no-such-thing"], ["--rounds", "0"]):
        with pytest.raises(SystemExit) as leaving:
            main(["speed", *wrong])
        assert leaving.value.code == 2
    assert "Choose from: gpt" in capsys.readouterr().err


def test_what_benchmarks_need_is_pinned_with_its_reason():
    files = [(ROOT / f"requirements-{name}.txt").read_text() for name in ("dev", "bench")]
    lines = [line for file in files for line in file.splitlines() if line and line[0] not in "#-"]
    assert all(re.match(r"[\w-]+==\S+ +# .", line) for line in lines)
    asked = re.findall(
        r'peer\("([\w]+)', "".join(file.read_text() for file in (ROOT / "benchmarks/speed").glob("*.py"))
    )
    assert set(asked) <= {line.split("==")[0] for line in lines}
