"""Commands whose models, sets and folders have names that mean something elsewhere: shown as they are, results kept."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import miniatures
from btnet.cli import main
from btnet.data.bin_sets import write_bin
from btnet.images.codec import encode_png

# Markup, emoji codes, mathematics, a label that legends hide, an escape sequence, bytes that are not UTF-8.
EVIL = (
    "[bold]m[red]",
    "[x] :smile:",
    "_$a_b$",
    "50% {c}",
    "a\x1b[31mb\tc",
    os.fsdecode(b"caf\xe9"),
    "日本 ±",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return miniatures.tiny_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.bin"
    images = [encode_png(miniatures.face(i % 6, i % 4)) for i in range(40)]
    write_bin(path, images, [i % 2 == 0 for i in range(20)])
    return path


def run(argv: list[object], encoding: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command prints into a pipe of this encoding; it must end well."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        status = main([str(word) for word in argv])
        out.flush()
        err.flush()
    assert status == 0, err.buffer.getvalue()
    return out.buffer.getvalue().decode(encoding)


def as_shown(name: str) -> str:
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in name
    )


@pytest.mark.parametrize("name", EVIL)
def test_evaluation_and_its_report_under_any_name(
    name: str, model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # safetensors opens no path that is not UTF-8.
    folder = tmp_path / ("model" if "caf" in name else name)
    shutil.copytree(model, folder)
    manifest = folder / "btnet.json"
    content: dict[str, Any] = json.loads(manifest.read_text())
    role = f"[/{name}]"
    manifest.write_text(json.dumps({**content, "role": role}))
    shutil.copy(pairs, tmp_path / f"{name}.bin")
    result, page = tmp_path / f"{name}.json", tmp_path / f"{name}.html"
    argv = ["evaluate", folder, "--bin", tmp_path / f"{name}.bin", "--pairs", "32-32,32-8"]
    argv += ["--device", "cpu", "-o", result, "--roc", tmp_path / f"{name}.png"]
    out = run(argv, "utf-8", monkeypatch)
    assert f"{as_shown(name)}: 20 pairs" in out
    assert any(line.startswith("│") and as_shown(role) in line for line in out.splitlines())
    run(argv, "ascii", monkeypatch)
    written = json.loads(result.read_text())
    assert (written["models"][0]["name"], written["sets"][0]["name"]) == (role, name)
    assert (tmp_path / f"{name}_{name}_32-8.png").is_file()
    assert as_shown(page.name) in run(["report", result, "-o", page], "utf-8", monkeypatch)
    run(["report", result, "-o", page], "ascii", monkeypatch)
    assert page.is_file()


@pytest.mark.parametrize("name", EVIL)
def test_galleries_and_searches_under_any_name(
    name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = tmp_path / "[" / "x]" / name
    for shot in range(2):
        miniatures.write(faces / name / f"{shot}{name}.png", miniatures.face(1, shot, (20, 20)))
    probe, gallery = faces / name / f"0{name}.png", tmp_path / f"{name}.npz"
    for encoding in ("utf-8", "ascii"):
        run(["embed", faces, "-o", gallery, "--overwrite", "--model", model], encoding, monkeypatch)
        out = run(["search", gallery, probe, "--model", model], encoding, monkeypatch)
        assert "1.0000" in out
        run(["compare", probe, probe, "--model", model], encoding, monkeypatch)
    out = run(["search", gallery, probe, "--model", model], "utf-8", monkeypatch)
    assert as_shown(f"{name}/0{name}.png") in "".join(out.split("│"))


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(f"no space left for {len(text)} characters")


@pytest.mark.parametrize("command", ["evaluate", "scface", "survface"])
def test_results_are_kept_where_they_cannot_be_shown(
    command: str, model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = {
        "evaluate": lambda: ["--bin", pairs, "--pairs", "32-8"],
        "scface": lambda: ["--root", miniatures.scface(tmp_path / "data"), "--features", tmp_path / "f"],
        "survface": lambda: ["--root", miniatures.survface(tmp_path / "data"), "--features", tmp_path / "f"],
    }[command]()
    argv = [command, model, *source, "--device", "cpu", "-o", tmp_path / "x.json"]
    monkeypatch.setattr(sys, "stdout", Full())
    assert main([str(word) for word in argv]) == 2
    assert json.loads((tmp_path / "x.json").read_text())["sets"][0]["results"]


@pytest.mark.parametrize("name", EVIL)
def test_a_mistake_is_told_in_a_line_under_any_name(
    name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(model), "--bin", str(tmp_path / f"{name}.bin"), "--pairs", "32-32"]) == 2
    assert main(["report", str(tmp_path / name)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("btnet: error: ") for line in lines)
    assert all(as_shown(name) in line for line in lines)


@pytest.mark.parametrize(
    "command", ["train", "evaluate", "ijbc", "survface", "search", "report", "model-cost"]
)
def test_help_fits_an_ascii_terminal(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
