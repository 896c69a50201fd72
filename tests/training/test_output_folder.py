"""What is known before training starts, what is kept, and what a checkpoint that fails or is damaged says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from easydict import EasyDict

from btnet.training.checkpoint import Checkpoints
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.output_folder import check_space, prepared_folder, resumes
from btnet.training.run import train

CONFIGS = Path(__file__).parents[2] / "configs"
ALONE = Context(0, 1, torch.device("cpu"), torch.float32)
SMALL = [
    "rec=synthetic:4:4",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
    "batch_size=4",
    "num_epoch=2",
    "num_workers=0",
    "device=cpu",
    "save_every=1",
]


class Usage(NamedTuple):
    free: int


def config(folder: Path, *, resume: bool = False) -> Any:
    return EasyDict(output=str(folder), trunk="", resume=resume, overwrite=False)


def test_a_folder_in_which_nothing_can_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(PermissionError, match="cannot write there"),
        prepared_folder(config(tmp_path / "file" / "run"), ALONE),
    ):
        pass


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / ".step_000000004.tmp").mkdir(parents=True)
    with prepared_folder(config(tmp_path), ALONE):
        assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    half_written = tmp_path / "checkpoints" / ".step_000000004.tmp"
    with prepared_folder(config(tmp_path), ALONE):
        half_written.mkdir()
        with (
            pytest.raises(ValueError, match="another run is writing there"),
            prepared_folder(config(tmp_path, resume=True), ALONE),
        ):
            pass
        assert half_written.is_dir()  # the first one's: it is still writing it
    with prepared_folder(config(tmp_path, resume=True), ALONE):
        assert not half_written.exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "checkpoints"]


def test_a_disk_that_cannot_hold_the_checkpoints_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**10))
    check_space(tmp_path, checkpoint_bytes=3 * 10**9, keep=2)
    with pytest.raises(
        ValueError, match=r"10 GB are free, but checkpoints need 12 GB .*lower keep_checkpoints"
    ):
        check_space(tmp_path, checkpoint_bytes=4 * 10**9, keep=2)
    for step in (1, 2):  # two of three are there already
        (tmp_path / "checkpoints" / f"step_{step:09d}").mkdir(parents=True)
    check_space(tmp_path, checkpoint_bytes=4 * 10**9, keep=2)


def test_a_run_that_torchrun_restarted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not resumes(config(tmp_path))
    assert resumes(config(tmp_path, resume=True))
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert resumes(config(tmp_path))


def test_the_last_checkpoints_are_kept_and_a_damaged_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [*SMALL, f"output={tmp_path}", "keep_checkpoints=2"]
    save = Checkpoints.save

    def fail_at_the_fourth(self: Checkpoints, step: int) -> None:
        if step == 4:
            raise RuntimeError("stop")
        save(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", fail_at_the_fourth)
        with pytest.raises(RuntimeError, match="stop"):
            train(load_config(CONFIGS / "demo_hr", keys))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step_000000002", "step_000000003"]

    newest = tmp_path / "checkpoints" / names[-1]
    for file in newest.glob("*.distcp"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"step_000000003: damaged checkpoint .*remove this folder"):
        train(load_config(CONFIGS / "demo_hr", [*keys, "resume=True"]))
    shutil.rmtree(newest)
    train(load_config(CONFIGS / "demo_hr", [*keys, "resume=True"]))
    assert "going on after step 2" in (tmp_path / "train.log").read_text()
    assert not (tmp_path / "checkpoints").exists()


def test_a_checkpoint_that_cannot_be_written_stops_the_run_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.distributed.checkpoint.filesystem import FileSystemWriter

    write, calls = FileSystemWriter.write_data, []

    def full(self: FileSystemWriter, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return write(self, *args)

    monkeypatch.setattr(FileSystemWriter, "write_data", full)
    with pytest.raises(OSError, match=r"step_000000002: the checkpoint could not be written .*No space left"):
        train(load_config(CONFIGS / "demo_hr", [*SMALL, f"output={tmp_path}"]))
    assert [path.name for path in (tmp_path / "checkpoints").glob("step_*")] == ["step_000000001"]
    assert "No space left" in (tmp_path / "train.log").read_text()
