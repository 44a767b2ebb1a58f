"""The quality checks train for real and are kept with what they found."""

import json
from dataclasses import replace

import pytest

from benchmarks.__main__ import main
from benchmarks.quality import baselines, fetched, measure
from benchmarks.quality.checks import CHECKS
from benchmarks.quality.report import REPORT
from bigmodel.core import catalog
from bigmodel.core.contracts import is_compatible
from bigmodel.core.errors import Refusal

QUICK = replace(CHECKS["digits-cnn"], settings={"epochs": 2, "channels": 8})


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_can_be_trained_and_compared(name):
    fetched.register()
    check = CHECKS[name]
    if check.settings.get("base") and check.settings["base"] not in catalog.registered("base"):
        with pytest.raises(Refusal, match="base cannot be"):  # which has to be fetched first, as is said
            check.spec()
        return
    spec = check.spec()
    assert is_compatible(
        catalog.task(spec.task), catalog.architecture(spec.architecture), catalog.dataset(spec.dataset)
    )
    assert spec.settings["seed"] == 0
    assert spec.settings["max_minutes"] == 0, "a slower machine would train fewer steps and measure something else"
    assert check.measured() in catalog.task(check.task).metrics
    assert check.task in baselines.MEASURES


def test_a_check_is_trained_measured_and_written_down(home, tmp_path):
    kept = replace(REPORT, page=tmp_path / "quality.md", folder=tmp_path)
    kept.page.write_text("# Benchmarks\n\nWords that stay.\n")
    found = measure.measure(QUICK, home, threads=1)
    assert 0.3 < found["result"]["accuracy"] < found["baselines"]["nearest picture"]["accuracy"]
    assert found["reached"] is False and found["wall_seconds"] > found["training_seconds"] > 0
    kept.save_entry("digits-cnn", found, CHECKS)
    kept.save_entry("digits-cnn", found | {"reached": True}, CHECKS)
    assert "Words that stay." in kept.page.read_text() and kept.page.read_text().count("`digits-cnn`") == 3
    assert json.loads(kept.file.read_text())["digits-cnn"]["reached"] is True


def test_a_training_that_fails_says_why(home):
    absurd = replace(CHECKS["fashion-vit"], settings={"patch": 5})
    with pytest.raises(measure.Failed, match="Patches of 5 pixels do not tile a picture of 28 x 28"):
        measure.measure(absurd, home, threads=1)


def test_a_goal_is_reached_only_above_every_baseline_and_in_time():
    check = replace(CHECKS["classics-gpt"], seconds=60.0)
    compared = {"3-gram": {"bits_per_character": 2.8}, "7-gram": {"bits_per_character": 1.8}}
    assert measure.reached(check, 1.7, compared, wall=59)
    assert not measure.reached(check, 1.7, compared, wall=61)
    assert not measure.reached(check, 1.9, compared, wall=59)
    assert measure.goal(check, compared) == "Bits per character below 1.800, within 60 s"
    assert measure.reached(CHECKS["classics-lstm"], 3.0, compared, wall=59) is None


@pytest.mark.parametrize("name", REPORT.figures())
def test_the_figures_are_of_the_recipe_in_the_table_and_of_the_data_in_the_bundle(name):
    fetched.register()
    found, check, again = REPORT.figures()[name], CHECKS[name], f"run: python -m benchmarks quality {name}"
    assert found["settings"] == dict(check.settings), again
    if catalog.dataset(check.dataset).path().exists():
        assert found["data"] == catalog.dataset(check.dataset).fingerprint(), again


def test_commands_are_printed_and_unknown_names_refused(capsys):
    assert main(["quality", "--print", "digits-cnn"]) == 0
    assert "train --task image-classification --architecture cnn --dataset digits" in capsys.readouterr().out
    assert main(["quality", "--print", "reviews-minimind"]) == 0, "though its base is not here"
    assert capsys.readouterr().out == "python -m benchmarks quality reviews-minimind\n"
    with pytest.raises(SystemExit) as leaving:
        main(["quality", "no-such-check"])
    assert leaving.value.code == 2 and "Choose from: digits-cnn" in capsys.readouterr().err


def test_a_setting_that_is_none_is_refused_with_what_would_do(capsys):
    assert main(["quality", "digits-cnn", "--set", "chanels=3"]) == 2
    assert "channels" in capsys.readouterr().err
    assert main(["quality", "digits-cnn", "--set", "epochs=many"]) == 2
    assert "whole number" in capsys.readouterr().err
