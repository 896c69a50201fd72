"""Options as they were spelt before: they still work, with a warning, for one release."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from btnet.console import show

_STRATEGY: Final = {"--indicator": "--strategy INDICATOR+RULE", "--rule": "--strategy INDICATOR+RULE"}

# Command -> former option -> the option's new name, the argument that it is now, or (with a space in it) what must be
# written instead.
_FORMER: Final[Mapping[str, Mapping[str, str]]] = {
    "build-classifier": {"--rec": "faces", "--num-workers": "--workers"},
    "check-compatibility": {"--old": "old", "--new": "new", "--faces": "faces"},
    "compare": _STRATEGY,
    "convert-classifier": {"--rec": "--faces"},
    "demo": {"--pairs": "--num-pairs"},
    "demo-page": _STRATEGY,
    "embed": _STRATEGY,
    "evidence": {"--pairs": "--pairs-file"},
    "import-onnx": {"--size": "--input-size"},
    "make-bin": {"--pairs": "source"},
    "make-rec": {"--list": "source"},
    "quantise-onnx": {"--faces": "faces"},
    "scface": {"--strategies": "--strategy"},
    "search": _STRATEGY,
    "survface": {"--strategies": "--strategy"},
    "tinyface": {"--strategies": "--strategy"},
}


def translate(command: str, argv: list[str], parser: argparse.ArgumentParser) -> list[str]:
    """Write a command line as it is spelt now.

    Args:
        command: its name.
        argv: all words.
        parser: of the command; an argument whose value came by a former option is no longer asked for.

    Returns:
        The words without former options.

    Raises:
        ValueError: for an option that has no such successor.
    """
    former = _FORMER.get(command, {})
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        name, equals, value = word.partition("=")
        now = former.get(name)
        if now is None:
            words.append(word)
            continue
        if " " in now:
            raise ValueError(f"{command} {name}: this option is gone; give {now}")
        if now.startswith("-"):
            words.append(now + equals + value)
        else:
            [argument] = [action for action in parser._actions if action.dest == now]
            argument.nargs, argument.required = "?", False
            argument.default = value if equals else next(rest, None)
            now = f"{argument.metavar or now} as an argument"
        show(f"btnet: warning: {command} {name} will go with the next release; give {now}", error=True)
    return words
