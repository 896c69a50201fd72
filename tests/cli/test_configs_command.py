from __future__ import annotations

from pathlib import Path

import pytest

from btnet.cli import main
from btnet.training.config_file import load_config, packaged_configs


def test_a_config_of_the_package_is_found_outside_the_repository_and_ones_own_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("configs/demo_btnet_r14", "demo_btnet_r14", "demo_btnet_r14.py"):
        assert load_config(name).branches == [14]
    with pytest.raises(FileNotFoundError, match="did you mean demo_btnet_r14"):
        load_config("configs/demo_btnet_r15")
    assert main(["configs", "-o", "configs"]) == 0
    (tmp_path / "configs/demo_btnet_r14.py").write_text(
        "from easydict import EasyDict\nconfig = EasyDict(lr=0.5)\n"
    )
    for name in ("configs/demo_btnet_r14", "demo_btnet_r14"):
        assert load_config(name).lr == 0.5


def test_copies_are_all_of_them_and_replace_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    assert main(["configs", "-o", str(folder)]) == 0
    assert {p.name: p.read_text() for p in folder.iterdir()} == {
        p.name: p.read_text() for p in packaged_configs().glob("*.py")
    }
    for path in folder.iterdir():
        path.write_text("mine")
    assert main(["configs", "-o", str(folder)]) == 2
    assert "exists" in capsys.readouterr().err
    assert {path.read_text() for path in folder.iterdir()} == {"mine"}


def test_the_list_names_each_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{path.stem} " in listed for path in packaged_configs().glob("*.py"))
