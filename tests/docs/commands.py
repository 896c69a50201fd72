"""Command lines of the documentation: parsed as the command itself would, or run in this process."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
from torch.distributed.run import get_args_parser

from blocks import ROOT
from btnet.cli import main
from btnet.training.config_file import load_config
from btnet_lab.cli import main as lab_main

PROGRAMS = {"btnet": main, "btnet-lab": lab_main}

# What makes a training run small; the words of the page stand before it, as they are.
SMALL = (
    "batch_size=8",
    "num_epoch=1",
    "warmup_epoch=0",
    "num_workers=0",
    "frequent=1",
    "device=cpu",
)
# Not ours: their words are not looked at. A block that is run may not contain them.
FOREIGN = (
    "pip", ".venv/bin/pip", "git", "cd", "echo", "docker",
    "srun", "sbatch", "head=$(scontrol", "trap", "run=$!", "wait",
)  # fmt: skip


class _ParsedError(Exception):
    """Raised in the place of all that a command does behind parsing."""


def ours(words: list[str]) -> list[str]:
    """The part of a command line that is ours, launchers' own words dropped; empty where there is none.

    Raises:
        ValueError: for options that torchrun does not have.
    """
    if words[-1:] == ["&"]:
        words = words[:-1]
    if "torchrun" in words:
        launched = _torchrun(words[words.index("torchrun") + 1 :])
        return ["python", launched.training_script, *launched.training_script_args]
    foreign = words[0] in FOREIGN or words[:2] == ["python", "-m"]
    return [] if foreign else words


def parse(words: list[str]) -> None:
    """Check one command line as far as its own parser does, and the keys it sets in a config.

    Raises:
        ValueError: with what is wrong: an unknown command, script, target, option or key.
    """
    words = ours(words)
    if not words:
        return
    if words[0] == "make":
        _check_targets(words[1:])
        return
    if words[0] == "export":
        return
    if words[0] == "python" and set(words[2:]) <= {"--help"}:
        _check_script(words[1])
        return
    args = _parsed(words)
    if hasattr(args, "overrides") and hasattr(args, "config"):
        config = ROOT / args.config
        if config.stem.isupper():  # a place for a name
            config = ROOT / "configs" / "base"
        load_config(config, args.overrides)


def run(words: list[str]) -> None:
    """Run one command line in this process and folder.

    Raises:
        ValueError: for a command that is not ours.
        AssertionError: if it does not end with status 0.
    """
    told, words = " ".join(words), ours(words)
    if not words or words[0] not in ("btnet", "btnet-lab", "python"):
        raise ValueError(f"{told}: no command of the repository; mark the block with what it needs")
    extra: list[str] = []
    if words[:2] in (["btnet", "train"], ["python", "train.py"]):
        extra = [word for key in SMALL for word in ("--set", key)]
    elif words[:2] == ["btnet", "build-classifier"]:
        extra = ["--workers", "0"]  # as num_workers above
    if words[0] in PROGRAMS:
        status: Any = PROGRAMS[words[0]]([*words[1:], *extra])
    else:
        status = _script([*words[1:], *extra])
    assert status == 0, f"{told}: status {status}"


def _script(words: list[str]) -> Any:
    path = _check_script(words[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(path), *words[1:]])
        patch.syspath_prepend(str(path.parent))
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as left:
            return left.code
    return 0


def _check_script(name: str) -> Path:
    if not (ROOT / name).is_file():
        raise ValueError(f"{name}: no such script in the repository")
    return ROOT / name


def _parsed(words: list[str]) -> argparse.Namespace:
    """What argparse made of the words.

    Raises:
        ValueError: as `parse`.
    """
    seen: list[argparse.Namespace] = []
    original = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> NoReturn:
        seen.append(original(self, *args, **kwargs))
        raise _ParsedError

    def refuse(self: argparse.ArgumentParser, message: str) -> NoReturn:
        raise ValueError(f"{' '.join(words)}: {message}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(argparse.ArgumentParser, "error", refuse)
        try:
            if words[0] in PROGRAMS:
                PROGRAMS[words[0]](words[1:])
            elif words[0] == "python":
                _script(words[1:])
            else:
                raise ValueError(
                    f"{' '.join(words)}: neither a command of the repository nor one of {FOREIGN}"
                )
        except _ParsedError:
            return seen[0]
    raise ValueError(f"{' '.join(words)}: ended without reading its options")


def _torchrun(words: list[str]) -> Any:
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise ValueError(f"torchrun {' '.join(words)}: {message}")

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_args(words)


def _check_targets(words: list[str]) -> None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        if "=" not in word and f"\n{word}:" not in rules:
            raise ValueError(f"make {word}: no such target in the Makefile")


def checkout(folder: Path) -> None:
    """Make a folder look like a checkout to a command: scripts and configs are where they were."""
    for name in ("configs", "eval", "tools", "benchmarks", "train.py"):
        (folder / name).symlink_to(ROOT / name)
