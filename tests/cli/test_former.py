"""Options as they were spelt before, answers for programs, and what a command leaves behind: nothing."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import warnings
from pathlib import Path

import pytest

import miniatures
from btnet.cli import COMMANDS, former, main
from btnet_lab.cli import COMMANDS as LAB


def test_every_former_option_leads_to_an_option_or_argument_that_exists() -> None:
    for command, options in former._FORMER.items():
        parser = argparse.ArgumentParser()
        importlib.import_module({**COMMANDS, **LAB}[command]).add_arguments(parser)
        known = {word for action in parser._actions for word in (action.dest, *action.option_strings)}
        for was, now in options.items():
            assert now.split()[0] in known, (command, was)
            assert was not in known or command in ("demo", "evidence"), (command, was)


def test_former_spellings_of_arguments_and_options_work_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(miniatures.tiny_model(tmp_path / "model"))
    pairs = str(miniatures.bin_sets(tmp_path / "bin", names=("lfw",)) / "lfw.bin")
    check = ["check-compatibility", "--new", model, "--json", f"--faces={pairs}", "--old", model]
    assert main([*check, "--resolutions", "32"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["old"]["model"] == model
    assert "check-compatibility --faces will go with the next release; give FACES as an argument" in err
    with pytest.raises(SystemExit):  # OLD is still asked for
        main(["check-compatibility", "--new", model, "--faces", pairs])
    assert "OLD" in capsys.readouterr().err
    faces = tmp_path / "survface"
    argv = [
        "survface",
        model,
        "--root",
        str(miniatures.survface(faces)),
        "--strategies",
        "max+ceil",
        "--json",
    ]
    assert main([*argv, "--features", str(tmp_path / "features"), "--device", "cpu"]) == 0
    assert {each["strategy"] for each in json.loads(capsys.readouterr().out)["sets"][0]["results"]} == {
        "max+ceil"
    }
    assert main(["compare", "a.png", "b.png", "--rule", "near"]) == 2
    assert "this option is gone; give --strategy INDICATOR+RULE" in capsys.readouterr().err


def test_compare_and_search_answer_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", str(miniatures.tiny_model(tmp_path / "model")), "--device", "cpu"]
    faces = tmp_path / "faces"
    for shot in range(2):
        miniatures.write(faces / f"{shot}.png", miniatures.face(0, shot, (20, 20)))
    assert main(["compare", str(faces / "0.png"), str(faces / "0.png"), "--json", *model]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["cosine"] == pytest.approx(1)
    assert answer["faces"][0]["width"] == 20
    assert main(["embed", str(faces), "-o", str(tmp_path / "g.npz"), *model]) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / "g.npz"), str(faces / "1.png"), "--json", *model]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [match["name"] for match in answer["matches"]] == ["1.png", "0.png"]


def test_a_command_leaves_filters_of_warnings_and_levels_of_loggers_as_they_were(tmp_path: Path) -> None:
    run = [
        "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}",
        "embedding_size=8",
        "num_workers=0",
    ]
    run += ["rec=synthetic:2:4", "batch_size=8", "num_epoch=1", "warmup_epoch=0", "device=cpu"]
    loggers = [logging.getLogger(name) for name in ("", "btnet", "btnet.training", "torch.onnx")]

    def settings() -> list[object]:
        return [warnings.filters[:], *((each.level, each.propagate, each.handlers[:]) for each in loggers)]

    before = settings()
    argv = [word for key in [*run, f"output={tmp_path / 'run'}"] for word in ("--set", key)]
    assert main(["train", "demo_hr", *argv]) == 0
    assert settings() == before
