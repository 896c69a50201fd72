"""`btnet COMMAND`: dispatch, exit status, and errors a user can read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import btnet
from btnet import cli

DUMMY = '''"""Do 100 % of nothing.

A second paragraph that the list of commands does not show.
"""

class Unreadable:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError("faces.rec: record 1: not a readable image")

def add_arguments(parser):
    parser.add_argument("what")

def run(args):
    if args.what == "value":
        raise ValueError("size 3 is odd;\\n  expected an even size")
    if args.what == "file":
        raise FileNotFoundError("x.rec: no such file")
    if args.what == "worker":
        import torch.utils.data
        list(torch.utils.data.DataLoader(Unreadable(), num_workers=1))
    if args.what == "bug":
        raise RuntimeError("ours")
    if args.what == "interrupt":
        raise KeyboardInterrupt
    print("did", args.what)
'''
BROKEN = '"""Fail on import."""\nraise ImportError("imported without need")\n'


@pytest.fixture(autouse=True)
def _dummy_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "btnet_dummy_command.py").write_text(DUMMY)
    (tmp_path / "btnet_broken_command.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "btnet_dummy_command", raising=False)
    commands = {"do-nothing": "btnet_dummy_command", "broken": "btnet_broken_command"}
    monkeypatch.setattr(cli, "GROUPS", {"do": commands})


def test_a_command_runs_with_its_options_and_no_other_command_is_imported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["do-nothing", "it"]) == 0
    assert capsys.readouterr().out == "did it\n"


def test_help_lists_the_first_line_of_each_module_without_importing_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "Do 100 % of nothing." in out
    assert "Fail on import." in out
    assert "second paragraph" not in out
    assert "btnet_dummy_command" not in sys.modules


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("value", "btnet: error: size 3 is odd; expected an even size\n"),
        ("file", "btnet: error: x.rec: no such file\n"),
        ("worker", "btnet: error: faces.rec: record 1: not a readable image\n"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(
    what: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["do-nothing", what]) == 2
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("argv", [["--debug", "do-nothing", "value"], ["do-nothing", "value", "--debug"]])
def test_debug_shows_the_traceback_before_or_behind_the_command(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("btnet: error: size 3 is odd; expected an even size\n")


def test_our_own_mistakes_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="ours"):
        cli.main(["do-nothing", "bug"])


def test_ctrl_c_is_status_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["do-nothing", "interrupt"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_version_and_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"btnet {btnet.__version__}\n"
    with pytest.raises(SystemExit) as stop:
        cli.main(["do-something"])
    assert stop.value.code == 2
    assert "do-nothing" in capsys.readouterr().err
