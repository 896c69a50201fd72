"""Every command block of README and docs is run, or says what it needs and is parsed (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import importlib
import inspect
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from blocks import LANGUAGES, PAGES, ROOT, SHELLS, Block, blocks_of, indented_blocks
from commands import parse, run
from workplace import make_workplace

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
SHELL_BLOCKS = [block for block in BLOCKS if block.language in SHELLS]
PYTHON_BLOCKS = [block for block in BLOCKS if block.language in ("python", "pycon")]
RUN_PAGES = sorted({block.page for block in BLOCKS if block.language != "text" and not block.mark})


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workplace")
    make_workplace(folder)
    return folder


def test_blocks_are_fenced_and_say_their_language() -> None:
    for page in PAGES:
        name = page.relative_to(ROOT)
        assert not indented_blocks(page), (
            f"{name}: fence the indented blocks of lines {indented_blocks(page)}"
        )
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block.where}: ```{block.language}, expected one of {LANGUAGES}"


def test_every_command_line_is_one_its_command_takes() -> None:
    wrong = []
    for block in SHELL_BLOCKS:
        for words in block.commands:
            if words[0] == "python" and "arcface_torch" in block.told:
                continue  # its own scripts
            try:
                parse(words)
            except (ValueError, FileNotFoundError) as error:
                wrong.append(f"{block.where}: {error}")
    assert not wrong, "\n".join(wrong)


def test_shell_blocks_are_shell() -> None:
    for block in SHELL_BLOCKS:
        checked = subprocess.run(
            ["bash", "-n"], input=block.script, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, f"{block.where}: {checked.stderr}"


@pytest.mark.parametrize("page", RUN_PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run_in_its_order(
    page: Path, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "page"
    shutil.copytree(workplace, folder, symlinks=True)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks_of(page):
        if block.mark or block.language == "text":
            continue
        try:
            if block.language in SHELLS:
                for words in block.commands:
                    if words[0] == "export":
                        monkeypatch.setenv(*words[1].split("=", 1))
                    else:
                        run(words)
            else:
                exec(compile(block.source, block.where, "exec"), names)
        except Exception as error:
            raise AssertionError(f"{block.where}: {error}") from error


def test_what_python_blocks_import_of_the_package_is_there() -> None:
    for block in PYTHON_BLOCKS:
        if block.mark in ("quoted", "tested"):
            continue
        for node in ast.walk(ast.parse(block.source, block.where)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("btnet"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{block.where}: {node.module} has no {alias.name}"


def test_blocks_tested_elsewhere_name_a_test_that_is_there() -> None:
    for block in BLOCKS:
        if block.mark == "tested":
            assert (ROOT / block.told).is_file(), f"{block.where}: {block.told} is no file"
            test = (ROOT / block.told).read_text(encoding="utf-8")
            for words in block.commands if block.language in SHELLS else []:
                if words[0] == "btnet":
                    name = words[1]
                    assert name in test or name.replace("-", "_") in test, (
                        f"{block.where}: {name} is not in {block.told}"
                    )


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.mark == "quoted"], ids=lambda block: block.where)
def test_quoted_lines_stand_in_the_symbol_they_are_said_to_be_of(block: Block) -> None:
    source = [line.strip() for line in inspect.getsource(_symbol(block.told)).splitlines()]
    position = 0
    for line in block.body.splitlines():
        found = [i for i, there in enumerate(source[position:], position) if line.strip() in there]
        assert found, f"{block.where}: not in {block.told}, or not in this order: {line.strip()}"
        position = found[0] + 1


def _symbol(told: str) -> Any:
    module, _, name = told.partition(":")
    symbol: Any = importlib.import_module(module)
    for part in filter(None, name.split(".")):
        symbol = getattr(symbol, part)
    return symbol
