"""Names and paths are text on every terminal, in every file and pipe; numbers are never cut."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from btnet.console import LogLines, console, progress_bar, show, show_table, tracked

EVIL = (
    "[bold]x[/bold]",
    "[/x]",
    "[red]",
    ":smile:",
    "a:warning:b",
    "[link=https://x]y",
    "\\[z]",
    "{brace}",
    "100%",
)


class Terminal(io.StringIO):
    """A terminal of UTF-8, as programs see it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What a console knows of its stream ends with the test."""
    console.cache_clear()
    yield
    console.cache_clear()


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Both streams of the process are this terminal."""
    made = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setattr(sys, "stderr", made)
    return made


def printed(monkeypatch: pytest.MonkeyPatch, encoding: str, text: object) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", file)
        show(text)
        show_table(f"title of {text}", ["name", "value"], [[str(text), "94.90 ± 0.91"]])
        file.flush()
    return file.buffer.getvalue().decode(encoding)


@given(st.text(st.characters(exclude_categories=("C", "Z", "M")), max_size=12))
@example("[/x]")
@example(":smile:")
def test_a_name_without_controls_comes_out_as_it_is(name: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        lines = printed(monkeypatch, "utf-8", f"<{name}>").splitlines()
    assert lines[:2] == [f"<{name}>", f"title of <{name}>"]
    assert f"<{name}>" in "".join(lines[2:])


@given(st.text(st.characters(codec=None, categories=None), max_size=30))
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "cp1252"])
def test_no_text_stops_the_printing_or_leaves_its_line(encoding: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        out = printed(monkeypatch, encoding, text)
    assert "94.90 ± 0.91" in out or "94.90 +- 0.91" in out
    assert "\x1b" not in out
    table = out[out.index("title of ") :]
    assert table.count("\n") == out.count("\n") - 1


def test_what_cannot_be_shown_stands_as_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(monkeypatch, "utf-8", "a\x1b[31mb\n\tc\u2028").startswith(r"a\x1b[31mb\n\tc\u2028" + "\n")
    assert printed(monkeypatch, "utf-8", "caf\udce9.jpg").startswith("caf\\udce9.jpg\n")
    assert printed(monkeypatch, "ascii", "café ±").startswith("caf\\xe9 +-\n")


@pytest.mark.parametrize("name", EVIL)
def test_on_a_terminal_too_a_name_is_text_in_lines_tables_bars_and_logs(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = terminal_of(monkeypatch)
    show(name, bold=True)
    show_table(name, [name, "px"], [[name, "14"]])
    with progress_bar(name, 2) as done:
        done(1)
    assert list(tracked("ab", name, 2)) == ["a", "b"]
    handler = LogLines()
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "%s", (name,), None))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert text.count(name) >= 6


def test_numbers_are_whole_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv("COLUMNS", "40")
    cells = [f"9{i}.12 ± 0.34" for i in range(8)]
    name = "a model's name of more than forty characters, none of them lost"
    show_table("", ["model", *(f"112&{i}" for i in range(8))], [[name, *cells]])
    out = terminal.getvalue()
    assert all(cell in out for cell in cells)
    assert "…" not in out
    folded = "".join(re.split("[│┃]", line)[1] for line in out.splitlines() if line.startswith("│"))
    assert re.sub(r"\s", "", folded) == re.sub(r"\s", "", name)


def test_one_place_makes_consoles_and_tables_and_nothing_else_prints() -> None:
    root = Path(__file__).parents[1]
    makers = re.compile(
        r"from rich\.(console|table|logging|text|markdown)\b|import rich|rich import|\btrack\("
    )
    prints = re.compile(r"(?<![\w.])print\(")
    for path in [*(root / "recognition").rglob("*.py"), *(root / "benchmarks").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        if path.name != "console.py":
            assert not makers.search(text), path
            assert "recognition" not in path.parts or not prints.search(text), path
