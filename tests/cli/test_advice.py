"""What messages and pages advise exists: commands, their options, keys of a configuration."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import btnet
import btnet_lab
from btnet import cli
from btnet.cli import options
from btnet.training.config_file import load_config
from btnet_lab import cli as lab_cli

ROOT = Path(__file__).parents[2]
PROGRAMS = {"btnet": cli.COMMANDS, "btnet-lab": lab_cli.COMMANDS}
COMMANDS = {**cli.COMMANDS, **lab_cli.COMMANDS}  # no name stands for two
PACKAGES = [Path(package.__file__ or "").parent for package in (btnet, btnet_lab)]
SOURCES = [(package, source) for package in PACKAGES for source in sorted(package.rglob("*.py"))]
PAGES = sorted([ROOT / "README.md", ROOT / "configs" / "README.md", *(ROOT / "docs").glob("*.md")])

_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z_-]*[a-z])(?![\w-]*:)")  # not CSS: `--ink: #000`
_COMMAND = re.compile(r"\b(btnet(?:-lab)?) ([a-z]+(?:-[a-z]+)*)")
_SCRIPT = re.compile(r"\b((?:tools|eval)/\w+\.py)")
_KEY = re.compile(r"--set ([a-z_]+)=")


@cache
def options_of(command: str) -> frozenset[str]:
    """All options of a command, those of its subcommands too."""
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[command]).add_arguments(parser)
    return frozenset({"--debug", "--help"} | _options(parser))


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found |= _options(sub)
    return found


@cache
def command_of(script: str) -> str:
    """The command that a script of the repository stands for."""
    source = (ROOT / script).read_text()
    found = re.search(r'main\(\["([a-z-]+)"', source)
    assert found is not None, f"{script} stands for no command"
    return found[1]


@cache
def keys() -> frozenset[str]:
    """Of a configuration."""
    return frozenset(load_config(ROOT / "configs" / "base"))


def texts_of(source: Path) -> Iterator[tuple[int, str]]:
    """Strings of a module that are no docstrings; what is filled in is `{}`."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(parts)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (inner | docs)
        ):
            yield node.lineno, node.value


def wrong_advice(text: str, own: frozenset[str] = frozenset()) -> list[str]:
    """What a text advises that does not exist.

    Args:
        text: a message.
        own: options of the command that says it. Code that any command may run has none, and must say whose it means.
    """
    wrong = [f"--set {key}=" for key in _KEY.findall(text) if key not in keys()]
    said = [(found.start(), found[1], found[2]) for found in _COMMAND.finditer(text)]
    said = [words for words in said if text[words[0] - 1 : words[0]] == "`" or words[2] in COMMANDS]
    wrong += [f"{program} {name}" for _, program, name in said if name not in PROGRAMS[program]]
    named = [(at, name) for at, _, name in said]
    for found in _SCRIPT.finditer(text):
        if (ROOT / found[1]).is_file():
            named.append((found.start(), command_of(found[1])))
        else:
            wrong.append(found[1])
    for found in _OPTION.finditer(text):
        before = [name for at, name in sorted(named) if at < found.start() and name in COMMANDS]
        if found[1] not in own | {"--set"} | (options_of(before[-1]) if before else set()):
            wrong.append(f"{found[1]} of {before[-1] if before else 'which command?'}")
    return wrong


def test_messages_advise_commands_options_and_keys_that_exist() -> None:
    modules = {module: command for command, module in COMMANDS.items()}
    # What several commands declare is known in every module that speaks for one of them.
    shared = frozenset(text for _, text in texts_of(Path(options.__file__)) if _OPTION.fullmatch(text))
    wrong = []
    for package, source in SOURCES:
        inside = source.relative_to(package.parent)
        command = modules.get(".".join(inside.with_suffix("").parts))
        texts = [(line, text) for line, text in texts_of(source) if "var(--" not in text]  # CSS
        declared = frozenset(text for _, text in texts if _OPTION.fullmatch(text))
        declared |= shared if inside.parent.name == "cli" else frozenset()
        for line, text in texts:
            found = wrong_advice(text, declared | (options_of(command) if command else frozenset()))
            wrong += [f"{inside}:{line}: {what}" for what in found]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_advise_commands_options_and_keys_that_exist(page: Path) -> None:
    """Command blocks are parsed elsewhere (tests/docs); here what stands in the text."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = [span for span in re.findall(r"`([^`]+)`", text) if span.startswith(("btnet ", "btnet-lab "))]
    wrong = [what for span in spans for what in wrong_advice(f"`{span}", frozenset({"--version"}))]
    assert not wrong + [f"--set {key}=" for key in _KEY.findall(text) if key not in keys() | {"key"}]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("write it again with tools/make_bin.py --index", ["--index of make-bin"]),
        ("run `btnet export-onxx` again", ["btnet export-onxx"]),
        ("go on with --set resum=True", ["--set resum="]),
        ("leave the pair out, or give --high-resolution", ["--high-resolution of which command?"]),
        ("write one with btnet evaluate --output", []),
        ("rebuild it with `tools/make_rec.py --index {}`", []),
        ("fit it with `btnet-lab fit-selector --faces`, or give --device", []),
    ],
)
def test_advice_that_leads_nowhere_is_seen(text: str, wrong: list[str]) -> None:
    assert wrong_advice(text) == wrong
